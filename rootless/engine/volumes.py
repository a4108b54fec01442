"""The verbs of volumes: create, list, inspect, remove, prune, export, import, mount."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.engine import filters as rules
from rootless.engine import logfile
from rootless.engine.gotypes import Map
from rootless.engine.target_file import TargetFile
from rootless.errors import ConflictError, NotFoundError, UnsupportedError, UsageError, os_reason
from rootless.kernel import userns
from rootless.state import events
from rootless.state.containers import Containers
from rootless.storage import inflate
from rootless.storage.extract import Extractor, Rules
from rootless.storage.pack import Packer
from rootless.storage.tarstream import TarStream
from rootless.storage.volumes import Volume, VolumeStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.state.container import Container

MISSING_CODE = 1
IN_USE_CODE = 2
_DRIVER = "local"
_NAMED = 3


def _store() -> VolumeStore:
    return VolumeStore(paths.data())


def create(name: str, *, driver: str, labels: dict[str, str], options: dict[str, str], ignore: bool) -> Volume:
    """Make a volume; with ``ignore`` one that is there already is no error."""
    if driver != _DRIVER:
        raise UnsupportedError(f"--driver {driver}: there is no such volume driver", "local is the one there is")
    store = _store()
    if ignore and name and (found := store.get(name)):
        return found
    volume = store.create(name or None, labels, options)
    events.of_volume("create", volume.name)
    return volume


def find(name: str) -> Volume:
    """The volume of a name or its unique beginning. Raises NotFoundError, ConflictError."""
    store = _store()
    found = store.get(name)
    if found is not None:
        return found
    near = [volume for volume in store.all() if volume.name.startswith(name)]
    if len(near) > 1:
        raise ConflictError(f"{name} is the beginning of {len(near)} volumes' names", "give more of it")
    if not near:
        raise NotFoundError(f"no such volume: {name}", "rpod volume ls", code=MISSING_CODE)
    return near[0]


def exists(name: str) -> bool:
    """Whether there is a volume of exactly this name."""
    return _store().get(name) is not None


def users() -> dict[str, list[Container]]:
    """The containers that mount each volume, by the volume's name."""
    found: dict[str, list[Container]] = {}
    for container in Containers().all():
        for mount in container.record.mounts:
            if mount.type == "volume":
                found.setdefault(mount.name, []).append(container)
    return found


def list_volumes(filters: list[str]) -> list[Volume]:
    """The volumes that pass ``filters``, by name: keys are all to hold, of one key's values one."""
    by_key: dict[str, list[Callable[[Volume], bool]]] = {}
    used = set(users()) if any(text.startswith("dangling") for text in filters) else set()
    for text in filters:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--filter {text}: it is KEY=VALUE")
        by_key.setdefault(key, []).append(_test(key, value, used))
    return [v for v in _store().all() if all(any(test(v) for test in tests) for tests in by_key.values())]


def _test(key: str, value: str, used: set[str]) -> Callable[[Volume], bool]:
    """The rule of one filter (podman-volume-ls(1))."""
    if key in ("dangling", "anonymous"):
        if value not in ("true", "false", "1", "0"):
            raise UsageError(f"--filter {key}={value}: it is true or false")
        wanted = value in ("true", "1")
        if key == "anonymous":
            return lambda v: v.anonymous == wanted
        return lambda v: (v.name not in used) == wanted
    if key == "name":
        try:
            pattern = re.compile(value)
        except re.error as error:
            raise UsageError(f"--filter name={value}: {error}") from error
        return lambda v: pattern.search(v.name) is not None
    if key in ("label", "label!"):
        return lambda v: rules.has_label(v.labels, value) == (key == "label")
    if key == "opt":
        return lambda v: rules.has_label(v.options, value)
    if key in ("driver", "scope"):
        return lambda _: value == _DRIVER
    if key in ("until", "since", "after"):
        moment = logfile.moment(value, time.time_ns()) if key == "until" else find(value).created_ns
        return lambda v: v.created_ns < moment if key == "until" else v.created_ns > moment
    raise UsageError(
        f"--filter {key}: unknown key",
        "after, anonymous, dangling, driver, label, label!, name, opt, scope, since, until",
    )


def remove(name: str, *, force: bool, timeout_s: int | None) -> str:
    """Remove a volume, with ``force`` after the containers that use it; returns its name."""
    volume = find(name)
    holders = users().get(volume.name, [])
    if holders and not force:
        raise _in_use(volume.name, holders)
    if holders:
        from rootless.engine.remove import remove as remove_container

        for container in holders:
            remove_container(container, force=True, volumes=False, timeout_s=timeout_s)
    _store().remove(volume.name)
    events.of_volume("remove", volume.name)
    return volume.name


def _in_use(name: str, holders: list[Container]) -> ConflictError:
    who = ", ".join(f"{container.name} ({container.id[:12]})" for container in holders[:_NAMED])
    more = " and more" if len(holders) > _NAMED else ""
    return ConflictError(
        f"volume {name} is being used by container {who}{more}",
        f"rpod rm {holders[0].name}, or rpod volume rm -f {name}, which removes its containers, too",
        code=IN_USE_CODE,
    )


def prune(filters: list[str]) -> list[str]:
    """Remove the volumes that no container uses; returns their names."""
    for text in filters:
        if text.partition("=")[0] not in ("label", "label!", "until", "since", "after", "anonymous"):
            raise UsageError(f"--filter {text}: prune knows after, anonymous, label, label!, since, until")
    removed = []
    for volume in list_volumes([*filters, "dangling=true"]):
        _store().remove(volume.name)
        events.of_volume("prune", volume.name)
        removed.append(volume.name)
    return removed


def describe(volume: Volume) -> dict[str, object]:
    """As ``podman volume inspect`` has it; MountCount counts running containers."""
    owner = {}
    for word in volume.options.get("o", "").split(","):
        key, _, value = word.partition("=")
        if key in ("uid", "gid"):
            owner[key.upper()] = int(value)
    running = [c for c in users().get(volume.name, []) if c.is_alive()]
    return {
        "Name": volume.name,
        "Driver": _DRIVER,
        "Mountpoint": volume.source if volume.source.startswith("/") else "",
        "CreatedAt": volume.created_ns,
        "Labels": Map(volume.labels),
        "Scope": _DRIVER,
        "Options": Map(volume.options),
        **owner,
        **({"Anonymous": True} if volume.anonymous else {}),
        "MountCount": len(running),
        "NeedsCopyUp": "nocopy" not in volume.options and _is_empty(volume),
    }


def _is_empty(volume: Volume) -> bool:
    try:
        return not os.listdir(volume.source)
    except OSError:
        return volume.source == "tmpfs"  # a directory that only ids of the user namespace may read holds something


def mount_point(name: str) -> str:
    """Where a volume's files are on the host. Raises UnsupportedError for one that is nowhere."""
    volume = find(name)
    return _directory(volume)


def _directory(volume: Volume) -> str:
    if not volume.source.startswith("/"):
        raise UnsupportedError(f"volume {volume.name} is a tmpfs: only its containers see it, while they run")
    return volume.source


def export(name: str, path: str) -> None:
    """Write a volume's files as a tar archive to ``path``, "" for standard output. Ids are as containers see them."""
    volume = find(name)
    directory = _directory(volume)

    def pack(target: TargetFile) -> None:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        packer = Packer(target.write)
        packer.add(fd, b".", b".")
        packer.finish()

    with TargetFile(path, f"rpod volume export {name} --output FILE") as target:
        userns.call_inside(lambda: pack(target))


def import_(name: str, source: str) -> None:
    """Unpack the archive ``source`` (``-`` for standard input; compressed or not) over what the volume has."""
    volume = find(name)
    directory = _directory(volume)
    if source == "-" and os.isatty(0):
        raise UsageError("an archive is not read from a terminal", f"rpod volume import {name} archive.tar")
    try:
        fd = os.dup(0) if source == "-" else os.open(source, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"the archive cannot be read: {os_reason(error)}") from error
    single = userns.default_map(userns.read_ranges()).single

    def unpack() -> list[str]:
        chunks = inflate.open_stream(lambda size: os.read(fd, size))
        # From here on the volume is the root: no name and no link of the archive leads out of it.
        os.chdir(directory)
        os.chroot(".")
        extractor = Extractor(TarStream(chunks), Rules(single_id=single))
        extractor.run()
        return extractor.notes + extractor.details

    try:
        notes = userns.call_inside(unpack)
    finally:
        os.close(fd)
    assert isinstance(notes, list)
    for note in notes:
        log.warn(str(note))

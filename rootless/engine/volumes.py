"""``-v``, ``--mount``, ``--tmpfs`` and the image's VOLUMEs become the mounts of a container.

Sources are checked here, before anything is made; targets only inside the container.
"""

from __future__ import annotations

import os

from rootless import paths
from rootless.errors import UnsupportedError, UsageError
from rootless.spec import Mount
from rootless.storage import volumes

_KEPT = frozenset(
    "ro rw nosuid suid nodev dev noexec exec private rprivate slave rslave shared rshared unbindable runbindable "
    "bind rbind noatime relatime".split()
)
_COPY = frozenset(("copy", "nocopy"))
_SELINUX = "/sys/fs/selinux/enforce"
_REFUSED = {
    "U": "changing the owner of a source is not there yet: rpod unshare chown does it",
    "O": "an overlay over a source is not there yet",
    "idmap": "id-mapped mounts need a right that this user does not have; --userns keep-id shows your files as yours",
}
_TMPFS_DEFAULTS = ["nosuid", "nodev", "rprivate", "tmpcopyup"]
_FORBIDDEN_TARGETS = ("/", "/proc", "/sys", "/dev")


class Wanted:
    """One mount that was asked for. ``kind``: bind, volume, tmpfs or devpts; ``name`` is a volume's."""

    __slots__ = ("anonymous", "copy", "destination", "kind", "name", "options", "source")

    def __init__(self, kind: str, destination: str, source: str = "", options: list[str] | None = None) -> None:
        self.kind = kind
        self.destination = _target(destination)
        self.source = source
        self.options = options or []
        self.name = ""
        self.copy = True
        self.anonymous = False

    def to_json(self) -> dict[str, str | list[str] | bool]:
        """As the record keeps it."""
        return {
            "type": self.kind,
            "name": self.name,
            "source": self.source,
            "destination": self.destination,
            "options": self.options,
            "anonymous": self.anonymous,
            "copy": self.copy,
        }

    def to_mount(self) -> Mount:
        """As config.json has it."""
        if self.kind in ("bind", "volume"):
            recursive = [] if "bind" in self.options else ["rbind"]
            return Mount(self.destination, "bind", self.source, [*self.options, *recursive])
        return Mount(self.destination, self.kind, self.kind, self.options)


def _target(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"the mount target {path!r} must be an absolute path in the container")
    clean = os.path.normpath(path).replace("//", "/")
    if clean in _FORBIDDEN_TARGETS:
        raise UsageError(f"nothing can be mounted over {clean} of a container")
    return clean


def _options(text: str, option: str) -> tuple[list[str], bool]:
    """Comma-separated options -> (those for the mount, whether a new volume is filled from the image)."""
    kept, copy = [], True
    for item in filter(None, text.split(",")):
        if item in _KEPT:
            kept.append(item)
        elif item in _COPY:
            copy = item == "copy"
        elif item in ("z", "Z"):
            if os.path.exists(_SELINUX):
                raise UnsupportedError(f"{option}: relabelling for SELinux ({item}) is not there yet")
        elif item in _REFUSED:
            raise UnsupportedError(f"{option}: {_REFUSED[item]}")
        else:
            raise UsageError(f"{option}: unknown mount option {item!r}")
    return kept, copy


def _bind(source: str, destination: str, options: list[str], option: str) -> Wanted:
    path = os.path.abspath(os.path.expanduser(source))
    if not os.path.lexists(path):
        raise UsageError(f"{option}: the source {path} does not exist", f"mkdir -p {path}")
    return Wanted("bind", destination, path, [*options, *([] if _has_propagation(options) else ["rprivate"])])


def _has_propagation(options: list[str]) -> bool:
    return any(item.lstrip("r") in ("private", "slave", "shared", "unbindable") for item in options)


def _volume(name: str, destination: str, options: list[str], *, copy: bool) -> Wanted:
    wanted = Wanted("volume", destination, "", options)
    wanted.name = volumes.check_name(name) if name else ""
    wanted.anonymous = not name
    wanted.copy = copy
    return wanted


def parse_volume(text: str) -> Wanted:
    """``[SOURCE:]TARGET[:OPTIONS]``; a source with a slash or a leading dot is a path, else a volume's name."""
    fields = text.split(":")
    if not text or len(fields) > 3:
        raise UsageError(f"--volume {text}: it is [SOURCE:]TARGET[:OPTIONS]")
    if len(fields) == 1:
        return _volume("", fields[0], [], copy=True)
    source, destination = fields[0], fields[1]
    options, copy = _options(fields[2] if len(fields) == 3 else "", "--volume")
    if not source:
        raise UsageError(f"--volume {text}: the source is empty")
    if "/" in source or source.startswith((".", "~")):
        return _bind(source, destination, options, "--volume")
    return _volume(source, destination, options, copy=copy)


def of_image(path: str) -> Wanted:
    """An image's VOLUME. Below the kernel's own files only the user may mount, not an image (CVE-2019-16884)."""
    wanted = _volume("", path, [], copy=True)
    if wanted.destination.startswith(("/proc/", "/sys/")):
        raise UsageError(f"the image wants a volume at {wanted.destination}, over the kernel's own files")
    return wanted


def parse_tmpfs(text: str) -> Wanted:
    """``TARGET[:OPTIONS]``."""
    destination, _, rest = text.partition(":")
    options = [*_TMPFS_DEFAULTS]
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        if item == "notmpcopyup":
            options.remove("tmpcopyup")
        elif item in _KEPT or item == "tmpcopyup" or (key in ("size", "mode", "uid", "gid", "nr_inodes") and value):
            options.append(item)
        else:
            raise UsageError(f"--tmpfs {text}: unknown option {item!r}")
    return Wanted("tmpfs", destination, "tmpfs", options)


_ALIASES = {
    "src": "source",
    "destination": "target",
    "dst": "target",
    "ro": "readonly",
    "bind-propagation": "propagation",
    "tmpfs-size": "size",
    "tmpfs-mode": "mode",
}


def parse_mount(text: str) -> Wanted:
    """``type=bind|volume|tmpfs|devpts,source=…,target=…,readonly`` as docker and podman have it."""
    fields: dict[str, str] = {}
    plain: list[str] = []
    for item in filter(None, text.split(",")):
        key, equals, value = item.partition("=")
        key = _ALIASES.get(key, key)
        if key in _KEPT or key in _REFUSED or key in _COPY or key in ("z", "Z"):
            plain += [key] if value in ("", "true") else []
        elif key == "readonly":
            plain.append("rw" if value in ("false", "0") else "ro")
        elif equals:
            fields[key] = value
        else:
            raise UsageError(f"--mount {text}: unknown option {item!r}")
    kind = fields.pop("type", "volume")
    target = fields.pop("target", "")
    if not target:
        raise UsageError(f"--mount {text}: it needs target=PATH")
    options, copy = _options(",".join(plain), "--mount")
    propagation = fields.pop("propagation", "")
    if propagation:
        options += _options(propagation, "--mount")[0]
    return _build_mount(text, kind, target, fields, options, copy=copy)


def _build_mount(
    text: str, kind: str, target: str, fields: dict[str, str], options: list[str], *, copy: bool
) -> Wanted:
    source = fields.pop("source", "")
    if kind == "tmpfs":
        data = [f"{key}={fields.pop(key)}" for key in ("size", "mode") if key in fields]
        wanted = Wanted("tmpfs", target, "tmpfs", [*_TMPFS_DEFAULTS, *options, *data])
    elif kind == "devpts":
        wanted = Wanted("devpts", target, "devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", *options])
    elif kind == "bind":
        if not source:
            raise UsageError(f"--mount {text}: type=bind needs source=PATH")
        wanted = _bind(source, target, options, "--mount")
    elif kind == "volume":
        wanted = _volume(source, target, options, copy=copy)
    elif kind in ("image", "glob"):
        raise UnsupportedError(f"--mount type={kind} is not there yet")
    else:
        raise UsageError(f"--mount {text}: unknown type {kind!r}", "bind, volume, tmpfs or devpts")
    if fields:
        raise UsageError(f"--mount {text}: unknown option {next(iter(fields))!r} for type={kind}")
    return wanted


def from_record(mount: dict[str, str | list[str] | bool], extra: list[str]) -> Wanted:
    """A mount of another container, for --volumes-from."""
    wanted = Wanted(str(mount["type"]), str(mount["destination"]), str(mount["source"]))
    options = mount["options"]
    assert isinstance(options, list)
    wanted.options = [*options, *extra]
    wanted.name = str(mount["name"])
    wanted.copy = False
    return wanted


def merge(groups: list[list[Wanted]]) -> list[Wanted]:
    """All mounts, later groups over earlier ones; parents before children. A target twice in a group is an error."""
    by_target: dict[str, Wanted] = {}
    for group in groups:
        targets = [wanted.destination for wanted in group]
        for target in targets:
            if targets.count(target) > 1:
                raise UsageError(f"{target} is the target of two mounts")
        by_target.update((wanted.destination, wanted) for wanted in group)
    return sorted(by_target.values(), key=lambda wanted: wanted.destination.count("/"))


def materialize(wanted: list[Wanted], made: list[str]) -> None:
    """Make the named and anonymous volumes that do not exist; the names of new ones go to ``made``."""
    store = volumes.VolumeStore(paths.data())
    for mount in wanted:
        if mount.kind != "volume" or mount.source:
            continue
        volume = store.get(mount.name) if mount.name else None
        if volume is None:
            volume = store.create(mount.name or None, anonymous=mount.anonymous)
            made.append(volume.name)
        mount.name, mount.source = volume.name, volume.path


def discard(names: list[str]) -> None:
    """Remove volumes that were made for a container which then was not."""
    store = volumes.VolumeStore(paths.data())
    for name in names:
        store.remove(name)

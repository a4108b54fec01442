"""Options of run and create that few containers have, from ``create`` to the end of the container.

Nothing here is imported by a container without them. What config.json has no word for stands in
the record under ``rare``, by option.
"""

from __future__ import annotations

import os
import string

from rootless import config, log
from rootless.engine import values
from rootless.errors import ConflictError, LimitError, RpodError, StateError, UnsupportedError, UsageError, os_reason
from rootless.kernel import files
from rootless.spec import OCI_VERSION, Mount
from rootless.state.containers import Containers
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.engine.options import ContainerOptions
    from rootless.runtime.extras import Extras
    from rootless.runtime.launch import Launched
    from rootless.runtime.plan import LaunchPlan
    from rootless.spec import Spec
    from rootless.state.container import Container
    from rootless.state.record import ContainerRecord
    from rootless.storage.image_record import Image

_INIT_PLACE = "/run/.rpod-init"
_CLOCKS = ("monotonic", "boottime")
_NS = 1_000_000_000
_LIMIT_MODES = ("enforce", "best-effort")
_MAX_HOSTS = 1 << 20
_PERSONALITIES = ("LINUX", "LINUX32")
_TMPFS_OF_READ_ONLY = ("/run", "/tmp", "/var/tmp")


# ---- create ----


def check(options: ContainerOptions) -> None:
    """Options that make no sense, before anything is made. Raises UsageError, LimitError, UnsupportedError."""
    _check_names(options)
    if options.init_path:
        if not options.init:
            raise UsageError("--init-path needs --init")
        if not os.access(options.init_path, os.X_OK) or os.path.isdir(options.init_path):
            raise UsageError(
                f"--init-path {options.init_path}: no program that can be run", "leave it out: rpod has one"
            )
    if options.limits not in ("", *_LIMIT_MODES):
        raise UsageError(f"--limits {options.limits}: unknown", " or ".join(_LIMIT_MODES))
    if options.personality and options.personality.upper() not in _PERSONALITIES:
        raise UsageError(f"--personality {options.personality}: unknown", " or ".join(_PERSONALITIES))
    if options.oom_score_adj is not None:
        _check_oom_score(options.oom_score_adj)
    for path in (path for text in options.chrootdirs for path in text.split(",")):
        if not path.startswith("/"):
            raise UsageError(f"--chrootdirs {path}: it is an absolute path in the container")
    if options.rmi and values.restart_policy(options.restart)[0] != "no":
        raise UsageError("--rmi and --restart exclude each other")
    _time_offsets(options.timens)
    if options.rootfs:
        _rootfs(options.image)


def _check_names(options: ContainerOptions) -> None:
    if options.no_hosts and (options.add_host or options.hosts_file):
        raise UsageError("--no-hosts and --add-host or --hosts-file exclude each other")
    if options.no_hostname and options.hostname:
        log.debug("--no-hostname: /etc/hostname is the image's, the host name is set all the same")
    if options.hosts_file == "image":
        raise UnsupportedError("--hosts-file image is not there", "--no-hosts leaves the image's /etc/hosts")
    if options.hosts_file not in ("", "none"):
        _hosts_base(options.hosts_file)


def _check_oom_score(score: int) -> None:
    if not -1000 <= score <= 1000:
        raise UsageError(f"--oom-score-adj {score}: it is between -1000 and 1000")
    own = int(files.read_file("/proc/self/oom_score_adj"))
    if score < own:
        raise LimitError(
            f"--oom-score-adj {score}: an ordinary user can only raise it, and this process has {own}",
            f"--oom-score-adj {own} or more",
        )


def _time_offsets(text: str) -> dict[str, list[int]] | None:
    """``--timens`` -> offsets of the clocks as [seconds, nanoseconds], None where there is no new namespace."""
    mode, _, rest = text.partition(":")
    if mode in ("", "host", "container"):
        if mode == "container" and not rest:
            raise UsageError("--timens container: a container is missing")
        return None
    if mode not in ("private", "offset") or (mode == "private" and rest):
        raise UsageError(
            f"--timens {text}: unknown mode",
            "private, host, container:NAME or offset:boottime=SECONDS,monotonic=SECONDS",
        )
    offsets: dict[str, list[int]] = {}
    for item in filter(None, rest.split(",")):
        clock, _, seconds = item.partition("=")
        if clock not in _CLOCKS:
            raise UsageError(f"--timens {text}: {clock!r} is not a clock", "boottime or monotonic")
        try:
            total = round(float(seconds) * _NS)
        except (ValueError, OverflowError):
            raise UsageError(f"--timens {text}: {seconds!r} is not a number of seconds") from None
        offsets[clock] = list(divmod(total, _NS))
    if mode == "offset" and not offsets:
        raise UsageError(f"--timens {text}: no clock is named", "offset:boottime=3600")
    return offsets


def _rootfs(text: str) -> tuple[str, bool]:
    """``DIR[:O]`` of --rootfs -> (path, whether an overlay keeps it as it is). Raises UsageError."""
    path, colon, flag = text.rpartition(":")
    if not colon or flag not in ("O", "idmap"):
        path, flag = text, ""
    if flag == "idmap":
        raise UnsupportedError(
            "--rootfs :idmap: the kernel lets only the owner of a file system shift its ids",
            "rpod unshare shows which ids the files have; :O leaves the directory as it is",
        )
    full = os.path.realpath(os.path.expanduser(path))
    if not os.path.isdir(full):
        raise UsageError(f"--rootfs {text}: {full} is not a directory", "the first argument is the root directory")
    return full, flag == "O"


def directory_as_image(options: ContainerOptions) -> Image:
    """--rootfs: the directory that stands in the place of the image, which says nothing about its containers."""
    from rootless.storage.image_record import Image

    return Image.unstored(_rootfs(options.image)[0])


def refuse_directory(record: ContainerRecord, verb: str) -> None:
    """UnsupportedError for a verb about layers, and a container that has none."""
    if "rootfs" in record.rare:
        raise UnsupportedError(
            f"{verb} needs an image, and {record.name} runs on the directory {record.rare['rootfs']}",
            f"tar -C {record.rare['rootfs']} -c .",
        )


def note(options: ContainerOptions, record: ContainerRecord, store: Containers) -> None:
    """Write down in the record what a start has to know. Raises NotFoundError, UsageError."""
    rare: dict[str, object] = {}
    if options.hosts_file not in ("", "none"):
        rare["hosts_file"] = os.path.abspath(options.hosts_file)
    for name in ("pidfile", "conmon_pidfile"):
        if path := getattr(options, name):
            rare[name] = os.path.abspath(path)
    if options.rmi:
        rare["rmi"] = True
        record.auto_remove = True
    if options.limits == "best-effort":
        rare["limits"] = options.limits
    if options.personality:
        rare["personality"] = options.personality.upper()
    if offsets := _time_offsets(options.timens):
        rare["time_offsets"] = offsets
    if options.timens.startswith("container:"):
        other = store.resolve(options.timens.removeprefix("container:"))
        if record.uid_map or record.join.get("user", other.id) != other.id:
            raise UsageError(f"--timens {options.timens} means sharing that container's user namespace")
        record.join["time"] = record.join["user"] = other.id
        record.uid_map, record.gid_map = other.record.uid_map, other.record.gid_map
    if options.init_path:
        record.init = False
    if options.rootfs:
        rare["rootfs"], overlay = _rootfs(options.image)
        record.image = str(rare["rootfs"])
        if not overlay:
            record.driver = drivers.DIRECTORY
        elif record.driver == drivers.FUSE:
            record.driver = drivers.choose(config.load().storage.driver, store.data_dir)
    record.requires = [store.resolve(name).id for text in options.requires for name in text.split(",")]
    record.rare = rare


def amend(options: ContainerOptions, record: ContainerRecord, spec: Spec) -> None:
    """Change the finished ``spec`` of a new container."""
    own = {mount.destination for mount in record.mounts}
    generated = {"/etc/hosts", "/etc/resolv.conf", "/etc/hostname"} - own
    dropped = set()
    if options.no_hosts:
        dropped.add("/etc/hosts")
    if options.no_hostname:
        dropped.add("/etc/hostname")
    if not options.read_only_tmpfs:
        dropped |= {path for path in _TMPFS_OF_READ_ONLY if path not in own}
    spec.mounts = [mount for mount in spec.mounts if mount.destination not in dropped - own]
    for folder in (path for text in options.chrootdirs for path in text.split(",")):
        spec.mounts += [
            Mount(folder.rstrip("/") + mount.destination, mount.type, mount.source, mount.options)
            for mount in spec.mounts
            if mount.destination in generated
        ]
    if options.init_path:
        source = os.path.realpath(options.init_path)
        spec.mounts.append(Mount(_INIT_PLACE, "bind", source, ["bind", "ro", "rprivate"]))
        spec.process.args = [_INIT_PLACE, "--", *spec.process.args]
    if options.oom_score_adj is not None:
        spec.process.oom_score_adj = options.oom_score_adj
    if options.timens and _time_offsets(options.timens) is not None:
        spec.namespaces["time"] = ""
    spec.process.env = _environment(options, spec.process.env, record.env)


def _environment(options: ContainerOptions, entries: list[str], typed: list[str]) -> list[str]:
    """--env-merge, --unsetenv and --unsetenv-all; what the user gave with -e and its like stays."""
    current = dict(entry.partition("=")[::2] for entry in entries)
    given = {entry.partition("=")[0] for entry in values.environment([], typed, host=options.env_host)}
    if not any(entry.partition("=")[0] == "PATH" for entry in typed):
        given.discard("PATH")  # the default that every environment begins with
    if options.unsetenv_all:
        current = {name: value for name, value in current.items() if name in given}
    for name in options.unsetenv:
        if name not in given:
            current.pop(name, None)
    before = dict(current)
    for text in options.env_merge:
        name, equals, pattern = text.partition("=")
        if not name or not equals:
            raise UsageError(f"--env-merge {text}: it is NAME=VALUE", "--env-merge PATH='${PATH}:/opt/bin'")
        if name not in given:
            current[name] = _substituted(pattern, before)
    return [f"{name}={value}" for name, value in current.items()]


class _Missing(dict[str, str]):
    """A variable that is not there is empty."""

    def __missing__(self, key: str) -> str:
        return ""


def _substituted(pattern: str, variables: Mapping[str, str]) -> str:
    """``${NAME}`` and ``$NAME`` replaced."""
    try:
        return string.Template(pattern).substitute(_Missing(variables))
    except ValueError as error:
        raise UsageError(f"--env-merge {pattern}: {error}") from error


# ---- start ----


def prepare(plan: LaunchPlan, container: Container) -> None:
    """Before the launch: what config.json says nothing about. Raises RpodError."""
    record = container.record
    rare = record.rare
    if path := rare.get("hosts_file"):
        _write_hosts(f"{container.directory}/hosts", _hosts_base(str(path)))
    if "time" in plan.joins:
        plan.spec.namespaces["time"] = f"/proc/{plan.joins.pop('time')}/ns/time"
    if "time" in plan.spec.namespaces or "personality" in rare or "hooks" in rare:
        plan.extras = _extras(plan, container)
    if "runtime" in rare:
        from rootless.engine import other_runtime

        other_runtime.prepare(plan, container)


def _extras(plan: LaunchPlan, container: Container) -> Extras:
    from rootless.runtime.attributes import Attributes
    from rootless.runtime.extras import Extras
    from rootless.runtime.hooks import Hooks

    rare = container.record.rare
    state: dict[str, object] = {
        "ociVersion": OCI_VERSION,
        "id": container.id,
        "status": "creating",
        "bundle": container.directory,
        "annotations": container.record.annotations,
    }
    hooks = rare.get("hooks", {})
    assert isinstance(hooks, dict)
    extras = Extras(plan.spec, Hooks(hooks, state))
    offsets = rare.get("time_offsets", {})
    assert isinstance(offsets, dict)
    extras.time_offsets = {clock: (seconds, fraction) for clock, (seconds, fraction) in offsets.items()}
    if domain := rare.get("personality"):
        extras.attributes = Attributes({}, {"domain": domain}, second=False)
    return extras


def _hosts_base(path: str) -> str:
    """The text of --hosts-file. Raises UsageError."""
    try:
        return files.read_file(path, _MAX_HOSTS).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(f"--hosts-file: {os_reason(error)}") from error


def _write_hosts(path: str, base: str) -> None:
    """Put ``base`` before the lines that every container has; in place, for the file is bound by inode."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    try:
        own = os.read(fd, _MAX_HOSTS)
        os.lseek(fd, 0, os.SEEK_SET)
        os.ftruncate(fd, 0)
        files.write_all(fd, base.encode() + (b"" if base.endswith("\n") or not base else b"\n") + own, path)
    finally:
        os.close(fd)


def start_required(record: ContainerRecord) -> None:
    """Start what --requires names, in that order, where it does not run. Raises StateError."""
    from rootless.engine import start

    store = Containers()
    for ident in record.requires:
        other = store.by_id(ident)
        if other.exists() and other.is_alive():
            continue
        try:
            start.start(other, attach=False, interactive=False, detach_keys=None, sig_proxy=False)
        except RpodError as error:
            name = other.name if other.exists() else ident[:12]
            raise StateError(
                f"container {name}, which {record.name} requires, cannot be started: {error.message}"
            ) from error


def after_launch(record: ContainerRecord, launched: Launched) -> None:
    """--pidfile and --conmon-pidfile. The container runs already: a file that cannot be written is only said."""
    for key, pid in (("pidfile", launched.pid), ("conmon_pidfile", launched.monitor_pid)):
        if path := str(record.rare.get(key, "")):
            try:
                files.write_atomic(path, str(pid).encode(), mode=0o644, sync=False)
            except OSError as error:
                log.warn(f"--{key.replace('_', '-')}: {os_reason(error)}")


# ---- the end ----


def after_removal(record: ContainerRecord) -> None:
    """The pid files, and with --rmi the image, unless something else needs it."""
    for key in ("pidfile", "conmon_pidfile"):
        if path := str(record.rare.get(key, "")):
            files.remove_tree(path)
    if record.rare.get("rmi"):
        from rootless.engine import images

        try:
            images.remove_images([record.image_id])
        except ConflictError as error:
            log.info(error.message)
        except RpodError as error:
            log.warn(error.message)

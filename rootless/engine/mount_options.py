"""``-v``, ``--mount`` and ``--tmpfs`` as Podman and Docker have them, read into ``mounts.Wanted``."""

from __future__ import annotations

import os

from rootless.engine import mounts
from rootless.engine.mounts import Wanted
from rootless.errors import UnsupportedError, UsageError

_PROPAGATION = frozenset("private rprivate slave rslave shared rshared unbindable runbindable".split())
_KEPT = _PROPAGATION | frozenset(
    "ro rw nosuid suid nodev dev noexec exec bind rbind noatime relatime strictatime nodiratime idmap".split()
)
_OPPOSITES = (("ro", "rw"), ("nosuid", "suid"), ("nodev", "dev"), ("noexec", "exec"), ("bind", "rbind"))
_SELINUX = "/sys/fs/selinux/enforce"
_TMPFS_DEFAULTS = ["nosuid", "nodev", "rprivate", "tmpcopyup"]
_TMPFS_DATA = ("size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "huge")
_DEVPTS_DEFAULTS = ["nosuid", "noexec", "newinstance", "ptmxmode=0666"]
_KINDS = ("bind", "volume", "tmpfs", "image", "devpts", "glob")
_BOOLEANS = {"": True, "true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
# The directories whose owner must never change: the user's home, and every one above it.
_CHOWN_REFUSED = "is the home directory or lies above it: its files keep their owner"


class _Flags:
    """A list of options, sorted by who acts on them: ``kept`` for the mount, the others are rpod's."""

    __slots__ = ("chown", "copy", "kept", "scratch", "subpath", "upper", "work")

    def __init__(self) -> None:
        self.kept: list[str] = []
        self.copy = True
        self.chown = False
        self.scratch = False
        self.upper = ""
        self.work = ""
        self.subpath = ""

    @classmethod
    def parse(cls, items: list[str], option: str) -> _Flags:
        """Read ``items``; ``option`` begins the error messages."""
        self = cls()
        for item in items:
            self._take(item, option)
        for one, other in _OPPOSITES:
            if one in self.kept and other in self.kept:
                raise UsageError(f"{option}: {one} and {other} exclude each other")
        if sum(item in _PROPAGATION for item in self.kept) > 1:
            raise UsageError(f"{option}: there can be only one propagation")
        if self.scratch and (self.kept or self.chown):
            raise UsageError(f"{option}: O goes with upperdir= and workdir= only")
        if not self.scratch and (self.upper or self.work):
            raise UsageError(f"{option}: upperdir= and workdir= belong to O")
        if bool(self.upper) != bool(self.work):
            raise UsageError(f"{option}: upperdir= and workdir= are given together")
        return self

    def _take(self, item: str, option: str) -> None:
        key, equals, value = item.partition("=")
        if item in _KEPT:
            self.kept.append(item)
        elif item == "rro":
            self.kept.append("ro")  # what is mounted below a bind is read-only with it always
        elif item in ("copy", "nocopy"):
            self.copy = item == "copy"
        elif item in ("z", "Z"):
            _check_selinux(item, option)
        elif item == "U":
            self.chown = True
        elif item == "O":
            self.scratch = True
        elif key in ("upperdir", "workdir") and value:
            path = _existing(value, f"{option} {key}", directory=True)
            self.upper, self.work = (path, self.work) if key == "upperdir" else (self.upper, path)
        elif key == "subpath" and value:
            self.subpath = value
        elif key == "idmap" and equals:
            raise UnsupportedError(
                f"{option}: idmap with a map of its own is not there", "idmap maps to the container's"
            )
        else:
            raise UsageError(f"{option}: unknown mount option {item!r}")

    def apply(self, wanted: Wanted, option: str) -> Wanted:
        """Give a mount what was read."""
        wanted.copy = wanted.copy and self.copy
        wanted.chown, wanted.scratch = self.chown, self.scratch
        wanted.upper, wanted.work, wanted.subpath = self.upper, self.work, self.subpath
        if wanted.chown and wanted.type == "bind":
            _check_chown(wanted.source, option)
        if wanted.scratch and wanted.type == "bind" and not os.path.isdir(wanted.source):
            raise UsageError(f"{option}: O lays an overlay over a directory, and {wanted.source} is none")
        return wanted


def _check_selinux(flag: str, option: str) -> None:
    if os.path.exists(_SELINUX):
        raise UnsupportedError(
            f"{option}: relabelling for SELinux ({flag}) is not there", "--security-opt label=disable, and no z or Z"
        )


def _check_chown(path: str, option: str) -> None:
    home = os.path.realpath(os.path.expanduser("~"))
    if (home + "/").startswith(os.path.realpath(path).rstrip("/") + "/"):
        raise UsageError(f"{option}: U: {path} {_CHOWN_REFUSED}")


def _existing(path: str, option: str, *, directory: bool = False) -> str:
    """A source on the host, absolute. Raises UsageError."""
    full = os.path.abspath(os.path.expanduser(path))
    if not os.path.lexists(full):
        raise UsageError(f"{option}: the source {full} does not exist", f"mkdir -p {full}")
    if directory and not os.path.isdir(full):
        raise UsageError(f"{option}: {full} is not a directory")
    return full


def _bind(source: str, destination: str, flags: _Flags, option: str) -> Wanted:
    private = [] if _PROPAGATION.intersection(flags.kept) else ["rprivate"]
    return Wanted("bind", destination, _existing(source, option), [*flags.kept, *private])


def parse_volume(text: str) -> Wanted:
    """``[SOURCE:]TARGET[:OPTIONS]``; a source with a slash or a leading dot is a path, else a volume's name."""
    fields = text.split(":")
    if not text or len(fields) > 3:
        raise UsageError(f"--volume {text}: it is [SOURCE:]TARGET[:OPTIONS]")
    if len(fields) == 1:
        return mounts.volume("", fields[0])
    source, destination = fields[0], fields[1]
    option = f"--volume {text}"
    flags = _Flags.parse([item for item in fields[2].split(",") if item] if len(fields) == 3 else [], option)
    if not source:
        raise UsageError(f"{option}: the source is empty")
    if "/" in source or source.startswith((".", "~")):
        if flags.subpath:
            raise UsageError(f"{option}: subpath belongs to a volume: name the directory itself")
        return flags.apply(_bind(source, destination, flags, option), option)
    return flags.apply(mounts.volume(source, destination, flags.kept), option)


def parse_tmpfs(text: str) -> Wanted:
    """``TARGET[:OPTIONS]``."""
    destination, _, rest = text.partition(":")
    options = [*_TMPFS_DEFAULTS]
    for item in filter(None, rest.split(",")):
        key, _, value = item.partition("=")
        if item == "notmpcopyup":
            options = [option for option in options if option != "tmpcopyup"]
        elif item in _KEPT - {"idmap"} or item == "tmpcopyup" or (key in _TMPFS_DATA and value):
            options.append(item)
        else:
            raise UsageError(f"--tmpfs {text}: unknown option {item!r}")
    return Wanted("tmpfs", destination, "tmpfs", options)


_ALIASES = {
    "src": "source",
    "destination": "target",
    "dst": "target",
    "readonly": "ro",
    "readwrite": "rw",
    "chown": "U",
    "bind-propagation": "propagation",
    "tmpfs-size": "size",
    "tmpfs-mode": "mode",
    "volume-subpath": "subpath",
    "image-subpath": "subpath",
    "volume-nocopy": "nocopy",
}
# A switch with a value: what true and what false mean.
_SWITCHES = {
    "ro": ("ro", "rw"),
    "rro": ("rro", ""),
    "rw": ("rw", "ro"),
    "U": ("U", ""),
    "bind-nonrecursive": ("bind", "rbind"),
    "nocopy": ("nocopy", "copy"),
    "idmap": ("idmap", ""),
    "tmpcopyup": ("tmpcopyup", "notmpcopyup"),
    "notmpcopyup": ("notmpcopyup", "tmpcopyup"),
}
_RELABEL = {"shared": "z", "private": "Z"}
_REFUSED = {
    "no-dereference": "a source that is a link stands for what it leads to",
    "bind-create-src": "the source must exist: mkdir -p makes it",
}


class _Typed:
    """The parts of one ``--mount``: words for the mount's flags, and values by key."""

    __slots__ = ("fields", "labels", "option", "volume_options", "words")

    def __init__(self, text: str) -> None:
        self.option = f"--mount {text}"
        self.words: list[str] = []
        self.fields: dict[str, str] = {}
        self.labels: dict[str, str] = {}
        self.volume_options: dict[str, str] = {}
        for item in _split(text):
            key, equals, value = item.partition("=")
            self._take(_ALIASES.get(key, key), value, item, given=bool(equals))

    def _take(self, key: str, value: str, item: str, *, given: bool) -> None:
        if key in _REFUSED:
            raise UnsupportedError(f"{self.option}: {key} is not supported", _REFUSED[key])
        if key == "idmap" and given and value not in _BOOLEANS:
            self.words.append(item)
        elif key in _SWITCHES:
            if value not in _BOOLEANS:
                raise UsageError(f"{self.option}: {item!r} is neither true nor false")
            word = _SWITCHES[key][0 if _BOOLEANS[value] else 1]
            self.words += [word] if word else []
        elif key == "relabel" and value in _RELABEL:
            self.words.append(_RELABEL[value])
        elif key in ("volume-opt", "volume-label") and given:
            name, _, content = value.partition("=")
            (self.volume_options if key == "volume-opt" else self.labels)[name] = content
        elif key == "volume-driver" and value in ("", "local"):
            pass  # the only one there is
        elif key in ("upperdir", "workdir", "subpath"):
            self.words.append(f"{key}={value}")
        elif not given:
            self.words.append(key)
        elif key != "consistency":  # Docker's, for other systems; Podman takes it silently, too
            self.fields[key] = value

    def take(self, key: str) -> str:
        return self.fields.pop(key, "")


def _split(text: str) -> list[str]:
    """Items between commas; one that holds a comma stands in double quotes, as in a CSV file."""
    if '"' not in text:
        return [item for item in text.split(",") if item]
    import csv

    return [item for item in next(csv.reader([text])) if item]


def parse_mount(text: str) -> list[Wanted]:
    """``type=bind|volume|tmpfs|image|devpts|glob,source=…,target=…,readonly`` as docker and podman have it."""
    typed = _Typed(text)
    kind = typed.take("type") or "volume"
    if kind not in _KINDS:
        raise UsageError(f"{typed.option}: unknown type {kind!r}", ", ".join(_KINDS))
    target = typed.take("target")
    if not target and kind != "glob":
        raise UsageError(f"{typed.option}: it needs target=PATH")
    if kind != "volume" and (typed.volume_options or typed.labels):
        raise UsageError(f"{typed.option}: volume-opt and volume-label belong to type=volume")
    if propagation := typed.take("propagation"):
        typed.words.append(propagation)
    if kind in ("tmpfs", "devpts"):
        found = [_memory(typed, kind, target)]
    else:
        flags = _Flags.parse(typed.words, typed.option)
        found = [flags.apply(wanted, typed.option) for wanted in _sourced(typed, kind, target, flags)]
    if typed.fields:
        raise UsageError(f"{typed.option}: unknown option {next(iter(typed.fields))!r} for type={kind}")
    return found


def _memory(typed: _Typed, kind: str, target: str) -> Wanted:
    """A tmpfs or devpts: a file system of the container's own."""
    own = ("tmpcopyup", "notmpcopyup") if kind == "tmpfs" else ()
    flags = _Flags.parse([word for word in typed.words if word not in own], typed.option)
    for word, is_given in (("O", flags.scratch), ("subpath", flags.subpath), ("U", flags.chown and kind == "devpts")):
        if is_given:
            raise UsageError(f"{typed.option}: {word} does not go with type={kind}, which begins empty")
    if kind == "tmpfs":
        defaults = [item for item in _TMPFS_DEFAULTS if item != "tmpcopyup" or "notmpcopyup" not in typed.words]
        known: tuple[str, ...] = _TMPFS_DATA
    else:
        defaults, known = _DEVPTS_DEFAULTS, ("uid", "gid", "mode", "max")
    data = [f"{key}={typed.take(key)}" for key in known if key in typed.fields]
    return flags.apply(Wanted(kind, target, kind, [*defaults, *flags.kept, *data]), typed.option)


def _sourced(typed: _Typed, kind: str, target: str, flags: _Flags) -> list[Wanted]:
    source = typed.take("source")
    if kind == "volume":
        wanted = mounts.volume(source, target, flags.kept)
        wanted.labels, wanted.driver_options = typed.labels, typed.volume_options
        return [wanted]
    if not source:
        raise UsageError(f"{typed.option}: type={kind} needs source=")
    if flags.subpath and kind != "image":
        raise UsageError(f"{typed.option}: subpath belongs to a volume or an image: name the directory itself")
    if kind == "glob":
        return _glob(source, target, flags, typed.option)
    if kind == "bind":
        return [_bind(source, target, flags, typed.option)]
    if flags.scratch or flags.chown:
        raise UsageError(f"{typed.option}: an image takes neither O nor U", "rw=true lets the container write")
    wanted = Wanted("image", target, "", flags.kept if "rw" in flags.kept else [*flags.kept, "ro"])
    wanted.name = source
    wanted.scratch = "rw" in flags.kept
    flags.scratch = wanted.scratch
    return [wanted]


def _glob(pattern: str, target: str, flags: _Flags, option: str) -> list[Wanted]:
    """Every match under its own name in the directory ``target``, without one where it is on the host."""
    import glob

    found = sorted(glob.glob(os.path.abspath(os.path.expanduser(pattern))))
    if not found:
        raise UsageError(f"{option}: nothing matches {pattern}")
    return [_bind(path, f"{target}/{os.path.basename(path)}" if target else path, flags, option) for path in found]

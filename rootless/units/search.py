"""Where Quadlet files are looked for, which of them count, and what is laid over them."""

from __future__ import annotations

import os

from rootless import paths
from rootless.errors import UsageError, os_reason
from rootless.units.keys import KINDS, KINDS_LATER
from rootless.units.unitfile import UnitError, UnitFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_ADMIN = "/etc/containers/systemd/users"
_DEEPEST = 20


def own_directory() -> str:
    """Rpod's own folder, where ``rpod quadlet install`` puts files."""
    return f"{paths.config_home()}/rpod/systemd"


def directories() -> list[str]:
    """The folders that are searched, the first one first; what is found earlier counts.

    As podman-systemd.unit(5) has them for a user, with rpod's own among them; QUADLET_UNIT_DIRS replaces them all.
    Raises UsageError for a relative path in it.
    """
    chosen = os.environ.get("QUADLET_UNIT_DIRS", "")
    if chosen:
        found = [folder for folder in chosen.split(":") if folder]
        for folder in found:
            if not folder.startswith("/"):
                raise UsageError(f"QUADLET_UNIT_DIRS: {folder!r} is not an absolute path")
        return found
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [f"{runtime}/containers/systemd"] if runtime.startswith("/") else []
    shared = f"{paths.config_home()}/containers/systemd"
    return [*found, own_directory(), shared, f"{_ADMIN}/{os.geteuid()}", _ADMIN]


def folders() -> list[str]:
    """The directories with their subdirectories, each once, drop-ins left out."""
    seen: set[str] = set()
    found: list[str] = []
    for directory in directories():
        for folder in _walk(directory, 0):
            real = os.path.realpath(folder)
            if real not in seen:
                seen.add(real)
                found.append(folder)
    return found


def _walk(folder: str, depth: int) -> Iterator[str]:
    """A folder and what is below it. Folders named by a number under ADMIN belong to other users."""
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    yield folder
    for name in names:
        path = f"{folder}/{name}"
        if name.endswith(".d") or depth >= _DEEPEST or not os.path.isdir(path):
            continue
        if not (folder == _ADMIN and name.isdecimal()):
            yield from _walk(path, depth + 1)


def is_quadlet(name: str) -> bool:
    """Whether ``name`` is that of a Quadlet file, of whatever kind."""
    stem, dot, kind = name.rpartition(".")
    return bool(dot and stem) and (kind in KINDS or kind in KINDS_LATER)


def find() -> dict[str, str]:
    """Name -> path of every Quadlet file that counts; masked names are left out."""
    found: dict[str, str] = {}
    for folder in folders():
        for name in sorted(os.listdir(folder)):
            if is_quadlet(name):
                found.setdefault(name, f"{folder}/{name}")
    return {name: path for name, path in found.items() if not is_mask(path)}


def is_mask(path: str) -> bool:
    """Whether a file means that there is none: an empty one, or a link to /dev/null (systemd.unit(5))."""
    try:
        return os.path.realpath(path) == "/dev/null" or (os.path.isfile(path) and os.stat(path).st_size == 0)
    except OSError:
        return False


def read(name: str, path: str) -> UnitFile:
    """The file with its drop-ins. Raises UnitError."""
    unit = UnitFile.read(name, path)
    for drop_in in drop_ins(name):
        unit.add_file(drop_in)
    return unit


def drop_ins(name: str) -> list[str]:
    """The ``*.conf`` files of a unit, in the order in which they are laid over it: that of their names.

    Of two with one name, the one in the folder that names the unit more exactly counts, then the one found earlier.
    """
    by_name: dict[str, str] = {}
    everywhere = folders()
    for directory in drop_in_directories(name):
        for folder in everywhere:
            try:
                entries = os.listdir(f"{folder}/{directory}")
            except (FileNotFoundError, NotADirectoryError):
                continue
            except OSError as error:
                raise UnitError(f"{folder}/{directory}", 0, os_reason(error)) from error
            for entry in entries:
                if entry.endswith(".conf"):
                    by_name.setdefault(entry, f"{folder}/{directory}/{entry}")
    return [by_name[entry] for entry in sorted(by_name) if not is_mask(by_name[entry])]


def drop_in_directories(name: str) -> list[str]:
    """Where a unit's drop-ins are, the most exact name first.

    ``a-b@i.container``: ``a-b@i.container.d``, ``a-b@.container.d``, ``a-@.container.d``, ``a-.container.d``,
    ``container.d``.
    """
    stem, _, kind = name.rpartition(".")
    base, at, instance = stem.partition("@")
    found = [f"{name}.d"]
    if instance:
        found.append(f"{base}@.{kind}.d")
    parts = base.split("-")
    for count in range(len(parts) - 1, 0, -1):
        truncated = "-".join(parts[:count]) + "-"
        found += [f"{truncated}@.{kind}.d"] if at else []
        found.append(f"{truncated}.{kind}.d")
    return [*found, f"{kind}.d"]

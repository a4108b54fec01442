"""``rpod quadlet install``: Quadlet files into rpod's own folder."""

from __future__ import annotations

import os

from rootless.engine.quadlet import LARGEST_BYTES
from rootless.errors import ConflictError, RpodError, UnsupportedError, UsageError, os_reason
from rootless.kernel import files
from rootless.units import search
from rootless.units.convert import check_keys
from rootless.units.keys import KINDS, KINDS_LATER
from rootless.units.unitfile import UnitError, UnitFile

_MANY = ".quadlets"


def install(path: str, others: list[str], *, replace: bool) -> list[str]:
    """Copy a Quadlet file, with ``others`` beside it, or a folder of them, into rpod's own folder.

    A folder, and a file with others, become an application: a folder of that name. A file NAME.quadlets holds several,
    with ``---`` between them and ``# FileName=NAME`` in each. Returns the paths that were written. Raises UsageError,
    ConflictError, UnitError, RpodError; unless it was to ``replace`` files, nothing is left of what failed.
    """
    if "://" in path:
        raise UnsupportedError(f"{path}: an address is not there yet", f"curl -LO {path}, then install the file")
    try:
        found = _collect(path, others)
    except OSError as error:
        raise RpodError(os_reason(error)) from error
    folder = search.own_directory()
    for item in found:
        if search.is_quadlet(os.path.basename(item.target)):
            _check(item)
    _refuse_taken(folder, found, replace=replace)
    written: list[str] = []
    try:
        for item in found:
            target = f"{folder}/{item.target}"
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            files.write_atomic(target, item.data, mode=0o644)
            written.append(target)
    except OSError as error:
        if not replace:
            for target in written:
                os.unlink(target)
            for item in found:
                _remove_empty(os.path.dirname(f"{folder}/{item.target}"), folder)
        raise RpodError(f"cannot be installed: {os_reason(error)}") from error
    return written


def _remove_empty(path: str, folder: str) -> None:
    """Remove a directory, and those between it and ``folder``, as far as they are empty."""
    while path != folder:
        try:
            os.rmdir(path)
        except FileNotFoundError:
            pass
        except OSError:
            return  # it holds others
        path = os.path.dirname(path)


class _File:
    """A file to install: where it comes from, its place in the target folder, its content."""

    __slots__ = ("data", "source", "target")

    def __init__(self, source: str, target: str, data: bytes | None = None) -> None:
        self.source = source
        self.target = target
        self.data = files.read_file(source, LARGEST_BYTES) if data is None else data


def _collect(path: str, others: list[str]) -> list[_File]:
    if os.path.isdir(path):
        if others:
            raise UsageError(f"{path} is a folder: further files belong into it")
        return _folder(path)
    name = os.path.basename(path)
    if name.endswith(_MANY):
        found = _several(path)
    elif search.is_quadlet(name):
        found = [_File(path, name)]
    else:
        raise UsageError(f"{path} is no Quadlet file", f"its name ends with {', '.join(f'.{kind}' for kind in KINDS)}")
    if others:
        found += [_File(other, os.path.basename(other)) for other in others]
        for item in found:
            item.target = f"{name.rpartition('.')[0]}/{item.target}"
    return found


def _folder(path: str) -> list[_File]:
    app = os.path.basename(os.path.abspath(path))
    found = []
    for folder, _, names in os.walk(path):
        inside = os.path.relpath(folder, path)
        found += [_File(f"{folder}/{name}", os.path.normpath(f"{app}/{inside}/{name}")) for name in sorted(names)]
    if not any(search.is_quadlet(item.target) for item in found):
        raise UsageError(f"{path}: there is no Quadlet file in it", f"{path}/NAME.container")
    return found


def _several(path: str) -> list[_File]:
    """The Quadlet files in one of the ending .quadlets."""
    found: list[_File] = []
    part: list[str] = []
    lines = _File(path, "").data.decode("utf-8", "surrogateescape").splitlines()
    for number, line in enumerate([*lines, "---"], 1):
        if line.strip() != "---":
            part.append(line)
            continue
        if any(text.strip() for text in part):
            named = next((t.partition("=")[2].strip() for t in part if t.startswith("# FileName=")), "")
            section = next((t.strip()[1:-1].lower() for t in part if t.strip()[1:-1].lower() in KINDS), "")
            if not named or "/" in named or not section:
                raise UsageError(
                    f"{path}:{number}: the part above has no '# FileName=NAME', or no section of a Quadlet file"
                )
            text = "\n".join(part).strip() + "\n"
            found.append(_File(path, f"{named}.{section}", text.encode("utf-8", "surrogateescape")))
        part = []
    if not found:
        raise UsageError(f"{path}: it holds no Quadlet file")
    return found


def _check(item: _File) -> None:
    """Whether a file can be read at all; what it refers to may come later."""
    name = os.path.basename(item.target)
    kind = name.rpartition(".")[2]
    if kind in KINDS_LATER:
        raise UnsupportedError(f"{item.source}: .{kind} files are not there yet", KINDS_LATER[kind])
    unit = UnitFile(name, item.source)
    try:
        unit.parse(item.data.decode(), item.source)
    except UnicodeDecodeError as error:
        raise UnitError(item.source, 0, "not UTF-8") from error
    if unit.sections:
        check_keys(unit, KINDS[kind])


def _refuse_taken(folder: str, found: list[_File], *, replace: bool) -> None:
    known = search.find()
    for item in found:
        target = f"{folder}/{item.target}"
        if os.path.lexists(target) and not replace:
            raise ConflictError(f"{target} is there already", "install --replace")
        name = os.path.basename(item.target)
        other = known.get(name)
        if other is not None and os.path.realpath(other) != os.path.realpath(target):
            raise ConflictError(f"{name} is there already: {other}", "give it another name")

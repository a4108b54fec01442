"""Stacked directories as an overlay shows them, read without mounting anything; and how two such trees differ.

Serves ``diff``, which must not wait for a mount and works while the container writes. Every
directory is opened anew below its root with openat2 and no link is followed, so a program
that moves directories meanwhile changes what is reported and nothing else. Runs as root of
the default user namespace, which may read everything that is stored.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import StorageError, os_reason
from rootless.kernel import syscalls
from rootless.storage import depth as depths
from rootless.storage.tarheader import shown
from rootless.storage.whiteouts import OPAQUE, PREFIX, is_opaque, is_whiteout

_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)

ADDED, CHANGED, DELETED = "A", "C", "D"


class Node:
    """One name of a merged directory: its attributes, the root it comes from, and for a directory all its parts."""

    __slots__ = ("info", "parts", "root")

    def __init__(self, info: os.stat_result, root: str) -> None:
        self.info = info
        self.root = root
        self.parts = [root]

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.info.st_mode)


class Tree:
    """The directories ``roots``, the uppermost first."""

    __slots__ = ("_fds", "roots")

    def __init__(self, roots: list[str]) -> None:
        self.roots = roots
        self._fds: dict[str, int] = {}

    def __enter__(self) -> Tree:
        for root in self.roots:
            self._fds[root] = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds.values():
            os.close(fd)

    def open(self, root: str, where: bytes) -> int:
        """The directory ``where`` of one root. Raises OSError: it may have been moved away just now."""
        return syscalls.openat2(self._fds[root], os.fsdecode(where) or ".", _DIRECTORY, _RESOLVE)

    def list(self, parts: list[str], where: bytes) -> dict[bytes, Node]:
        """The entries of the directory ``where`` (b"" is the root), merged from ``parts``, the uppermost first."""
        found: dict[bytes, Node] = {}
        hidden: set[bytes] = set()  # decided by a part that is looked at already
        for root in parts:
            try:
                fd = self.open(root, where)
            except OSError as error:
                if error.errno in _GONE:
                    continue
                raise StorageError(f"cannot read {shown(b'/' + where)}: {os_reason(error)}") from error
            try:
                opaque = self._merge(fd, root, found, hidden)
            finally:
                os.close(fd)
            if opaque:
                break
        return found

    def find(self, where: bytes, under: int) -> int:
        """Open the directory ``where`` in the uppermost root, below the first ``under`` ones, that shows it there.

        Returns -1 if none does: it is hidden by a root above, or something else. Raises OSError.
        """
        for number, root in enumerate(self.roots):
            fd = self.open(root, b"")
            hides = False
            try:
                for name in where.split(b"/") if where else ():
                    hides = hides or is_opaque(fd) or _has(fd, OPAQUE) or _has(fd, PREFIX + name)
                    inner = os.open(name, _DIRECTORY, dir_fd=fd)
                    os.close(fd)
                    fd = inner
            except OSError as error:
                os.close(fd)
                if error.errno in (errno.ENOTDIR, errno.ELOOP) or (hides and error.errno == errno.ENOENT):
                    return -1
                if error.errno != errno.ENOENT:
                    raise
                continue
            if number >= under:
                return fd
            os.close(fd)
            if hides:
                return -1
        return -1

    @staticmethod
    def _merge(fd: int, root: str, found: dict[bytes, Node], hidden: set[bytes]) -> bool:
        """Put one part's entries under those of the parts above; whether it hides all parts below."""
        opaque = is_opaque(fd)
        deleted: set[bytes] = set()
        with os.scandir(fd) as entries:
            for entry in entries:
                name = os.fsencode(entry.name)
                if name.startswith(PREFIX):
                    opaque = opaque or name == OPAQUE
                    deleted.add(name[len(PREFIX) :])
                    continue
                if name in hidden:
                    continue
                try:
                    info = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                above = found.get(name)
                if is_whiteout(info) or not stat.S_ISDIR(info.st_mode):
                    hidden.add(name)
                if is_whiteout(info):
                    continue
                if above is None:
                    found[name] = Node(info, root)
                elif stat.S_ISDIR(info.st_mode):
                    above.parts.append(root)
        hidden |= deleted
        return opaque


def _has(fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
            raise
        return False
    return True


class Change:
    """What became of ``path`` (absolute, as the kernel has it): ADDED, CHANGED or DELETED."""

    __slots__ = ("kind", "path")

    def __init__(self, kind: str, path: bytes) -> None:
        self.kind = kind
        self.path = path


def changes(before: Tree, after: Tree) -> list[Change]:
    """What differs in ``after``, in the order of the paths; both trees are open.

    A directory that holds a change is CHANGED itself, and of a deleted one only the name is
    told, as Podman and Docker do. Where ``after`` is stacked upon ``before``, what a new layer
    brings counts as changed whatever its attributes are.
    """
    return _Comparison(before, after).run()


class _Comparison:
    def __init__(self, before: Tree, after: Tree) -> None:
        self._before = before
        self._after = after
        count = len(after.roots) - len(before.roots)
        self._stacked = count >= 0 and after.roots[count:] == before.roots
        self._found: list[Change] = []

    def run(self) -> list[Change]:
        self._directory(self._before.roots, self._after.roots, b"", 0)
        return self._found

    def _directory(self, old_parts: list[str], new_parts: list[str], where: bytes, depth: int) -> None:
        depths.check(where, depth)
        old = self._before.list(old_parts, where) if old_parts else {}
        new = self._after.list(new_parts, where)
        for name in sorted(old.keys() | new.keys()):
            self._entry(old.get(name), new.get(name), where + b"/" + name if where else name, depth)

    def _entry(self, old: Node | None, new: Node | None, where: bytes, depth: int) -> None:
        path = b"/" + where
        if new is None:
            self._found.append(Change(DELETED, path))
        elif old is None:
            self._found.append(Change(ADDED, path))
            if new.is_directory:
                self._directory([], new.parts, where, depth + 1)
        elif old.parts != new.parts:
            position = len(self._found)
            both = old.is_directory and new.is_directory
            if new.is_directory:
                self._directory(old.parts if both else [], new.parts, where, depth + 1)
            if len(self._found) > position or self._differs(old, new, directories=both):
                self._found.insert(position, Change(CHANGED, path))

    def _differs(self, old: Node, new: Node, *, directories: bool) -> bool:
        if self._stacked and not directories and old.root != new.root:
            return True
        a, b = old.info, new.info
        if (a.st_mode, a.st_uid, a.st_gid, a.st_mtime_ns) != (b.st_mode, b.st_uid, b.st_gid, b.st_mtime_ns):
            return True
        return not directories and (a.st_size, a.st_rdev) != (b.st_size, b.st_rdev)

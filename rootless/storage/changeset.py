"""Archives of a container's root: what it changed, as an OCI layer, or all of it, flat.

Both are read from the stored directories, not from a mount, as root of the default user
namespace: the ids in the archive are the image's, whatever map the container has, and it
makes no difference whether it runs. What a running program changes meanwhile may or may
not be in the archive; no link of it is ever followed.
"""

from __future__ import annotations

import os
import stat

from rootless.errors import UnsupportedError
from rootless.storage import depth as depths
from rootless.storage import whiteouts
from rootless.storage.merged import Node, Tree
from rootless.storage.pack import Packer
from rootless.storage.tarheader import FILE, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PLAIN_ROOT = (0o755, 0, 0)  # what a layer's root is where no layer names it


class UpperPacker(Packer):
    """Packs an upper directory as a layer (image-spec layer.md): deletions become whiteouts.

    ``mount_points`` are absolute paths where the runtime made something to mount on; what is
    still empty there is left out. ``marks``: the driver may have written whiteouts as files
    (fuse-overlayfs on file systems without the devices); elsewhere such a name is the program's.
    """

    def __init__(self, write: Callable[[bytes], None], mount_points: frozenset[bytes], *, marks: bool) -> None:
        super().__init__(write)
        self._mount_points = mount_points
        self._marks = marks

    def run(self, upper: str, lower: str) -> None:
        """Write the layer of the directory ``upper``, which lay over ``lower``, or over nothing ("").

        Raises StorageError, UnsupportedError.
        """
        fd = os.open(upper, _DIRECTORY)
        try:
            info = os.fstat(fd)
            if _attributes(info) != (_attributes(os.stat(lower)) if lower else _PLAIN_ROOT):
                self._header(b"./", info, fd)
            self._children(fd, b"", 0)
        finally:
            os.close(fd)
        self.finish()

    def _enter(self, fd: int, prefix: bytes) -> None:
        if prefix and (whiteouts.is_opaque(fd) or (self._marks and _has(fd, whiteouts.OPAQUE))):
            self._header(prefix + whiteouts.OPAQUE, os.fstat(fd), kind=FILE)

    def _takes(self, parent_fd: int, name: bytes, where: bytes) -> bool:
        if name.startswith(whiteouts.PREFIX):
            if not self._marks:
                raise UnsupportedError(
                    f"{shown(b'/' + where)} cannot be in an image: such names mark deletions in a layer",
                    "remove or rename it in the container",
                )
            if name == whiteouts.OPAQUE:
                return False
        try:
            info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if whiteouts.is_whiteout(info):
            self._header(where[: -len(name)] + whiteouts.PREFIX + name, info, kind=FILE)
            return False
        return b"/" + where not in self._mount_points or not _is_empty(parent_fd, name, info)


def _attributes(info: os.stat_result) -> tuple[int, int, int]:
    return stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid


def _has(fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _is_empty(parent_fd: int, name: bytes, info: os.stat_result) -> bool:
    if not stat.S_ISDIR(info.st_mode):
        return stat.S_ISREG(info.st_mode) and not info.st_size
    fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
    try:
        return all(entry.startswith(os.fsdecode(whiteouts.PREFIX)) for entry in os.listdir(fd))
    finally:
        os.close(fd)


class FlatPacker(Packer):
    """Packs stacked directories as the one tree that they show."""

    def run(self, roots: list[str]) -> None:
        """Write the archive of ``roots``, the uppermost first. Raises StorageError."""
        with Tree(roots) as tree:
            fd = tree.open(roots[0], b"")
            try:
                self._header(b"./", os.fstat(fd), fd)
            finally:
                os.close(fd)
            self._merged(tree, roots, b"", 0)
        self.finish()

    def _merged(self, tree: Tree, parts: list[str], where: bytes, depth: int) -> None:
        depths.check(where, depth)
        for name, node in sorted(tree.list(parts, where).items()):
            path = where + b"/" + name if where else name
            try:
                self._node(tree, node, where, name, depth)
            except FileNotFoundError:
                continue  # removed since its directory was listed
            if node.is_directory:
                self._merged(tree, node.parts, path, depth + 1)

    def _node(self, tree: Tree, node: Node, where: bytes, name: bytes, depth: int) -> None:
        path = where + b"/" + name if where else name
        parent = tree.open(node.root, where)
        try:
            if not node.is_directory:
                self._add(parent, name, path, depth + 1)
                return
            fd = os.open(name, _DIRECTORY, dir_fd=parent)
            try:
                self._header(path + b"/", os.fstat(fd), fd)
            finally:
                os.close(fd)
        finally:
            os.close(parent)

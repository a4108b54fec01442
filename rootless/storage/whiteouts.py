"""Deletions in a layer (OCI image-spec, layer.md, "Whiteouts"), written as both overlay drivers read them.

=================  ===========================================  =================================
in the archive     on disk                                      where that cannot be made
=================  ===========================================  =================================
``.wh.NAME``       NAME as a character device 0:0                an empty file ``.wh.NAME``
``.wh..wh..opq``   xattr ``user.overlay.opaque=y``               an empty file ``.wh..wh..opq``
=================  ===========================================  =================================

The left column works with the kernel's overlay (``userxattr``) and with fuse-overlayfs 1.10;
the right one only with fuse-overlayfs, which is the driver of a kernel or file system that
refuses the left one. Whiteouts apply to the layers below, never to the layer they are in.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import StorageError, UnsupportedError
from rootless.storage.tarheader import shown

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
_META = b".wh..wh."
_OPAQUE_XATTR = "user.overlay.opaque"
_OPAQUE_XATTRS = (_OPAQUE_XATTR, "user.fuseoverlayfs.opaque")
_REFUSED = (errno.EPERM, errno.ENOTSUP)


class Whiteouts:
    """The deletions of one layer, made in the current directory. In a ``base`` layer nothing lies below."""

    __slots__ = ("_base", "_made", "_opaque")

    def __init__(self, *, base: bool) -> None:
        self._base = base
        self._made: set[bytes] = set()
        self._opaque: set[bytes] = set()

    def apply(self, folder: bytes, base: bytes) -> None:
        """The archive's entry ``folder/base``, whose base name begins with ``.wh.``."""
        target = base[len(PREFIX) :]
        if base == OPAQUE:
            self.make_opaque(folder)
        elif target in (b"", b".", b".."):
            raise StorageError(f"the whiteout {shown(base)} in {shown(folder)} names nothing that could be deleted")
        elif not base.startswith(_META):  # others of that kind belong to aufs
            self._delete(folder, target)

    def _delete(self, folder: bytes, target: bytes) -> None:
        if self._base:
            return
        name = folder + b"/" + target if folder else target
        try:
            os.mknod(name, stat.S_IFCHR | 0o600, 0)
            self._made.add(name)
        except FileExistsError:
            # This layer has the name itself: a directory must not show what lies below, a file never does.
            if stat.S_ISDIR(os.lstat(name).st_mode):
                self.make_opaque(name)
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            marker = folder + b"/" + PREFIX + target if folder else PREFIX + target
            _touch(marker)

    def make_opaque(self, folder: bytes) -> None:
        """Hide everything that the layers below have in a directory."""
        if self._base:
            return
        if not folder:
            raise UnsupportedError("the layer marks its whole root as opaque, which no overlay driver can show")
        try:
            os.setxattr(folder, _OPAQUE_XATTR, b"y")
        except OSError as error:
            if error.errno not in _REFUSED:
                raise
            _touch(folder + b"/" + OPAQUE)
        self._opaque.add(folder)

    def is_whiteout(self, name: bytes) -> bool:
        """Whether ``name`` is a deletion that this layer made."""
        return name in self._made

    def forget(self, name: bytes) -> None:
        """``name`` is about to be replaced."""
        self._made.discard(name)
        self._opaque.discard(name)

    def finish(self) -> None:
        """Remove the whiteouts in opaque directories: nothing is merged there, so they would be seen."""
        if not self._opaque:
            return
        for name in self._made:
            above = name.rpartition(b"/")[0]
            while above and above not in self._opaque:
                above = above.rpartition(b"/")[0]
            if above:
                try:
                    os.unlink(name)
                except FileNotFoundError:
                    pass


def is_whiteout(info: os.stat_result) -> bool:
    """Whether an entry of a layer or an upper directory is a deletion: a character device 0:0."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0


def is_opaque(fd: int) -> bool:
    """Whether a directory of a layer or an upper directory hides what the layers below have in it."""
    for name in _OPAQUE_XATTRS:
        try:
            if os.getxattr(fd, name) == b"y":
                return True
        except OSError as error:
            if error.errno not in (errno.ENODATA, errno.ENOTSUP):
                raise
    return False


def _touch(name: bytes) -> None:
    os.close(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644))

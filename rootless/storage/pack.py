"""A directory tree as a tar stream: ustar, with PAX records where ustar has no room.

Reading goes from descriptor to descriptor and follows no link, so a tree that changes
meanwhile can spoil the archive and lead nowhere else. Entries come sorted by name: the same
tree gives the same bytes.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import StorageError, os_reason
from rootless.storage import depth as depths
from rootless.storage.copyup import DRIVER_XATTRS
from rootless.storage.tarheader import (
    BLOCK,
    BLOCKDEV,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SYMLINK,
    shown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_DIRECTORY = _READ | os.O_DIRECTORY
_CHUNK = 1 << 18
_MAX_OCTAL_7 = 0o7777777
_MAX_OCTAL_11 = 0o77777777777
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCKDEV,
    stat.S_IFIFO: FIFO,
}


class Packer:
    """Writes one archive through ``write``, which takes everything it is given.

    ``ids`` turns a file's (uid, gid) into the archive's; None keeps them.
    """

    def __init__(
        self, write: Callable[[bytes], None], ids: Callable[[int, int], tuple[int, int]] | None = None
    ) -> None:
        self._write = write
        self._ids = ids
        self._buffer = bytearray()
        self._links: dict[tuple[int, int], bytes] = {}

    def add(self, parent_fd: int, name: bytes, archive_name: bytes, *, link: bool = True) -> None:
        """Add the entry ``name`` of a directory, with all below it, as ``archive_name``. Raises StorageError.

        With ``link`` false the entry itself must not be a symbolic link: its links were followed already.
        """
        self._add(parent_fd, name, archive_name, 0, link=link)

    def finish(self) -> None:
        """The end of the archive: two blocks of zeros."""
        self._put(bytes(2 * BLOCK))
        self._flush()

    def _put(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) >= _CHUNK:
            self._flush()

    def _flush(self) -> None:
        self._write(bytes(self._buffer))
        self._buffer.clear()

    def _add(self, parent_fd: int, name: bytes, where: bytes, depth: int, *, link: bool = True) -> None:
        depths.check(where, depth)
        try:
            info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
            if stat.S_ISREG(info.st_mode):
                self._file(parent_fd, name, where)
            elif stat.S_ISDIR(info.st_mode):
                self._directory(parent_fd, name, where, depth)
            elif stat.S_ISLNK(info.st_mode):
                if not link:
                    raise StorageError(f"{shown(where)} became a link while it was copied", "try again")
                self._header(where, info, link=os.readlink(name, dir_fd=parent_fd))
            elif not stat.S_ISSOCK(info.st_mode):  # a socket is nothing without its program
                self._header(where, info)
        except OSError as error:
            if error.errno == errno.ENOENT and depth:
                return  # removed since its directory was listed
            raise StorageError(f"cannot read {shown(where)}: {os_reason(error)}") from error

    def _directory(self, parent_fd: int, name: bytes, where: bytes, depth: int) -> None:
        fd = os.open(name, _DIRECTORY, dir_fd=parent_fd)
        try:
            self._header(where + b"/", os.fstat(fd), fd)
            self._children(fd, where + b"/", depth)
        finally:
            os.close(fd)

    def _enter(self, fd: int, prefix: bytes) -> None:
        """What an archive says of a directory before its content: nothing, unless it is a layer."""

    def _takes(self, parent_fd: int, name: bytes, where: bytes) -> bool:
        """Whether an entry of a directory is in the archive as it is."""
        del parent_fd, name, where
        return True

    def _children(self, fd: int, prefix: bytes, depth: int) -> None:
        self._enter(fd, prefix)
        for entry in sorted(os.fsencode(entry) for entry in os.listdir(fd)):
            if self._takes(fd, entry, prefix + entry):
                self._add(fd, entry, prefix + entry, depth + 1)

    def _file(self, parent_fd: int, name: bytes, where: bytes) -> None:
        fd = os.open(name, _READ, dir_fd=parent_fd)
        try:
            info = os.fstat(fd)
            if not stat.S_ISREG(info.st_mode):
                raise StorageError(f"{shown(where)} changed while it was read")
            key = (info.st_dev, info.st_ino)
            if info.st_nlink > 1 and key in self._links:
                self._header(where, info, link=self._links[key], kind=HARDLINK)
                return
            if info.st_nlink > 1:
                self._links[key] = where
            self._header(where, info, fd)
            self._content(fd, info.st_size, where)
        finally:
            os.close(fd)

    def _content(self, fd: int, size: int, where: bytes) -> None:
        """Exactly ``size`` bytes and the padding: the header has promised them."""
        left = size
        while left:
            data = os.read(fd, min(left, _CHUNK))
            if not data:
                raise StorageError(f"{shown(where)} became shorter while it was read", "try again")
            self._put(data)
            left -= len(data)
        self._put(bytes(-size % BLOCK))

    def _header(
        self, where: bytes, info: os.stat_result, fd: int = -1, *, link: bytes = b"", kind: bytes = b""
    ) -> None:
        kind = kind or _KINDS[stat.S_IFMT(info.st_mode)]
        size = info.st_size if kind == FILE and stat.S_ISREG(info.st_mode) else 0
        uid, gid = (info.st_uid, info.st_gid) if self._ids is None else self._ids(info.st_uid, info.st_gid)
        seconds, fraction = divmod(info.st_mtime_ns, 1_000_000_000)
        pax = _xattr_records(fd) if fd >= 0 else {}
        name, prefix = _split(where)
        if not name:
            pax[b"path"] = where
            name = where[:100]
        if len(link) > 100 or not link.isascii():
            pax[b"linkpath"] = link
        if fraction or not 0 <= seconds <= _MAX_OCTAL_11:
            pax[b"mtime"] = _seconds(info.st_mtime_ns)
        pax.update((key, b"%d" % value) for key, value, limit in _limits(uid, gid, size) if value > limit)
        if pax:
            self._pax(pax)
        fields = (
            name.ljust(100, b"\0"),
            _octal(stat.S_IMODE(info.st_mode), 8),
            _octal(uid, 8),
            _octal(gid, 8),
            _octal(size, 12),
            _octal(seconds, 12),
        )
        numbers = (os.major(info.st_rdev), os.minor(info.st_rdev)) if kind in (CHARACTER, BLOCKDEV) else (0, 0)
        self._put(_block(fields, kind, link, numbers, prefix))

    def _pax(self, records: dict[bytes, bytes]) -> None:
        """An extended header before the entry's own (pax Interchange Format)."""
        for key in (b"path", b"linkpath"):
            if not _is_utf8(records.get(key, b"")):
                records = {b"hdrcharset": b"BINARY", **records}
        data = b"".join(_record(key, value) for key, value in records.items())
        fields = (b"PaxHeaders".ljust(100, b"\0"), _octal(0o644, 8), _octal(0, 8), _octal(0, 8))
        self._put(_block((*fields, _octal(len(data), 12), _octal(0, 12)), b"x", b"", (0, 0), b""))
        self._put(data)
        self._put(bytes(-len(data) % BLOCK))


def _limits(uid: int, gid: int, size: int) -> tuple[tuple[bytes, int, int], ...]:
    """The numbers that may outgrow their fields."""
    return (b"uid", uid, _MAX_OCTAL_7), (b"gid", gid, _MAX_OCTAL_7), (b"size", size, _MAX_OCTAL_11)


def _block(fields: tuple[bytes, ...], kind: bytes, link: bytes, device: tuple[int, int], prefix: bytes) -> bytes:
    """A header block with its checksum."""
    start = b"".join(fields)
    end = kind + link[:100].ljust(100, b"\0") + b"ustar\x0000" + bytes(64)
    end += _octal(device[0], 8) + _octal(device[1], 8) + prefix.ljust(155, b"\0") + bytes(12)
    checksum = sum(start) + sum(end) + 8 * 0x20
    return start + b"%06o\0 " % checksum + end


def _octal(value: int, width: int) -> bytes:
    """A number field; one that does not fit is 0, and a PAX record has it."""
    text = b"%0*o" % (width - 1, max(value, 0))
    return (text if len(text) < width else b"0" * (width - 1)) + b"\0"


def _split(where: bytes) -> tuple[bytes, bytes]:
    """(name, prefix) as ustar has them, ("", "") if it does not fit or is not ASCII."""
    if not where.isascii():
        return b"", b""
    if len(where) <= 100:
        return where, b""
    # The longest prefix that fits; the slash between the two is not stored.
    cut = where.rfind(b"/", 1, min(156, len(where) - 1))
    if cut < 0 or len(where) - cut - 1 > 100:
        return b"", b""
    return where[cut + 1 :], where[:cut]


def _record(key: bytes, value: bytes) -> bytes:
    """``LENGTH KEY=VALUE`` with its line end; the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _seconds(time_ns: int) -> bytes:
    sign, value = (b"-", -time_ns) if time_ns < 0 else (b"", time_ns)
    whole, fraction = divmod(value, 1_000_000_000)
    return sign + b"%d.%09d" % (whole, fraction)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _xattr_records(fd: int) -> dict[bytes, bytes]:
    """The extended attributes that mean something elsewhere."""
    try:
        names = os.listxattr(fd)
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise
    records = {}
    for name in names:
        if not name.startswith(DRIVER_XATTRS):
            records[b"SCHILY.xattr." + os.fsencode(name)] = os.getxattr(fd, name)
    return records

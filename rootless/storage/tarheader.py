"""The fields of a tar header: POSIX ustar and pax (IEEE Std 1003.1, pax), GNU tar's additions.

Everything here is pure: bytes in, values out, StorageError naming the entry for what cannot
be right.
"""

from __future__ import annotations

import os
import struct

from rootless.errors import StorageError

BLOCK = 512
MAX_NAME = 4096
MAX_SIZE = 1 << 62
MAX_PIECES = 100_000
# Beyond any file system's range and within the 64 bits that the system call takes.
_MAX_TIME_S = 1 << 40

FILE, HARDLINK, SYMLINK, CHARACTER, BLOCKDEV, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
SPARSE = b"S"

_FIELDS = struct.Struct("100s8s8s8s12s12s8s1s100s6s82s155s12x")
_XATTR = b"SCHILY.xattr."
_Fields = tuple[bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes, bytes]


def shown(name: bytes) -> str:
    """A name from an archive as it stands in a message: quoted, control characters escaped, 200 bytes at most."""
    text = repr(os.fsdecode(name[:200]).encode("utf-8", "replace").decode())
    return text if len(name) <= 200 else text + "…"


class Entry:
    """One member. ``kind`` is a type flag (FILE, DIRECTORY, …); ``size`` the bytes in the archive.

    ``sparse`` lists (offset, length) of the pieces that follow in the archive, None for an
    ordinary file; ``real_size`` is the file's length with its holes.
    """

    __slots__ = ("gid", "kind", "link", "mode", "mtime_ns", "name", "real_size", "size", "sparse", "uid", "xattrs")

    def __init__(self, name: bytes, kind: bytes, size: int) -> None:
        self.name = name
        self.kind = kind
        self.size = size
        self.real_size = size
        self.mode = 0
        self.uid = 0
        self.gid = 0
        self.mtime_ns = 0
        self.link = b""
        self.xattrs: dict[str, bytes] | None = None
        self.sparse: list[tuple[int, int]] | None = None


class Header:
    """The raw fields of one 512-byte block."""

    __slots__ = ("_gid", "_link", "_magic", "_mode", "_mtime", "_name", "_prefix", "_size", "_uid", "kind", "raw")

    def __init__(self, raw: bytes) -> None:
        fields: _Fields = _FIELDS.unpack(raw)
        self._name, self._mode, self._uid, self._gid, self._size, self._mtime = fields[:6]
        self.kind, self._link, self._magic = fields[7:10]
        self._prefix = fields[11]
        self.raw = raw
        total = sum(raw) - sum(fields[6]) + 8 * 0x20
        digits = fields[6].strip(b" \0")
        wanted = int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else -1
        # Old writers summed signed characters.
        if total != wanted and total - 256 * sum(byte > 127 for byte in raw) != wanted:
            raise StorageError("wrong checksum of a header")

    @property
    def name(self) -> bytes:
        """The name, behind its prefix where the magic is POSIX's (GNU keeps times in that place)."""
        name = self._name.partition(b"\0")[0]
        if self._magic == b"ustar\0" and self._prefix[0]:
            return self._prefix.partition(b"\0")[0] + b"/" + name
        return name

    def size(self, name: bytes) -> int:
        """The length of the data."""
        return number(self._size, "the size", name)

    def fill(self, entry: Entry, link: bytes, pax: dict[bytes, bytes]) -> None:
        """Set everything but name, kind, sizes and sparse map. PAX values win."""
        name = entry.name
        entry.link = pax.get(b"linkpath") or link or self._link.partition(b"\0")[0]
        entry.mode = number(self._mode, "the mode", name) & 0o7777
        entry.uid = decimal(pax[b"uid"], name) if b"uid" in pax else number(self._uid, "the owner", name)
        entry.gid = decimal(pax[b"gid"], name) if b"gid" in pax else number(self._gid, "the group", name)
        if b"mtime" in pax:
            entry.mtime_ns = _time(pax[b"mtime"], name)
        else:
            seconds = number(self._mtime, "the time", name, signed=True)
            entry.mtime_ns = max(-_MAX_TIME_S, min(seconds, _MAX_TIME_S)) * 1_000_000_000
        if pax:
            entry.xattrs = _xattrs(pax, name)


def number(field: bytes, what: str, name: bytes, *, signed: bool = False) -> int:
    """An octal field, or GNU's base 256: bit 7 of the first byte set, then big-endian two's complement."""
    digits = field.strip(b" \0")
    if digits.isdigit():
        try:
            return int(digits, 8)
        except ValueError:
            pass
    elif not digits:
        return 0
    elif field[0] & 0x80:
        bits = 8 * len(field) - 1
        value = int.from_bytes(field, "big") & ((1 << bits) - 1)
        if field[0] & 0x40:
            value -= 1 << bits
        if value >= 0 or signed:
            return value
        raise StorageError(f"{shown(name)}: {what} is negative: {value}")
    raise StorageError(f"{shown(name)}: {what} is not a number: {field!r}")


def decimal(text: bytes, name: bytes) -> int:
    """A number of a PAX record."""
    if not text.isdigit() or len(text) > 20:
        raise StorageError(f"{shown(name)}: a PAX number is malformed: {text[:40]!r}")
    return int(text)


def _time(text: bytes, name: bytes) -> int:
    """``[-]SECONDS[.FRACTION]`` as nanoseconds."""
    sign, digits = (-1, text[1:]) if text.startswith(b"-") else (1, text)
    whole, _, fraction = digits.partition(b".")
    if not whole.isdigit() or len(whole) > 20 or (fraction and not fraction.isdigit()):
        raise StorageError(f"{shown(name)}: a PAX time is malformed: {text[:40]!r}")
    return sign * (min(int(whole), _MAX_TIME_S) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0")))


def _xattrs(pax: dict[bytes, bytes], name: bytes) -> dict[str, bytes] | None:
    found = {}
    for key, value in pax.items():
        if key.startswith(_XATTR):
            if b"\0" in key:
                raise StorageError(f"{shown(name)}: the name of an extended attribute has a NUL byte")
            found[os.fsdecode(key[len(_XATTR) :])] = value
    return found or None


def pax_records(data: bytes) -> dict[bytes, bytes]:
    r"""``LENGTH KEY=VALUE\n`` records. GNU sparse 0.0 repeats two keys: they are gathered into one map."""
    records: dict[bytes, bytes] = {}
    pieces: list[bytes] = []
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 20)
        digits = data[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else 0
        equals = data.find(b"=", space, end)
        if not digits.isdigit() or end > len(data) or equals < 0 or data[end - 1 : end] != b"\n":
            if not data[position:].strip(b"\0"):
                break
            raise StorageError("malformed PAX header")
        key, value = data[space + 1 : equals], data[equals + 1 : end - 1]
        if key in (b"GNU.sparse.offset", b"GNU.sparse.numbytes"):
            pieces.append(value)
        else:
            records[key] = value
        position = end
    if pieces:
        records[b"GNU.sparse.map"] = b",".join(pieces)
    return records


def old_pieces(block: bytes, start: int, count: int, name: bytes) -> list[int]:
    """Offsets and lengths of GNU tar's own sparse format: ``count`` pairs of 12-byte fields, ended by NUL."""
    numbers: list[int] = []
    for offset in range(start, start + 24 * count, 24):
        if not block[offset]:
            break
        numbers.append(number(block[offset : offset + 12], "a sparse offset", name))
        numbers.append(number(block[offset + 12 : offset + 24], "a sparse length", name))
    return numbers


def sparse_map(entry: Entry, numbers: list[int], stored: int) -> list[tuple[int, int]]:
    """The pieces: in order, inside the file, and together as long as the ``stored`` bytes."""
    pieces = list(zip(numbers[::2], numbers[1::2], strict=False))
    position = total = 0
    fits = len(numbers) % 2 == 0 and 0 <= entry.real_size <= MAX_SIZE
    for offset, length in pieces:
        fits = fits and position <= offset and offset + length <= entry.real_size
        position = offset + length
        total += length
    if not fits or total != stored:
        raise StorageError(f"{shown(entry.name)} has a sparse map that makes no sense")
    return pieces

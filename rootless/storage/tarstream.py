"""Read a tar archive from a stream: ustar, PAX and GNU members, sparse files of all four kinds.

Names and link targets are bytes, as the kernel has them. Nothing is trusted: every length
is bounded before memory is taken for it, and what cannot be right raises StorageError with
the entry's name.
"""

from __future__ import annotations

from rootless.errors import StorageError
from rootless.storage import tarheader
from rootless.storage.tarheader import (
    BLOCK,
    BLOCKDEV,
    CHARACTER,
    DIRECTORY,
    FIFO,
    FILE,
    HARDLINK,
    SPARSE,
    SYMLINK,
    Entry,
    Header,
    shown,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_ENTRIES = 10_000_000
_MAX_META = 1 << 20
_MAX_TRAILER = 64 << 20
_ZERO = bytes(BLOCK)
_REGULAR = frozenset((b"0", b"\0", b"7", SPARSE))
_KNOWN = frozenset((FILE, HARDLINK, SYMLINK, CHARACTER, BLOCKDEV, DIRECTORY, FIFO))
# Headers about the next entry: PAX, Solaris PAX, PAX global, GNU long name and link, GNU volume and old names.
_META = frozenset((b"x", b"X", b"g", b"L", b"K", b"V", b"N"))


class _Source:
    """Bytes on demand out of chunks of any size."""

    __slots__ = ("_before", "_chunk", "_keep", "_length", "_next", "_position", "_view")

    def __init__(self, next_chunk: Callable[[], bytes], keep: Callable[[bytes | memoryview], None] | None) -> None:
        self._next = next_chunk
        self._keep = keep
        self._chunk = b""
        self._view = memoryview(b"")
        self._length = 0
        self._position = 0
        self._before = 0  # bytes of the chunks that are used up

    @property
    def offset(self) -> int:
        """How many bytes were taken."""
        return self._before + self._position

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, fewer only at the end."""
        data = self._take(size)
        if self._keep is not None:
            self._keep(data)
        return data

    def drop(self, size: int) -> int:
        """Pass over at least one and at most ``size`` bytes and return how many; 0 at the end."""
        data = self.piece(size)
        if self._keep is not None:
            self._keep(data)
        return len(data)

    def _take(self, size: int) -> bytes:
        end = self._position + size
        if end <= self._length:
            data = self._chunk[self._position : end]
            self._position = end
            return data
        parts: list[memoryview] = []
        while size and (piece := self.piece(size)):
            parts.append(piece)
            size -= len(piece)
        return b"".join(parts)

    def piece(self, size: int) -> memoryview:
        """At least one and at most ``size`` bytes without copying; empty at the end."""
        if self._position == self._length:
            self._before += self._length
            self._chunk = self._next()
            self._view = memoryview(self._chunk)
            self._length = len(self._chunk)
            self._position = 0
        start = self._position
        self._position = min(start + size, self._length)
        return self._view[start : self._position]


class TarStream:
    """Iterate over the entries of an archive; the data of an entry is read, or skipped, before the next one.

    ``next_chunk`` returns more of the archive, b"" at its end. ``keep`` is given, in order, every
    byte of it that ``piece`` does not hand out: headers, padding, and the data that nobody read.
    """

    __slots__ = ("_global", "_headers_left", "_left", "_name", "_padding", "_source")

    def __init__(
        self,
        next_chunk: Callable[[], bytes],
        max_entries: int = MAX_ENTRIES,
        keep: Callable[[bytes | memoryview], None] | None = None,
    ) -> None:
        self._source = _Source(next_chunk, keep)
        self._headers_left = max_entries
        self._left = 0  # data bytes of the current entry that were not read
        self._padding = 0
        self._name = b""
        self._global: dict[bytes, bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next_entry()) is not None:
            yield entry

    @property
    def offset(self) -> int:
        """Where in the (uncompressed) archive the data that was not read yet begins."""
        return self._source.offset

    def piece(self) -> memoryview:
        """The next data bytes of the current entry, as many as are at hand; empty after the last."""
        if not self._left:
            return memoryview(b"")
        data = self._source.piece(self._left)
        if not data:
            raise self._cut_off()
        self._left -= len(data)
        return data

    def _data(self, size: int) -> bytes:
        """Exactly ``size`` data bytes of the current entry."""
        data = self._source.take(min(size, self._left))
        if len(data) != size:
            raise self._cut_off()
        self._left -= size
        return data

    def _cut_off(self) -> StorageError:
        return StorageError(f"the archive ends in the middle of {shown(self._name)}")

    def _begin_data(self, name: bytes, size: int) -> None:
        if size > tarheader.MAX_SIZE:
            raise StorageError(f"{shown(name)} has an impossible size: {size}")
        self._name = name
        self._left = size
        self._padding = -size % BLOCK

    def _skip(self) -> None:
        while self._left:
            dropped = self._source.drop(self._left)
            if not dropped:
                raise self._cut_off()
            self._left -= dropped
        if self._padding:
            self._source.take(self._padding)
            self._padding = 0

    def _next_entry(self) -> Entry | None:
        """The next real entry: the headers that only describe it are read into it."""
        pax: dict[bytes, bytes] = {}
        name = link = b""
        while True:
            self._skip()
            header = self._header()
            if header is None:
                return None
            kind = header.kind
            if kind in _META:
                data = self._meta(header)
                if kind in (b"x", b"X"):
                    pax = self._records(data)
                elif kind == b"g":
                    self._remember(self._records(data))
                elif kind == b"L":
                    name = data.rstrip(b"\0")
                elif kind == b"K":
                    link = data.rstrip(b"\0")
                continue
            entry = self._entry(header, name, link, _merged(self._global, pax))
            if entry is not None:
                return entry
            pax, name, link = {}, b"", b""

    def _header(self) -> Header | None:
        """The next header block, None at the end of the archive."""
        raw = self._source.take(BLOCK)
        if not raw:
            return None
        if len(raw) != BLOCK:
            raise StorageError("the archive ends in the middle of a header")
        if raw == _ZERO:
            self._trailer()
            return None
        self._headers_left -= 1
        if self._headers_left < 0:
            raise StorageError("the archive has too many entries")
        try:
            return Header(raw)
        except StorageError as error:
            if not self._name:
                raise StorageError("this is not a tar archive") from None
            raise StorageError(f"the archive is damaged after {shown(self._name)}: {error.message}") from None

    def _trailer(self) -> None:
        """What follows the end mark counts for the digest and for nothing else."""
        total = 0
        while dropped := self._source.drop(1 << 20):
            total += dropped
            if total > _MAX_TRAILER:
                raise StorageError("more than 64 MiB follow the end of the archive")

    def _meta(self, header: Header) -> bytes:
        """The data of a header that describes another entry."""
        size = header.size(header.name)
        if size > _MAX_META:
            raise StorageError(f"the archive has an extended header of {size} bytes after {shown(self._name)}")
        self._begin_data(header.name, size)
        return self._data(size)

    def _records(self, data: bytes) -> dict[bytes, bytes]:
        try:
            return tarheader.pax_records(data)
        except StorageError as error:
            raise StorageError(f"{error.message} in {shown(self._name)}") from None

    def _remember(self, records: dict[bytes, bytes]) -> None:
        self._global.update(records)
        if sum(len(key) + len(value) for key, value in self._global.items()) > _MAX_META:
            raise StorageError("the global PAX headers of the archive are larger than 1 MiB")

    def _entry(self, header: Header, name: bytes, link: bytes, pax: dict[bytes, bytes]) -> Entry | None:
        """An entry and the place of its data; None for a type that nobody knows (POSIX: skip it)."""
        name = pax.get(b"path") or name or header.name
        size = tarheader.decimal(pax[b"size"], name) if b"size" in pax else header.size(name)
        kind = header.kind
        if kind in _REGULAR:
            # Version 7 tar marks a directory only by the slash at its end.
            kind = DIRECTORY if name.endswith(b"/") else FILE
        if kind in _KNOWN and kind != FILE:
            size = 0  # whatever the field says, no data follows
        self._begin_data(name, size)
        if kind not in _KNOWN:
            return None
        entry = Entry(name, kind, size)
        if b"GNU.sparse.name" in pax:
            entry.name = pax[b"GNU.sparse.name"]
        header.fill(entry, link, pax)
        _check_names(entry, self._name)
        if header.kind == SPARSE:
            self._old_sparse(entry, header.raw)
        elif b"GNU.sparse.major" in pax or b"GNU.sparse.map" in pax:
            self._pax_sparse(entry, pax)
        return entry

    def _old_sparse(self, entry: Entry, header: bytes) -> None:
        """GNU tar's own format: four pieces in the header, 21 in each block that may follow it."""
        numbers = tarheader.old_pieces(header, 386, 4, entry.name)
        entry.real_size = tarheader.number(header[483:495], "the real size", entry.name)
        more = header[482]
        while more:
            block = self._source.take(BLOCK)
            if len(block) != BLOCK or len(numbers) > 2 * tarheader.MAX_PIECES:
                raise StorageError(f"the sparse map of {shown(entry.name)} has no end")
            numbers += tarheader.old_pieces(block, 0, 21, entry.name)
            more = block[504]
        entry.sparse = tarheader.sparse_map(entry, numbers, self._left)

    def _pax_sparse(self, entry: Entry, pax: dict[bytes, bytes]) -> None:
        """GNU's formats 0.0 and 0.1 (the map in the header) and 1.0 (the map before the data)."""
        size = pax.get(b"GNU.sparse.realsize") or pax.get(b"GNU.sparse.size") or b"%d" % entry.size
        entry.real_size = tarheader.decimal(size, entry.name)
        if pax.get(b"GNU.sparse.major") == b"1":
            numbers = self._leading_map(entry)
        else:
            fields = pax.get(b"GNU.sparse.map", b"").split(b",")
            numbers = [tarheader.decimal(field, entry.name) for field in fields if field]
        entry.sparse = tarheader.sparse_map(entry, numbers, self._left)

    def _leading_map(self, entry: Entry) -> list[int]:
        """Decimal numbers, one a line: the count of pieces, then offset and length of each; padded to a block."""
        text = self._data(BLOCK)
        count = tarheader.decimal(text.partition(b"\n")[0], entry.name)
        if count > tarheader.MAX_PIECES:
            raise StorageError(f"{shown(entry.name)} has too many sparse pieces")
        blocks = [text]
        lines = text.count(b"\n")
        while lines < 1 + 2 * count:
            if len(blocks) > count:  # two numbers of at most 20 digits each: 42 bytes a piece
                raise StorageError(f"{shown(entry.name)} has a sparse map that makes no sense")
            blocks.append(self._data(BLOCK))
            lines += blocks[-1].count(b"\n")
        fields = b"".join(blocks).split(b"\n")[1 : 1 + 2 * count]
        return [tarheader.decimal(field, entry.name) for field in fields]


def _merged(common: dict[bytes, bytes], own: dict[bytes, bytes]) -> dict[bytes, bytes]:
    """Global records under an entry's own; an empty value takes the record away (pax, "keyword")."""
    records = {**common, **own} if common else own
    if b"" in records.values():
        return {key: value for key, value in records.items() if value or key.startswith(b"SCHILY.xattr.")}
    return records


def _check_names(entry: Entry, before: bytes) -> None:
    for text in (entry.name, entry.link):
        if len(text) > tarheader.MAX_NAME:
            raise StorageError(f"a name of {len(text)} bytes is too long: {shown(text)}")
        if b"\0" in text:
            raise StorageError(f"a name with a NUL byte: {shown(text)}")
    if not entry.name:
        raise StorageError(f"an entry without a name after {shown(before)}")

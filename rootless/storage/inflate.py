"""Uncompress a layer while it arrives: gzip (RFC 1952), zstd (RFC 8878), or plain; an archive also from xz or bzip2.

The first bytes decide, and must agree with the media type. Whatever a few bytes claim to
unpack to, at most one chunk of it is in memory, and the total is bounded.
"""

from __future__ import annotations

import bz2
import lzma

import zstandard
from isal import igzip_lib

from rootless.errors import StorageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LIMIT_BYTES = 64 << 30
_READ = 1 << 18
_CHUNK = 1 << 20
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_XZ_MAGIC = b"\xfd7zXZ\0"
_BZIP2_MAGIC = b"BZh"
# RFC 8878, 3.1.1.1.2: a decoder may limit the window; 128 MiB is what zstd(1) itself accepts.
_ZSTD_MAX_WINDOW = 1 << 27
# xz -9 needs 65 MiB to decompress; a header may claim 4 GiB.
_XZ_MAX_MEMORY = 1 << 28


def open_stream(
    read: Callable[[int], bytes], media_type: str = "", limit_bytes: int = LIMIT_BYTES
) -> Callable[[], bytes]:
    """A function that returns the next chunk of the uncompressed stream, b"" at its end.

    ``read(n)`` returns up to n bytes, b"" at the end. An empty ``media_type`` takes any form.
    The returned function raises StorageError for damaged data and over ``limit_bytes``.
    """
    chunks = _limited(_open(read, media_type), limit_bytes)
    return lambda: next(chunks, b"")


def _open(read: Callable[[int], bytes], media_type: str) -> Iterator[bytes]:
    start = b""
    while len(start) < len(_XZ_MAGIC) and (data := read(_READ)):
        start += data
    form = _recognize(start)
    wanted = _form(media_type)
    if wanted not in ("", form):
        raise StorageError(f"the layer is {form} although its media type is {media_type}")
    source = _Replayed(start, read)
    yield from {"gzip": _gzip, "zstd": _zstd, "plain": _plain, "xz": _xz, "bzip2": _bzip2}[form](source)


def is_compressed(start: bytes) -> bool:
    """Whether a file that begins with ``start`` (6 bytes or more) is compressed."""
    return _recognize(start) != "plain"


def _recognize(start: bytes) -> str:
    if start.startswith(_ZSTD_MAGIC) or _is_skippable(start):
        return "zstd"
    for form, magic in (("gzip", _GZIP_MAGIC), ("xz", _XZ_MAGIC), ("bzip2", _BZIP2_MAGIC)):
        if start.startswith(magic):
            return form
    return "plain"


def _is_skippable(start: bytes) -> bool:
    """A zstd skippable frame (RFC 8878, 3.1.2), with which estargz-like layers begin."""
    return start[1:4] == b"\x2a\x4d\x18" and start[0] & 0xF0 == 0x50


def _form(media_type: str) -> str:
    """The compression that a media type names; "" when nothing was said."""
    if not media_type:
        return ""
    if media_type.endswith(("+gzip", ".gzip")):
        return "gzip"
    if media_type.endswith(("+zstd", ".zstd")):
        return "zstd"
    return "plain"


class _Replayed:
    """The bytes that were looked at, then the rest."""

    __slots__ = ("_read", "_start")

    def __init__(self, start: bytes, read: Callable[[int], bytes]) -> None:
        self._start = start
        self._read = read

    def read(self, size: int = _READ) -> bytes:
        if self._start:
            data, self._start = self._start[:size], self._start[size:]
            return data
        return self._read(size)


def _limited(chunks: Iterator[bytes], limit_bytes: int) -> Iterator[bytes]:
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > limit_bytes:
            raise StorageError(f"the layer unpacks to more than {limit_bytes} bytes")
        yield chunk


def _plain(source: _Replayed) -> Iterator[bytes]:
    while data := source.read():
        yield data


def _gzip(source: _Replayed) -> Iterator[bytes]:
    """One member after the other; zeros may follow the last (tapes), nothing else."""
    pending = source.read()
    try:
        while pending.startswith(_GZIP_MAGIC):
            member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
            while not member.eof:
                if member.needs_input and not pending and not (pending := source.read()):
                    raise StorageError("the gzip stream ends in the middle")
                if data := member.decompress(pending, _CHUNK):
                    yield data
                pending = b""
            pending = member.unused_data
            while len(pending) < len(_GZIP_MAGIC) and (more := source.read()):
                pending += more
    except igzip_lib.IsalError as error:  # type: ignore[misc]  # its stub calls the class an instance
        raise StorageError(f"the gzip stream is damaged: {error}") from None
    while pending:
        if pending.strip(b"\0"):
            raise StorageError("something that is not gzip follows the gzip stream")
        pending = source.read()


def _zstd(source: _Replayed) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_MAX_WINDOW)
    reader = decompressor.stream_reader(source, read_size=_READ, read_across_frames=True)  # type: ignore[arg-type]
    try:
        while data := reader.read(_CHUNK):
            yield data
    except zstandard.ZstdError as error:
        raise StorageError(f"the zstd stream is damaged: {error}") from None


def _xz(source: _Replayed) -> Iterator[bytes]:
    return _stdlib(
        source, _XZ_MAGIC, lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MAX_MEMORY), lzma.LZMAError, "xz"
    )


def _bzip2(source: _Replayed) -> Iterator[bytes]:
    return _stdlib(source, _BZIP2_MAGIC, bz2.BZ2Decompressor, OSError, "bzip2")


def _stdlib(
    source: _Replayed,
    magic: bytes,
    make: Callable[[], lzma.LZMADecompressor | bz2.BZ2Decompressor],
    damage: type[Exception],
    name: str,
) -> Iterator[bytes]:
    """One stream after the other, as both programs write them; zeros may follow (xz's padding)."""
    pending = source.read()
    while pending.startswith(magic):
        stream = make()
        while not stream.eof:
            if stream.needs_input and not pending and not (pending := source.read()):
                raise StorageError(f"the {name} stream ends in the middle")
            try:
                data = stream.decompress(pending, _CHUNK)
            except damage as error:
                raise StorageError(f"the {name} stream is damaged: {error}") from None
            pending = b""
            if data:
                yield data
        pending = stream.unused_data
        while len(pending) < len(magic) and (more := source.read()):
            pending += more
    while pending:
        if pending.strip(b"\0"):
            raise StorageError(f"something that is not {name} follows the {name} stream")
        pending = source.read()

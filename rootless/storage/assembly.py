"""A layer's archive, kept so that it comes back byte for byte: everything of it but the files' contents.

``layers/HEX/assembly.zst`` is a zstd stream of records (integers little-endian), in the order of the
archive:

======  ==============================================  ==============================================
``R``   u32 length, bytes                               headers, padding and whatever else is no content
``F``   u32 length of name, u64 size, name              the content of the file ``name`` of the tree
``S``   u32 length of name, u32 count, name,            the pieces of a sparse file that the archive has
        count times (u64 offset, u64 length)
``M``   u32 length of name, u32 number, name            the archive replaced ``name`` here: what it was
                                                        has become ``replaced/number`` beside the tree
======  ==============================================  ==============================================

A name is relative to the tree and leads through no symbolic link. The idea is tar-split's, which
containers/storage and Docker use.
"""

from __future__ import annotations

import os
import stat
import struct

import zstandard

from rootless.kernel import files

NAME = "assembly.zst"
REPLACED = "replaced"
LENGTH = struct.Struct("<I")
FILE = struct.Struct("<IQ")
PAIR = struct.Struct("<II")
PIECE = struct.Struct("<QQ")

_LEVEL = 1  # headers shrink to a twentieth at any level, and this one costs nothing
_FLUSH_BYTES = 1 << 18


class Recorder:
    """Writes the record while a layer is unpacked; ``directory`` is the descriptor of its staging directory."""

    __slots__ = ("_compressor", "_directory", "_fd", "_moved", "_output", "_raw", "_replaced")

    def __init__(self, directory: int) -> None:
        self._directory = directory
        self._fd = os.open(NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL).compressobj()
        self._raw = bytearray()
        self._output = bytearray()
        self._replaced = -1
        self._moved = 0

    def raw(self, data: bytes | memoryview) -> None:
        """Bytes of the archive that are no content of a file."""
        self._raw += data
        if len(self._raw) >= _FLUSH_BYTES:
            self._put(b"")

    def file(self, name: bytes, size: int) -> None:
        """The archive goes on with the ``size`` bytes that the file ``name`` has now."""
        self._put(b"F" + FILE.pack(len(name), size) + name)

    def sparse(self, name: bytes, pieces: list[tuple[int, int]]) -> None:
        """The archive goes on with these (offset, length) of the file ``name``."""
        packed = b"".join(PIECE.pack(*piece) for piece in pieces)
        self._put(b"S" + PAIR.pack(len(name), len(pieces)) + name + packed)

    def keep(self, name: bytes) -> bool:
        """Move what is at ``name`` aside, because its content is of the archive; False for what has none."""
        mode = os.lstat(name).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return False
        if self._replaced < 0:
            os.mkdir(REPLACED, 0o700, dir_fd=self._directory)
            self._replaced = os.open(REPLACED, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._directory)
        os.rename(name, str(self._moved), dst_dir_fd=self._replaced)
        self._put(b"M" + PAIR.pack(len(name), self._moved) + name)
        self._moved += 1
        return True

    def finish(self) -> None:
        """The archive is complete."""
        self._put(b"")
        self._write(self._compressor.compress(bytes(self._output)) + self._compressor.flush())
        os.close(self._fd)
        if self._replaced >= 0:
            os.close(self._replaced)

    def _put(self, record: bytes) -> None:
        if self._raw:
            self._output += b"R" + LENGTH.pack(len(self._raw)) + self._raw
            self._raw.clear()
        self._output += record
        if len(self._output) >= _FLUSH_BYTES:
            self._write(self._compressor.compress(bytes(self._output)))
            self._output.clear()

    def _write(self, data: bytes) -> None:
        files.write_all(self._fd, data)

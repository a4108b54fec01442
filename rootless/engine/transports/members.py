"""The members of a tar archive, found by name, for archives that hold images.

Nothing of a stranger's archive gets a name on the disk: a plain file is read where it is, and
what is compressed or comes as a stream is spooled to one file without a name. Links in the
archive lead to other members, nowhere else.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.errors import ImageError, StorageError, UsageError, os_reason
from rootless.image import manifest
from rootless.storage import inflate
from rootless.storage.extract import clean_name
from rootless.storage.staging import Staging
from rootless.storage.tarheader import FILE, HARDLINK, SYMLINK
from rootless.storage.tarstream import TarStream

if TYPE_CHECKING:
    from rootless.engine.transports.model import Read

_CHUNK = 1 << 20
_MAX_LINKS = 10
_MAX_MEMBERS = 200_000


class Members:
    """An open archive. ``what`` names it in messages."""

    def __init__(self, path: str) -> None:
        """Open ``path``, "" for standard input. Raises UsageError, ImageError, StorageError."""
        self.what = path or "the archive"
        self._files: dict[bytes, tuple[int, int]] = {}
        self._links: dict[bytes, bytes] = {}
        fd = _open(path)
        try:
            self._fd = self._index(fd)
        finally:
            if getattr(self, "_fd", -1) != fd:
                os.close(fd)

    def close(self) -> None:
        """Close the file; a spooled one is gone then."""
        os.close(self._fd)

    def has(self, name: str) -> bool:
        """Whether there is such a file, or a link to one."""
        return self._find(name) is not None

    def size(self, name: str) -> int:
        """The length of a file. Raises ImageError."""
        return self._place(name)[1]

    def open(self, name: str) -> Read:
        """A function that reads a file from its beginning. Raises ImageError if there is none."""
        offset, size = self._place(name)
        end = offset + size

        def read(count: int) -> bytes:
            nonlocal offset
            data = os.pread(self._fd, min(count, end - offset), offset)
            if not data and offset < end:
                raise ImageError(f"{self.what} became shorter while it was read")
            offset += len(data)
            return data

        return read

    def document(self, name: str) -> bytes:
        """A small file's content."""
        size = self.size(name)
        if size > manifest.MAX_BYTES:
            raise ImageError(f"{self.what}: {log.printable(name)} is larger than {manifest.MAX_BYTES >> 20} MiB")
        read = self.open(name)
        parts = []
        while data := read(_CHUNK):
            parts.append(data)
        return b"".join(parts)

    def _place(self, name: str) -> tuple[int, int]:
        place = self._find(name)
        if place is None:
            raise ImageError(f"{self.what}: {log.printable(name)[:200]!r} is missing in the archive")
        return place

    def _find(self, name: str) -> tuple[int, int] | None:
        try:
            key = clean_name(os.fsencode(name))
            for _ in range(_MAX_LINKS):
                if key not in self._links:
                    break
                key = self._links[key]
        except (StorageError, UnicodeEncodeError):
            return None
        return self._files.get(key)

    def _index(self, fd: int) -> int:
        """Read through the archive; returns the descriptor of a file that holds it uncompressed."""
        plain_file = stat.S_ISREG(os.fstat(fd).st_mode) and not inflate.is_compressed(os.pread(fd, 6, 0))
        if plain_file:
            self._scan(TarStream(lambda: os.read(fd, _CHUNK)))
            return fd
        spool = unnamed_file()
        try:
            chunks = inflate.open_stream(lambda size: os.read(fd, size))

            def next_chunk() -> bytes:
                data = chunks()
                view = memoryview(data)
                while view:
                    view = view[os.write(spool, view) :]
                return data

            self._scan(TarStream(next_chunk))
            while next_chunk():
                pass
        except BaseException as error:
            os.close(spool)
            if isinstance(error, OSError):
                raise StorageError(f"{self.what} cannot be read: {os_reason(error)}", "rpod system df") from error
            raise
        return spool

    def _scan(self, archive: TarStream) -> None:
        try:
            for entry in archive:
                if len(self._files) + len(self._links) > _MAX_MEMBERS:
                    raise ImageError(f"{self.what} has too many members")
                if entry.kind not in (FILE, SYMLINK, HARDLINK):
                    continue
                name = clean_name(entry.name)
                if entry.kind == FILE and entry.sparse is None:
                    self._files[name] = (archive.offset, entry.size)
                    self._links.pop(name, None)
                elif entry.kind != FILE:
                    base = name.rpartition(b"/")[0] if entry.kind == SYMLINK else b""
                    self._links[name] = clean_name(base + b"/" + entry.link)
        except StorageError as error:
            raise ImageError(f"{self.what} cannot be read as an image: {error.message}") from error


def _open(path: str) -> int:
    if not path:
        if os.isatty(0):
            raise UsageError("an archive is not read from a terminal", "rpod load --input FILE")
        return os.dup(0)
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise UsageError(f"the archive cannot be read: {os_reason(error)}") from error


def unnamed_file() -> int:
    """A file in the staging area that is gone when it is closed, whatever happens."""
    directory = Staging(paths.data()).directory
    os.makedirs(directory, mode=0o700, exist_ok=True)
    try:
        return os.open(directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
    except OSError:  # a file system that has no such files
        with Staging(paths.data()).make() as staged:
            return os.open(f"{staged.path}/spool", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

"""Directories of blobs: files named by digests, read without following a link and written to appear whole."""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING

from rootless import log
from rootless.errors import ImageError, StorageError, os_reason
from rootless.image import manifest
from rootless.image.manifest import Descriptor
from rootless.kernel import files

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.engine.transports.model import Read, SourceImage

_CHUNK = 1 << 20


class Folder:
    """A directory whose files are read by name; ``what`` names it in messages."""

    def __init__(self, path: str, *, make: bool = False) -> None:
        self.what = path
        try:
            if make:
                os.makedirs(path, exist_ok=True)
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise ImageError(f"the directory cannot be opened: {os_reason(error)}") from error

    def close(self) -> None:
        """Close the directory."""
        os.close(self._fd)

    def has(self, name: str) -> bool:
        """Whether there is a file ``name``."""
        try:
            return stat.S_ISREG(os.stat(name, dir_fd=self._fd, follow_symlinks=False).st_mode)
        except OSError:
            return False

    def open(self, name: str) -> Read:
        """A function that reads a file; it is closed at its end. Raises ImageError."""
        fd = self._open(name)
        file = os.fdopen(fd, "rb", buffering=0)

        def read(size: int) -> bytes:
            if file.closed:
                return b""
            data = file.read(min(size, _CHUNK))
            if not data:
                file.close()
            return data

        return read

    def _open(self, name: str) -> int:
        """A regular file below the directory, reached through no link: it may be a stranger's."""
        from rootless.kernel import syscalls

        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        try:
            fd = syscalls.openat2(self._fd, name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY, resolve)
        except OSError as error:
            raise ImageError(f"{self.what}: {log.printable(name)[:200]} cannot be read: {os_reason(error)}") from error
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ImageError(f"{self.what}: {log.printable(name)[:200]} is no regular file")
        return fd

    def document(self, name: str) -> bytes:
        """A small file's content."""
        read = self.open(name)
        parts: list[bytes] = []
        while data := read(_CHUNK):
            parts.append(data)
            if sum(map(len, parts)) > manifest.MAX_BYTES:
                raise ImageError(
                    f"{self.what}: {log.printable(name)[:200]} is larger than {manifest.MAX_BYTES >> 20} MiB"
                )
        return b"".join(parts)

    def make(self, name: str) -> None:
        """Make a directory with its parents."""
        try:
            os.makedirs(f"{self.what}/{name}", exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.what} cannot be written: {os_reason(error)}") from error

    def write(self, name: str, data: bytes) -> None:
        """Replace a file."""
        try:
            files.write_atomic(f"{self.what}/{name}", data, mode=0o644)
        except OSError as error:
            raise StorageError(f"{self.what} cannot be written: {os_reason(error)}") from error

    def put(self, prefix: str, chunks: Iterator[bytes]) -> tuple[str, int]:
        """Write ``chunks`` as ``prefix`` and the digits of their digest; returns digest and size."""
        hashing = hashlib.sha256()
        size = 0
        temporary = f"{self.what}/{prefix}.{os.getpid()}.tmp"
        try:
            with open(temporary, "xb") as file:
                for data in chunks:
                    hashing.update(data)
                    size += len(data)
                    file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.rename(temporary, f"{self.what}/{prefix}{hashing.hexdigest()}")
        except BaseException as error:
            if os.path.lexists(temporary):
                os.unlink(temporary)
            if isinstance(error, OSError):
                raise StorageError(f"{self.what} cannot be written: {os_reason(error)}") from error
            raise
        return f"sha256:{hashing.hexdigest()}", size

    def put_layers(self, prefix: str, image: SourceImage) -> list[Descriptor]:
        """Write every layer of ``image`` that is not here yet."""
        found = []
        for index, descriptor in enumerate(image.manifest.layers):
            if image.keeps_blobs and self.has(f"{prefix}{descriptor.digest[7:]}"):
                found.append(descriptor)
            else:
                found.append(Descriptor(image.layer_type(index), *self.put(prefix, image.chunks(index))))
        return found

"""Where ``export`` and ``save`` write to: a new file that is there when it is whole, or a stream."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Self

from rootless.errors import StorageError, UsageError, os_reason

if TYPE_CHECKING:
    from types import TracebackType


class TargetFile:
    """``path``, or standard output for "". A regular file appears under its name at the end of the ``with`` block.

    ``hint`` is an example for who forgot to redirect. Raises UsageError for a terminal, StorageError.
    """

    def __init__(self, path: str, hint: str) -> None:
        self._path = path
        self._temporary = ""
        if not path and os.isatty(1):
            raise UsageError("an archive is not written to a terminal", hint)

    def __enter__(self) -> Self:
        try:
            self.fd = self._open()
        except OSError as error:
            error.filename = None  # the temporary name says nothing to anybody
            raise StorageError(f"{self._path} cannot be written: {os_reason(error)}") from error
        return self

    def _open(self) -> int:
        if not self._path:
            return os.dup(1)
        try:
            if not stat.S_ISREG(os.stat(self._path).st_mode):
                return os.open(self._path, os.O_WRONLY)  # /dev/stdout, a FIFO
            self._path = os.path.realpath(self._path)
        except FileNotFoundError:
            pass
        self._temporary = f"{self._path}.{os.getpid()}.tmp"
        return os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.fd)
        if not self._temporary:
            return
        try:
            if kind is None:
                os.rename(self._temporary, self._path)
            else:
                os.unlink(self._temporary)
        except OSError as error:
            raise StorageError(f"{self._path} cannot be written: {os_reason(error)}") from error

    def write(self, data: bytes | memoryview) -> None:
        """Write everything. Raises StorageError: a full disk, a reader that went away."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self.fd, view) :]
        except OSError as error:
            where = self._path or "standard output"
            raise StorageError(f"cannot write to {where}: {os_reason(error)}") from error


def check(option: str, path: str) -> None:
    """Find out before the work that ``note`` can write to ``path``; "" is no file. Raises UsageError."""
    is_stream = os.path.exists(path) and not os.path.isfile(path)
    place = path if is_stream else os.path.dirname(path) or "."
    if path and not os.access(place, os.W_OK):
        raise UsageError(f"{option} {path}: {place} cannot be written to")


def note(path: str, text: str) -> None:
    """Write an id or a digest to the file that ``check`` has looked at; "" is no file. Raises StorageError."""
    if path:
        with TargetFile(path, "") as file:
            file.write(text.encode())

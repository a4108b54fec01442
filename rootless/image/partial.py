"""What arrived of a blob, kept until its layer is stored: an interrupted pull goes on there.

``CACHE/partial/HEX`` (the blob's digest) is written beside the unpacking, without a sync: it
is in the page cache when a process is killed, and when the power goes it may hold anything,
which the digest over the whole finds out. Whoever holds the flock on it is pulling that blob;
a second pull of the same blob keeps nothing.
"""

from __future__ import annotations

import fcntl
import os
import time

from rootless import log, paths
from rootless.errors import RpodError
from rootless.image.reference import check_digest
from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

# Less than this is downloaded again as fast as it is read.
WORTH_BYTES = 256 << 10
_EXPIRES_S = 7 * 24 * 3600
_READ_BYTES = 1 << 20


class Partial:
    """The kept part of one blob. It never makes a pull fail: what cannot be kept is not kept."""

    __slots__ = ("_fd", "_path", "was_there")

    def __init__(self, digest: str, size_bytes: int) -> None:
        self.was_there = False
        self._fd = -1
        self._path = f"{folder()}/{check_digest(digest)[7:]}"
        if size_bytes < WORTH_BYTES:
            return
        try:
            files.make_private(folder())
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.fstat(fd).st_nlink == 0:  # the one who had it has just finished
                    raise BlockingIOError
                if os.fstat(fd).st_size > size_bytes:
                    os.ftruncate(fd, 0)
            except BaseException:
                os.close(fd)
                raise
            self._fd = fd
            self.was_there = os.fstat(fd).st_size > 0
        except (OSError, RpodError) as error:
            log.debug(f"{self._path}: nothing is kept: {error}")

    def kept(self) -> Iterator[bytes]:
        """What is there; afterwards the next bytes are written behind it."""
        while self._fd >= 0 and (data := os.read(self._fd, _READ_BYTES)):
            yield data

    def write(self, data: bytes) -> None:
        """Keep the next bytes."""
        if self._fd < 0:
            return
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:  # a full disk: the room is rather the layer's
            log.debug(f"{self._path}: nothing is kept: {error}")
            self.discard()

    def discard(self) -> None:
        """The layer is stored, or what is kept is wrong."""
        if self._fd >= 0:
            try:
                os.unlink(self._path)
            except OSError as error:
                log.debug(f"{self._path}: {error}")
        self.close()

    def close(self) -> None:
        """Leave what is there to the next pull."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def folder() -> str:
    """Where the parts are."""
    return f"{paths.cache()}/partial"


def sweep() -> None:
    """Remove parts that nobody came back for in a week."""
    try:
        names = os.listdir(folder())
    except OSError:
        return
    for name in names:
        path = f"{folder()}/{name}"
        try:
            if time.time() - os.lstat(path).st_mtime > _EXPIRES_S and not files.Lock.is_held(path):
                os.unlink(path)
        except OSError as error:
            log.debug(f"{path}: {error}")

"""Work in progress: directories that are swept when their maker is gone.

``staging/NAME`` belongs to whoever holds the flock on ``staging/NAME.lock``. The lock file
is made first and removed last, so a directory without a held lock is always garbage.
"""

from __future__ import annotations

import os

from rootless.errors import StorageError, os_reason
from rootless.kernel import files, userns

_LOCK = ".lock"


class Staged:
    """One staging directory. Leaving the ``with`` block removes what is still there."""

    __slots__ = ("_lock", "path")

    def __init__(self, path: str, lock: files.Lock) -> None:
        self.path = path
        self._lock = lock

    @property
    def lock_fd(self) -> int:
        """The lock's descriptor, for a process that goes on working here when this one is gone."""
        return self._lock.fd

    def __enter__(self) -> Staged:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the directory, inside the user namespace if need be, and give the name back. Twice is fine."""
        if self._lock.fd >= 0:
            try:
                _discard(self.path)
            finally:
                self._lock.release()


class Staging:
    """The staging area of a data directory."""

    __slots__ = ("directory",)

    def __init__(self, data_dir: str) -> None:
        self.directory = f"{data_dir}/staging"

    def make(self) -> Staged:
        """A new directory of mode 0700 that is ours until it is closed. Raises StorageError."""
        try:
            files.make_private(self.directory)
            while True:
                staged = _attempt(f"{self.directory}/{os.urandom(8).hex()}")
                if staged is not None:
                    return staged
        except OSError as error:
            raise StorageError(f"cannot make a staging directory: {os_reason(error)}") from error

    def sweep(self) -> None:
        """Remove what killed processes left. One directory listing when there is nothing. Raises StorageError."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:
            return
        except OSError as error:
            raise StorageError(f"the staging area cannot be read: {os_reason(error)}") from error
        for name in {name.removesuffix(_LOCK) for name in names}:
            path = f"{self.directory}/{name}"
            try:
                lock = files.Lock.acquire(path + _LOCK, wait=False)
                if lock is None:
                    continue
                with lock:
                    if _is_current(lock):
                        _discard(path)
            except OSError as error:
                raise StorageError(f"cannot sweep the staging area: {os_reason(error)}") from error


def _attempt(path: str) -> Staged | None:
    """A new directory and its lock; None if a sweeper took the lock's file away between our open and our lock."""
    try:
        lock = files.Lock.acquire(path + _LOCK)
        assert lock is not None
        if _is_current(lock):
            os.mkdir(path, 0o700)
            return Staged(path, lock)
        lock.release()
    except OSError:
        _unlink(path + _LOCK)
        raise
    return None


def _is_current(lock: files.Lock) -> bool:
    """Whether the locked file is still the one at its path."""
    try:
        there = os.lstat(lock.path)
    except FileNotFoundError:
        return False
    ours = os.fstat(lock.fd)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def _discard(path: str) -> None:
    userns.remove_tree_inside(path)
    _unlink(path + _LOCK)


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass

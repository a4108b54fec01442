"""How much room a tree takes, as du(1) counts it: blocks, and an inode with several names once."""

from __future__ import annotations

import errno
import os

from rootless import log
from rootless.errors import StorageError, os_reason
from rootless.kernel import userns

_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own block size is (stat(2))
_GONE = (errno.ENOENT, errno.ENOTDIR)


def tree_size(path: str) -> int:
    """The bytes that ``path`` and everything below it take on the disk; 0 if it is not there.

    A directory that the user cannot read (it belongs to one of the user's subordinate ids) is
    counted inside the user namespace. What disappears meanwhile does not count.
    """
    try:
        return _count(path)
    except PermissionError:
        size = userns.call_inside(lambda: _count(path))
        assert isinstance(size, int)
        return size
    except OSError as error:
        raise StorageError(f"cannot measure {path}: {os_reason(error)}") from error


def _count(path: str) -> int:
    try:
        blocks = os.lstat(path).st_blocks
    except OSError as error:
        if error.errno in _GONE:
            return 0
        raise
    seen: set[tuple[int, int]] = set()
    pending = [path]
    while pending:
        folder = pending.pop()
        try:
            entries = os.scandir(folder)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                log.debug(f"not counted, nested too deeply: {folder[:200]}…")
            elif error.errno not in _GONE:
                raise
            continue
        with entries:
            for entry in entries:
                blocks += _entry(entry, seen, pending)
    return blocks * _BLOCK_BYTES


def _entry(entry: os.DirEntry[str], seen: set[tuple[int, int]], pending: list[str]) -> int:
    """The blocks of one entry; a directory's path goes to ``pending``."""
    try:
        info = entry.stat(follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            log.debug(f"not counted, nested too deeply: {entry.path[:200]}…")
        elif error.errno not in _GONE:
            raise
        return 0
    if entry.is_dir(follow_symlinks=False):
        pending.append(entry.path)
    elif info.st_nlink > 1:
        key = (info.st_dev, info.st_ino)
        if key in seen:
            return 0
        seen.add(key)
    return info.st_blocks

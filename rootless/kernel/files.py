"""Files that survive: atomic replacement, locks that die with their holder, safe removal."""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from rootless.kernel import fastjson

_token = 0
_DEEPEST = 100


def _temporary_name(path: str) -> str:
    global _token
    _token += 1
    return f"{path}.{os.getpid()}.{_token}.tmp"


def write_all(fd: int, data: bytes | memoryview, path: str | None = None) -> None:
    """Write everything: a disk that is nearly full takes a part. ``path`` is for the error's words."""
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except OSError as error:
        error.filename = path
        raise


def write_atomic(path: str, data: bytes, *, mode: int = 0o600, sync: bool = True) -> None:
    """Replace ``path`` by ``data``: readers see the old or the new content, never a part.

    With ``sync`` the new content is on the disk before the old one is gone.
    """
    temporary = _temporary_name(path)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        try:
            write_all(fd, data, path)
            if sync:
                os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass  # why it could not be replaced says more
        raise
    if sync:
        sync_directory(os.path.dirname(path))


def write_plain(path: str, text: str) -> None:
    """Write to an existing file in one call, as the kernel's own files want it."""
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    finally:
        os.close(fd)


def sync_directory(path: str) -> None:
    """Put the names in a directory on the disk."""
    fd = os.open(path or ".", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def read_file(path: str, limit_bytes: int = 64 << 20, *, own: bool = False) -> bytes:
    """A regular file's content. OSError(EFBIG) over the limit, OSError(EINVAL) for a FIFO or device.

    ``own``: PermissionError for a file that is another user's, or that others may write.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if own and (info.st_uid != os.geteuid() or info.st_mode & 0o022):
            raise PermissionError(errno.EPERM, "others may write this file", path)
        parts: list[bytes] = []
        total = 0
        while chunk := os.read(fd, max(65536, info.st_size + 1)):
            parts.append(chunk)
            total += len(chunk)
            if total > limit_bytes:
                raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
        return b"".join(parts)
    finally:
        os.close(fd)


def read_json(path: str, *, own: bool = False) -> object:
    """A file's JSON value. Raises OSError or fastjson.JSONError; ``own`` as for ``read_file``."""
    return fastjson.loads(read_file(path, own=own))


def write_json(path: str, value: object, *, sync: bool = True) -> None:
    """Replace ``path`` by the JSON text of ``value``, atomically."""
    write_atomic(path, fastjson.dumps(value).encode(), sync=sync)


def make_private(path: str) -> None:
    """Make a directory 0700 with its parents; an existing one must be ours and no link, and is closed to others."""
    try:
        info = os.lstat(path)  # first: mkdir(2) waits for whoever changes the parent, also to say that all is there
    except FileNotFoundError:
        _make_directories(path)
        info = os.lstat(path)
    if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "not a directory of this user", path)
    if info.st_mode & 0o077:
        os.chmod(path, 0o700)


def _make_directories(path: str) -> None:
    """Make a directory with its parents, all 0700 as the XDG specification has it; os.makedirs does not do parents."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except FileNotFoundError:
        if os.path.islink(path.rstrip("/")) or path in ("", "/"):
            raise
        _make_directories(os.path.dirname(path.rstrip("/")))
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            pass  # somebody else was faster


class Lock:
    """An flock(2) on a file: held until ``release``, or until every process that shares it is gone."""

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def acquire(cls, path: str, *, shared: bool = False, wait: bool = True, create: bool = True) -> Lock | None:
        """Take the lock at ``path``; None if it is held and ``wait`` is false. The file is made if ``create``."""
        operation = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
        make = os.O_CREAT if create else 0
        fd = os.open(path, os.O_RDWR | make | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, operation)
        except BlockingIOError:
            os.close(fd)
            return None
        except BaseException:
            os.close(fd)
            raise
        return cls(path, fd)

    @staticmethod
    def is_held(path: str) -> bool:
        """Whether somebody holds the lock exclusively. Makes nothing."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def release(self) -> None:
        """Give the lock up (this process's descriptor; a child that inherited it still holds it)."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Lock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def remove_tree(path: str) -> None:
    """Remove ``path`` and everything under it, never following a link; a missing path is fine.

    Directories without permission bits (overlay's work/work) are opened up first. Raises
    OSError (EPERM, EACCES) at the first entry that belongs to another user id: that tree
    must be removed inside the user namespace.
    """
    parent, name = os.path.split(path)
    try:
        parent_fd = os.open(parent or ".", os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return
    try:
        _remove_at(parent_fd, name)
    finally:
        os.close(parent_fd)


def _remove_at(parent_fd: int, name: str, root_fd: int = -1, depth: int = 0) -> None:
    """Remove an entry, also when somebody else removes the same tree meanwhile."""
    try:
        _remove_entry(parent_fd, name, root_fd, depth)
    except FileNotFoundError:
        pass


def _remove_entry(parent_fd: int, name: str, root_fd: int, depth: int) -> None:
    """Remove an entry. What lies too deep for the stack is moved up to the tree's root and removed from there."""
    try:
        os.unlink(name, dir_fd=parent_fd)
        return
    except (IsADirectoryError, PermissionError):
        if not stat.S_ISDIR(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode):
            raise
    try:
        os.rmdir(name, dir_fd=parent_fd)
        return
    except OSError as error:
        if error.errno != errno.ENOTEMPTY:
            raise
    if depth == _DEEPEST:
        os.rename(name, _temporary_name("deep"), src_dir_fd=parent_fd, dst_dir_fd=root_fd)
        return
    fd = _open_for_removal(parent_fd, name)
    try:
        while entries := os.listdir(fd):
            for entry in entries:
                _remove_at(fd, entry, fd if depth == 0 else root_fd, depth + 1)
            if depth:
                break
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=parent_fd)


def _open_for_removal(parent_fd: int, name: str) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        fd = os.open(name, flags, dir_fd=parent_fd)
    except PermissionError:
        os.chmod(name, 0o700, dir_fd=parent_fd)
        return os.open(name, flags, dir_fd=parent_fd)
    if not os.fstat(fd).st_mode & stat.S_IWUSR:
        os.fchmod(fd, 0o700)
    return fd

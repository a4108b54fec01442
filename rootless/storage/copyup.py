"""Copy one directory's content into another, both given by descriptors: no path, no link followed.

Serves new volumes and tmpfs that are filled from the image. Runs as root of a user
namespace that maps the ids of both sides.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from rootless.errors import StorageError, os_reason
from rootless.kernel import syscalls
from rootless.storage import depth as depths

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = _READ | os.O_DIRECTORY
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_CHUNK = 1 << 20
# Why copy_file_range(2) does not copy, although reading and writing would: other file systems, or of that kind.
_NO_SHARING = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
# What a driver wrote about itself, what the host's security module wrote, what only the host may write.
DRIVER_XATTRS = ("user.overlay.", "user.fuseoverlayfs.", "trusted.", "security.selinux")


def copy_up(source_fd: int, target_fd: int) -> None:
    """Fill the empty directory ``target_fd`` from ``source_fd``: ids, modes, times, xattrs, hard links.

    A target with content stays as it is. The directory's own owner, mode and times are
    copied, too. Raises StorageError naming the entry.
    """
    # Two containers that start with one new volume: the second finds it filled.
    fcntl.flock(target_fd, fcntl.LOCK_EX)
    try:
        if not os.listdir(target_fd):
            _Copier(source_fd, target_fd).run()
    finally:
        fcntl.flock(target_fd, fcntl.LOCK_UN)


class _Copier:
    __slots__ = ("_links", "_source", "_target")

    def __init__(self, source_fd: int, target_fd: int) -> None:
        self._source = source_fd
        self._target = target_fd
        # (device, inode) of a file with several names -> path of its copy under the target
        self._links: dict[tuple[int, int], str] = {}

    def run(self) -> None:
        self._directory(self._source, self._target, "", 0)

    def _directory(self, source: int, target: int, where: str, depth: int) -> None:
        depths.check(os.fsencode(where), depth)
        for name in os.listdir(source):
            path = f"{where}/{name}" if where else name
            try:
                self._entry(source, target, name, path, depth)
            except OSError as error:
                raise StorageError(f"cannot copy {path}: {os_reason(error)}") from error
        copy_attributes(source, target, os.fstat(source))

    def _entry(self, source: int, target: int, name: str, path: str, depth: int) -> None:
        info = os.stat(name, dir_fd=source, follow_symlinks=False)
        kind = stat.S_IFMT(info.st_mode)
        if kind == stat.S_IFDIR:
            self._subdirectory(source, target, name, path, depth)
        elif kind == stat.S_IFREG:
            self._file(source, target, name, path, info)
        elif kind == stat.S_IFLNK:
            os.symlink(os.readlink(name, dir_fd=source), name, dir_fd=target)
            os.chown(name, info.st_uid, info.st_gid, dir_fd=target, follow_symlinks=False)
            os.utime(name, ns=(info.st_atime_ns, info.st_mtime_ns), dir_fd=target, follow_symlinks=False)
        elif kind == stat.S_IFIFO:
            os.mkfifo(name, 0o600, dir_fd=target)
            with _Opened(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, target) as fifo:
                os.fchown(fifo, info.st_uid, info.st_gid)
                os.fchmod(fifo, stat.S_IMODE(info.st_mode))
        # Sockets belong to a running program, and devices cannot be made without root: neither is copied.

    def _subdirectory(self, source: int, target: int, name: str, path: str, depth: int) -> None:
        os.mkdir(name, 0o700, dir_fd=target)
        with _Opened(name, _DIRECTORY, source) as inner_source, _Opened(name, _DIRECTORY, target) as inner_target:
            self._directory(inner_source, inner_target, path, depth + 1)

    def _file(self, source: int, target: int, name: str, path: str, info: os.stat_result) -> None:
        key = (info.st_dev, info.st_ino)
        if key in self._links:
            self._link(self._links[key], target, name)
            return
        with _Opened(name, _READ | os.O_NONBLOCK, source) as reader, _Opened(name, _CREATE, target) as writer:
            _copy_content(reader, writer, info.st_size)
            copy_attributes(reader, writer, info)
        if info.st_nlink > 1:
            self._links[key] = path

    def _link(self, first: str, target: int, name: str) -> None:
        """Another name for the copy at ``first``. Whoever has the volume already may have put links in the way."""
        folder, _, base = first.rpartition("/")
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
        parent = syscalls.openat2(self._target, folder or ".", _DIRECTORY, resolve)
        try:
            os.link(base, name, src_dir_fd=parent, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(parent)


class _Opened:
    """``with _Opened(name, flags, directory) as fd``: closed at the end."""

    __slots__ = ("_fd",)

    def __init__(self, name: str, flags: int, directory: int) -> None:
        self._fd = os.open(name, flags, 0o600, dir_fd=directory)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def _copy_content(reader: int, writer: int, size: int) -> None:
    """Holes stay holes, and where the file system shares blocks between files, nothing is copied at all."""
    position = 0
    while position < size:
        try:
            start = os.lseek(reader, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break  # only a hole is left
        position = os.lseek(reader, start, os.SEEK_HOLE)
        _copy_piece(reader, writer, start, position)
    os.ftruncate(writer, size)


def _copy_piece(reader: int, writer: int, start: int, end: int) -> None:
    while start < end:
        try:
            copied = os.copy_file_range(reader, writer, end - start, start, start)
        except OSError as error:
            if error.errno not in _NO_SHARING:
                raise
            os.lseek(writer, start, os.SEEK_SET)
            copied = os.sendfile(writer, reader, start, min(end - start, _CHUNK))
        if not copied:
            return  # it was cut short meanwhile
        start += copied


def copy_attributes(source: int, target: int, info: os.stat_result) -> None:
    """Owner, then mode (chown clears set-id bits), then xattrs (chown clears capabilities), then times."""
    os.fchown(target, info.st_uid, info.st_gid)
    os.fchmod(target, stat.S_IMODE(info.st_mode))
    for name in os.listxattr(source):
        if not name.startswith(DRIVER_XATTRS):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM, errno.ENODATA):
                    raise  # tmpfs, for one, has no user.* attributes before Linux 6.6
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns))

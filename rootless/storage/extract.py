"""Unpack a tar archive into the current directory, which the caller made the process's root.

The kernel keeps every path inside (chroot): a link in the archive can lead to any place of
the tree and to none outside. What is created is created with O_EXCL and O_NOFOLLOW, and its
attributes go through its descriptor. No module is imported from here on: the tree may hold
one of the same name.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import DiskFullError, StorageError, os_reason
from rootless.kernel import files
from rootless.storage.copyup import DRIVER_XATTRS
from rootless.storage.tarheader import BLOCKDEV, CHARACTER, DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK, Entry, shown
from rootless.storage.whiteouts import PREFIX, Whiteouts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.storage.assembly import Recorder
    from rootless.storage.tarstream import TarStream

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_XATTRS = ("user.", "security.capability", "system.posix_acl_")
_FAR = 4096 - 257  # PATH_MAX without a name of NAME_MAX bytes and its slash
_HINT_RANGES = "give this user more subordinate ids: rpod doctor subordinate-ids"


class Rules:
    """How to unpack.

    ``layer``: names that begin with ``.wh.`` delete something of the layers below; with
    ``base`` there are none. ``owner`` is who gets everything, None for the ids of the archive.
    ``single_id``: only id 0 exists here, everything becomes its own. ``keep_directories``:
    owner and mode of a directory that was there before stay. Without ``overwrite`` a directory
    is not replaced by something else nor the reverse. ``rename``: what is called or lies in the
    first name (b"": everything) gets the second instead.
    """

    __slots__ = ("base", "keep_directories", "layer", "overwrite", "owner", "rename", "single_id")

    def __init__(
        self,
        *,
        layer: bool = False,
        base: bool = False,
        owner: tuple[int, int] | None = None,
        single_id: bool = False,
        keep_directories: bool = False,
        overwrite: bool = True,
        rename: tuple[bytes, bytes] | None = None,
    ) -> None:
        self.layer = layer
        self.base = base
        self.owner = owner
        self.single_id = single_id
        self.keep_directories = keep_directories
        self.overwrite = overwrite
        self.rename = rename


class Extractor:
    """Unpacks one archive. ``notes`` are warnings, ``details`` lines for the debug log, both for the user.

    ``record`` is told where the content of each file went. ``implied`` are the directories of a layer
    with others below it that no entry described.
    """

    def __init__(self, archive: TarStream, rules: Rules, record: Recorder | None = None) -> None:
        self._archive = archive
        self._rules = rules
        self._record = record
        self._whiteouts = Whiteouts(base=rules.base)
        self._parents = {b"": b""}  # paths that are known to lead to a directory, and that without links
        self._far: set[bytes] = set()  # those to which only links lead: without, the path is longer than PATH_MAX
        self._times: dict[bytes, int] = {}
        # Directories that no entry was about: the root, and those that an entry needed.
        self.implied = {b""} if rules.layer and not rules.base else set[bytes]()
        # New files belong to 0:0, unless a directory hands its group down.
        self._inherited_group = not rules.layer
        self._squashed = False
        self._lost_xattrs: dict[str, bytes] = {}
        self._devices = 0
        self._first_device = b""
        self._makers = {
            FILE: self._file,
            DIRECTORY: self._directory,
            SYMLINK: self._symlink,
            HARDLINK: self._hardlink,
            FIFO: self._fifo,
            CHARACTER: self._device,
            BLOCKDEV: self._device,
        }

    def run(self) -> None:
        """Unpack everything. Raises StorageError naming the entry that failed."""
        os.umask(0)
        for entry in self._archive:
            name = self._placed(entry.name)
            try:
                self._unpack(name, entry)
            except OSError as error:
                raise self._explained(name, entry, error) from error
        self._whiteouts.finish()
        for name, mtime_ns in self._times.items():
            try:
                os.utime(name or b".", ns=(mtime_ns, mtime_ns), follow_symlinks=False)
            except FileNotFoundError:
                pass  # a later entry removed it
            except NotADirectoryError:
                pass

    @property
    def notes(self) -> list[str]:
        """What the user should know, one line each."""
        notes = []
        if self._squashed:
            notes.append("without subordinate ids all files of an image belong to you: some programs will not work")
        for name, path in self._lost_xattrs.items():
            notes.append(f"the attribute {name} was lost, first on {shown(path)}: the file system does not take it")
        return notes

    @property
    def details(self) -> list[str]:
        """What only somebody who looks closer wants to know."""
        if not self._devices:
            return []
        return [f"{self._devices} device nodes were left out, the first is {shown(self._first_device)}"]

    def _placed(self, name: bytes) -> bytes:
        """Where an archive's name goes, relative to the root."""
        name = clean_name(name)
        if self._rules.rename is None:
            return name
        old, new = self._rules.rename
        if not old:
            return clean_name(new + b"/" + name)
        if name != old and not name.startswith(old + b"/"):
            return name
        return clean_name(new + name[len(old) :])

    def _explained(self, name: bytes, entry: Entry, error: OSError) -> StorageError:
        if error.errno == errno.EINVAL and self._owner(entry) != (0, 0):
            uid, gid = self._owner(entry)
            return StorageError(f"{shown(name)} belongs to {uid}:{gid}, which is outside of your ids", _HINT_RANGES)
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        kind = DiskFullError if error.errno in (errno.ENOSPC, errno.EDQUOT) else StorageError
        return kind(f"cannot unpack {shown(name)}: {reason}")

    def _unpack(self, name: bytes, entry: Entry) -> None:
        folder, _, base = name.rpartition(b"/")
        if not name and entry.kind != DIRECTORY:
            raise StorageError(f"{shown(entry.name)} cannot be the root directory")
        real = self._parents.get(folder)
        if real is None:
            real = self._make_parent(folder)
        if real != folder:
            folder, name = real, _joined(real, base)
        if self._rules.layer and base.startswith(PREFIX):
            self._whiteouts.apply(folder, base)
        else:
            self._makers[entry.kind](name, entry)

    def _make_parent(self, folder: bytes) -> bytes:
        """The real path of a directory, made if the archive did not name it before its content.

        Links are followed inside the root.
        """
        missing, above = [], folder
        while above not in self._parents and not _is_directory(above):
            missing.append(above)
            above = above.rpartition(b"/")[0]
        for each in reversed(missing):
            os.mkdir(each, 0o755)
            self._imply(each)
        real = self._parents[folder] = self._real(folder)
        return real

    def _imply(self, folder: bytes) -> None:
        if self._rules.layer and not self._rules.base:
            real = self._real(folder)
            if real not in self._far:
                self.implied.add(real)

    def _real(self, folder: bytes) -> bytes:
        """The path of a directory without links, asked from the kernel."""
        if not self._is_far(folder):
            os.chdir(folder)
            real = os.getcwdb()[1:]
            os.chdir(b"/")
            if len(real) < _FAR:
                return real
        self._far.add(folder)
        return folder

    def _clear(self, name: bytes) -> None:
        """Remove what an entry replaces."""
        if not self._rules.overwrite and stat.S_ISDIR(os.lstat(name).st_mode):
            raise StorageError(f"{shown(name)} is a directory and cannot be replaced by something else")
        self._whiteouts.forget(name)
        if self._record is None or not self._record.keep(name):
            try:
                os.unlink(name)
            except (IsADirectoryError, PermissionError):
                files.remove_tree(os.fsdecode(name))
        # A directory may have gone, or a link to one: everything below must be looked at again.
        self._parents = {b"": b""}

    def _file(self, name: bytes, entry: Entry) -> None:
        try:
            fd = os.open(name, _CREATE, entry.mode & 0o777)
        except FileExistsError:
            self._clear(name)
            fd = os.open(name, _CREATE, entry.mode & 0o777)
        try:
            if entry.sparse is not None:
                self._write_sparse(fd, name, entry)
            elif entry.size:
                self._write(fd, name, entry)
            self._describe(fd, name, entry)
            os.utime(fd, ns=(entry.mtime_ns, entry.mtime_ns))
        finally:
            os.close(fd)

    def _write(self, fd: int, name: bytes, entry: Entry) -> None:
        far = self._is_far(name)
        while piece := self._archive.piece():
            files.write_all(fd, piece)
            if far and self._record is not None:
                self._record.raw(piece)
        if self._record is not None and not far:
            self._record.file(name, entry.size)

    def _is_far(self, name: bytes) -> bool:
        return bool(self._far) and name.rpartition(b"/")[0] in self._far

    def _write_sparse(self, fd: int, name: bytes, entry: Entry) -> None:
        """The stored pieces at their offsets; the reader guarantees that they add up to the stored data."""
        piece = memoryview(b"")
        far = self._is_far(name)
        for offset, length in entry.sparse or ():
            os.lseek(fd, offset, os.SEEK_SET)
            left = length
            while left:
                piece = piece or self._archive.piece()
                files.write_all(fd, piece[:left])
                if far and self._record is not None:
                    self._record.raw(piece[:left])
                left, piece = left - min(left, len(piece)), piece[left:]
        os.ftruncate(fd, entry.real_size)
        if self._record is not None and entry.sparse and not far:
            self._record.sparse(name, entry.sparse)

    def _directory(self, name: bytes, entry: Entry) -> None:
        made = bool(name)
        try:
            if name:
                os.mkdir(name, 0o755)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(name).st_mode):
                made = False
            else:
                self._replace_by_directory(name)
        if not self._is_far(name):
            self._parents[name] = name
        self.implied.discard(name)
        if not made and self._rules.keep_directories:
            return
        fd = os.open(name or b".", _DIRECTORY)
        try:
            self._describe(fd, name, entry, made=made)
        finally:
            os.close(fd)
        self._inherited_group = self._inherited_group or bool(entry.mode & stat.S_ISGID)
        self._times[name] = entry.mtime_ns

    def _replace_by_directory(self, name: bytes) -> None:
        deleted_below = self._whiteouts.is_whiteout(name)
        if not self._rules.overwrite:
            raise StorageError(f"{shown(name)} is not a directory and cannot be replaced by one")
        self._clear(name)
        os.mkdir(name, 0o755)
        if deleted_below:
            self._whiteouts.make_opaque(name)

    def _symlink(self, name: bytes, entry: Entry) -> None:
        try:
            os.symlink(entry.link, name)
        except FileExistsError:
            self._clear(name)
            os.symlink(entry.link, name)
        uid, gid = self._owner(entry)
        if uid or gid or self._inherited_group:
            os.chown(name, uid, gid, follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _hardlink(self, name: bytes, entry: Entry) -> None:
        first = self._placed(entry.link)
        try:
            os.link(first, name, follow_symlinks=False)
        except FileExistsError:
            if os.path.samestat(os.lstat(first), os.lstat(name)):
                return
            self._clear(name)
            os.link(first, name, follow_symlinks=False)
        except OSError as error:
            raise StorageError(f"{shown(name)} cannot be linked to {shown(first)}: {os_reason(error)}") from error

    def _fifo(self, name: bytes, entry: Entry) -> None:
        try:
            os.mkfifo(name, entry.mode)
        except FileExistsError:
            self._clear(name)
            os.mkfifo(name, entry.mode)
        os.chown(name, *self._owner(entry), follow_symlinks=False)
        os.utime(name, ns=(entry.mtime_ns, entry.mtime_ns), follow_symlinks=False)

    def _device(self, name: bytes, entry: Entry) -> None:
        """Without root there are no device nodes. 0:0, the overlay's own mark, is not taken from an archive either."""
        del entry
        self._devices += 1
        self._first_device = self._first_device or name

    def _owner(self, entry: Entry) -> tuple[int, int]:
        if self._rules.owner is not None:
            return self._rules.owner
        if self._rules.single_id:
            self._squashed = self._squashed or bool(entry.uid or entry.gid)
            return 0, 0
        return entry.uid, entry.gid

    def _describe(self, fd: int, name: bytes, entry: Entry, *, made: bool = True) -> None:
        """Owner, then mode (chown clears set-id bits), then xattrs (chown clears capabilities)."""
        uid, gid = self._owner(entry)
        if uid or gid or self._inherited_group or not made:
            os.fchown(fd, uid, gid)
        if entry.mode & 0o7000 or entry.kind == DIRECTORY or uid or gid:
            os.fchmod(fd, entry.mode)
        if entry.xattrs:
            self._set_xattrs(fd, name, entry.xattrs)

    def _set_xattrs(self, fd: int, name: bytes, xattrs: dict[str, bytes]) -> None:
        for key, value in xattrs.items():
            if not key.startswith(_XATTRS) or key.startswith(DRIVER_XATTRS):
                continue  # the driver's own, the host's, or nobody's
            try:
                os.setxattr(fd, key, value)
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):
                    raise
                self._lost_xattrs.setdefault(key, name)


def _is_directory(path: bytes) -> bool:
    """Whether there is a directory, perhaps through links. StorageError if it is something else."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(mode):
        raise StorageError(f"{shown(path)} is not a directory, and something is to be unpacked in it")
    return True


def _joined(folder: bytes, base: bytes) -> bytes:
    return folder + b"/" + base if folder else base


def clean_name(name: bytes) -> bytes:
    """A name relative to the root, without ``.``, empty parts and ``..``; b"" is the root itself.

    A leading slash counts for nothing, as in tar. StorageError for a name that climbs out.
    """
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            if not parts:
                raise StorageError(f"{shown(name)} leads out of the archive")
            parts.pop()
        elif part and part != b".":
            parts.append(part)
    return b"/".join(parts)

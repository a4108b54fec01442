"""Whether a layer's tree has the names, kinds, modes and links that its archive gave it.

The archive as it comes back (``storage.archive``) proves the files' content; of an empty file, a directory or a
symbolic link the tree has nothing that could be missed there.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.kernel import syscalls
from rootless.storage.extract import clean_name
from rootless.storage.tarheader import BLOCKDEV, CHARACTER, DIRECTORY, FIFO, FILE, HARDLINK, SYMLINK, Entry, shown
from rootless.storage.whiteouts import PREFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_KINDS = {FILE: stat.S_IFREG, DIRECTORY: stat.S_IFDIR, SYMLINK: stat.S_IFLNK, FIFO: stat.S_IFIFO}
_WORDS = {FILE: "a file", DIRECTORY: "a directory", SYMLINK: "a symbolic link", FIFO: "a FIFO"}
_DEFAULT_ACL = "system.posix_acl_default"
_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
# Where an archive's name leads through a link, another one of its names tells of the place.
_ELSEWHERE = (errno.ELOOP, errno.EXDEV, errno.ENAMETOOLONG)


def expected(entries: Iterable[Entry]) -> dict[bytes, Entry]:
    """The last word of an archive on each name that unpacking it makes."""
    found: dict[bytes, Entry] = {}
    folders: set[bytes] = set()
    for entry in entries:
        name = clean_name(entry.name)
        folder, _, base = name.rpartition(b"/")
        if base.startswith(PREFIX) or entry.kind in (CHARACTER, BLOCKDEV):
            continue  # deletions differ by what the file system can do, and devices are not made
        if entry.kind != DIRECTORY and name in folders:  # it takes the place of a directory
            found = {other: known for other, known in found.items() if not other.startswith(name + b"/")}
        while folder and folder not in folders:
            folders.add(folder)
            folder = folder.rpartition(b"/")[0]
        found[name] = entry
    return found


def first_difference(tree: str, wanted: dict[bytes, Entry]) -> str:
    """What is wrong first in ``tree``, "" where everything is right.

    Call it inside the user namespace: directories of subordinate ids are closed to the user.
    """
    # A default ACL changes the modes of what is unpacked below it.
    modes = not any(entry.xattrs and _DEFAULT_ACL in entry.xattrs for entry in wanted.values())
    root = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name, entry in wanted.items():
            try:
                fd = syscalls.openat2(root, os.fsdecode(name or b"."), os.O_PATH | os.O_NOFOLLOW, _RESOLVE)
            except OSError as error:
                if error.errno in _ELSEWHERE:
                    continue
                return f"{shown(name)}: {os.strerror(error.errno or 0).lower()}"
            try:
                why = _difference(fd, entry, modes=modes)
            finally:
                os.close(fd)
            if why:
                return f"{shown(name)} {why}"
    finally:
        os.close(root)
    return ""


def _difference(fd: int, entry: Entry, *, modes: bool) -> str:
    mode = os.fstat(fd).st_mode
    if entry.kind == HARDLINK:
        return ""  # what it is another name of has an entry of its own
    if stat.S_IFMT(mode) != _KINDS[entry.kind]:
        return f"is not {_WORDS[entry.kind]}"
    if entry.kind == SYMLINK:
        return "" if os.readlink(b"", dir_fd=fd) == entry.link else "leads elsewhere"
    if modes and stat.S_IMODE(mode) != entry.mode & 0o7777:
        return f"has the mode {stat.S_IMODE(mode):o} instead of {entry.mode & 0o7777:o}"
    return ""

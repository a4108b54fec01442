"""``purge`` and ``chown``: what containers left behind under ids that the user cannot reach.

Both work as root of the default user namespace, on a copy of the one mount that the path is on:
no other file system is entered, no link is followed, and nothing above the named path is touched.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from rootless import paths
from rootless.errors import NotFoundError, StorageError, UsageError, os_reason
from rootless.kernel import files, syscalls, userns
from rootless.runtime import chown as trees

_OWNER = re.compile(r"(?P<user>[\w.-]*\$?)(:(?P<group>[\w.-]*))?")
_NOT_OURS = "what belongs to other users of this machine is theirs, or an administrator's"


def purge(path: str) -> None:
    """Remove ``path`` with everything in it. Raises UsageError, NotFoundError, StorageError."""
    full = _checked(path)
    _refuse_above(full, os.path.expanduser("~"), "your home directory")
    userns.call_inside(lambda: _purge(full))


def chown(words: list[str], *, recursive: bool) -> None:
    """``[USER[:GROUP]] PATH…``: give files away, to the user without USER.

    Ids are those of the default map, as containers see them: 0 is the user. All paths are
    checked before the first is changed. Raises UsageError, NotFoundError, StorageError.
    """
    owner = _owner(words[0]) if len(words) > 1 else None
    found = [_checked(path) for path in (words if owner is None else words[1:])]
    if recursive:
        for full in found:
            _refuse_above(full, paths.data(), "rpod's store")
    uid, gid = owner or (0, 0)
    for full in found:
        userns.call_inside(lambda full=full: _chown(full, uid, gid, recursive=recursive))  # type: ignore[misc]


def _checked(path: str) -> str:
    """The path without links on the way to it, of something that belongs to the user's ids and is no part of rpod."""
    if not path:
        raise UsageError("a path is empty")
    head, tail = os.path.split(path.rstrip("/"))
    full = os.path.realpath(path) if tail in ("", ".", "..") else os.path.join(os.path.realpath(head or "."), tail)
    try:
        info = os.lstat(full)
    except OSError as error:
        if error.errno == errno.EACCES:
            # In a directory that is closed to the user: root of the user's namespace finds it, or nobody.
            userns.call_inside(lambda: os.lstat(full).st_mode)
        elif error.errno in (errno.ENOENT, errno.ENOTDIR):
            raise NotFoundError(f"{path}: {os.strerror(errno.ENOENT).lower()}") from None
        else:
            raise StorageError(f"{path}: {os_reason(error)}") from error
    else:
        _demand_ours(path, info.st_uid, info.st_gid)
    data = os.path.realpath(paths.data())
    if f"{full}/".startswith(f"{data}/"):
        raise UsageError(f"{path} is in rpod's store", "rpod rm, rpod rmi and rpod volume rm remove what is there")
    return full


def _demand_ours(path: str, uid: int, gid: int) -> None:
    maps = userns.default_map(userns.read_ranges())
    for number, extents, what in ((uid, maps.uids, "user"), (gid, maps.gids, "group")):
        if not any(extent.outside <= number < extent.outside + extent.size for extent in extents):
            raise StorageError(f"{path} belongs to {what} id {number}, which is not one of yours", _NOT_OURS)


def _refuse_above(full: str, guarded: str, what: str) -> None:
    if f"{os.path.realpath(guarded)}/".startswith(f"{full.rstrip('/')}/"):
        raise UsageError(f"{full} is {what}, or lies above it", "name what is to be mended, further down")


def _owner(word: str) -> tuple[int, int] | None:
    """(uid, gid) in the default map of ``USER[:GROUP]``, -1 for what stays; None if it can only be a path."""
    match = _OWNER.fullmatch(word)
    if match is None or not word.strip(":"):
        return None
    user, group = match["user"], match["group"]
    return _number(user, uids=True), _number(group or "", uids=False) if group is not None else -1


def _number(text: str, *, uids: bool) -> int:
    if not text:
        return -1
    maps = userns.default_map(userns.read_ranges())
    if text == userns.user_name():
        return 0
    size = sum(extent.size for extent in (maps.uids if uids else maps.gids))
    if not (text.isascii() and text.isdecimal()):
        raise UsageError(
            f"{text!r} is neither your own name nor a number",
            "give ids as containers see them (0 is you); a path of that name is ./" + text,
        )
    number = userns.as_id(text)
    if number is None or number >= size:
        raise UsageError(
            f"id {text[:100]} is not mapped: containers of yours have the ids 0 to {size - 1}",
            "rpod doctor subordinate-ids",
        )
    return number


def _open(full: str) -> tuple[int, str, os.stat_result]:
    """(descriptor of the directory above, name, what it is). Since the check no link may have come into the way."""
    head, name = os.path.split(full)
    parent = syscalls.openat2(-1, head or "/", os.O_PATH | os.O_DIRECTORY, syscalls.RESOLVE_NO_SYMLINKS)
    name = name or "."
    return parent, name, os.stat(name, dir_fd=parent, follow_symlinks=False)


def _alone(parent: int, name: str, full: str) -> int:
    """A detached copy of the mount that a directory is on, from there on. StorageError if another one lies below."""
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY, dir_fd=parent)
    try:
        return syscalls.open_tree(fd, "", syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise StorageError(
            f"another file system is mounted below {full}", "unmount it, or name what lies beside it"
        ) from None
    finally:
        os.close(fd)


def _purge(full: str) -> None:
    parent, name, info = _open(full)
    try:
        if stat.S_ISDIR(info.st_mode):
            tree = _alone(parent, name, full)
            for entry in os.listdir(f"/proc/self/fd/{tree}"):
                files.remove_tree(f"/proc/self/fd/{tree}/{entry}")
            os.close(tree)
            os.rmdir(name, dir_fd=parent)
        else:
            os.unlink(name, dir_fd=parent)
    except OSError as error:
        raise StorageError(f"cannot remove all of {full}: {os_reason(error)}", _NOT_OURS) from error


def _chown(full: str, uid: int, gid: int, *, recursive: bool) -> None:
    parent, name, info = _open(full)
    try:
        if recursive and stat.S_ISDIR(info.st_mode):
            tree = _alone(parent, name, full)
            trees.change_tree(tree, uid, gid)
            os.close(tree)
        else:
            os.chown(name, uid, gid, dir_fd=parent, follow_symlinks=False)
    except OSError as error:
        raise StorageError(f"cannot change the owner of all of {full}: {os_reason(error)}", _NOT_OURS) from error

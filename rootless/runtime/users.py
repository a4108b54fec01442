"""USER as the container's own /etc/passwd and /etc/group say it.

These files belong to the image: they are opened inside the container's root, must be
regular files of at most 1 MiB, and lines that make no sense are skipped.
"""

from __future__ import annotations

import os
import stat

from rootless.errors import LaunchError
from rootless.kernel.userns import MAX_ID, as_id
from rootless.spec import CALLERS_GROUPS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.mounts import Root

_LIMIT_BYTES = 1 << 20


class User:
    """Who the program runs as: ids, further groups, and the home directory that passwd names."""

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(self, uid: int, gid: int, groups: list[int], home: str, name: str) -> None:
        self.uid = uid
        self.gid = gid
        self.groups = groups
        self.home = home
        self.name = name


def is_sane(root: Root, path: str) -> bool:
    """Whether ``path`` is a regular file of a size that one may read; nothing else is opened for longer than that."""
    try:
        fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return False
    try:
        info = os.fstat(fd)
        return stat.S_ISREG(info.st_mode) and info.st_size <= _LIMIT_BYTES
    finally:
        os.close(fd)


def read_lines(root: Root, path: str) -> list[list[str]]:
    """The lines of /etc/passwd or /etc/group, split into fields; none of a file that is missing or no such file."""
    try:
        fd = root.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:
        return []
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode) or info.st_size > _LIMIT_BYTES:
            return []
        data = os.read(fd, _LIMIT_BYTES)
    finally:
        os.close(fd)
    # Not splitlines: a line is what it is for the programs inside, whatever else Unicode thinks ends one.
    return [line.split(":") for line in data.decode("utf-8", "surrogateescape").split("\n") if line]


def _passwd_entry(root: Root, user: str) -> list[str] | None:
    """The passwd line of a name or a decimal id. A name that looks like a number means the number."""
    wanted = as_id(user)
    for fields in read_lines(root, "/etc/passwd"):
        if len(fields) < 6 or as_id(fields[2]) is None or as_id(fields[3]) is None:
            continue
        if (wanted is None and fields[0] == user) or (wanted is not None and as_id(fields[2]) == wanted):
            return fields
    return None


def _group_id(root: Root, group: str) -> int:
    number = as_id(group)
    if number is not None:
        return number
    for fields in read_lines(root, "/etc/group"):
        found = as_id(fields[2]) if len(fields) >= 3 else None
        if fields[0] == group and found is not None:
            return found
    raise LaunchError(f"no group {group!r} in the container's /etc/group", "give a number, or another --user")


def _memberships(root: Root, name: str) -> list[int]:
    groups = []
    for fields in read_lines(root, "/etc/group"):
        found = as_id(fields[2]) if len(fields) >= 4 else None
        if found is not None and name in fields[3].split(","):
            groups.append(found)
    return groups


def id_names(root: Root, path: str) -> list[list[str]]:
    """``[id, name]`` pairs of /etc/passwd or /etc/group, for showing."""
    return [
        [fields[2], fields[0]] for fields in read_lines(root, path) if len(fields) >= 3 and as_id(fields[2]) is not None
    ]


def highest_number(user: str, groups: list[str]) -> int:
    """The highest id that ``user[:group]`` and further groups name by number, 0 without one."""
    return max([0, *(as_id(word) or 0 for word in [*user.split(":"), *groups])])


def highest_id(root: Root, path: str, user: str, groups: list[str]) -> int:
    """The highest id in /etc/passwd or /etc/group; that of nobody only where ``user`` or ``groups`` name it."""
    wanted = {*user.split(":"), *groups}
    found = [0]
    for fields in read_lines(root, path):
        if fields[0] in wanted or fields[0] not in ("nobody", "nogroup"):
            found += [as_id(text) or 0 for text in fields[2 : 4 if path.endswith("passwd") else 3]]
    return max(found)


def look_up(root: Root, text: str, extra_groups: list[str]) -> User:
    """``user[:group]``, names or numbers, "" is root. Raises LaunchError for a name that is not there."""
    user, colon, group = text.partition(":")
    user = user or "0"
    entry = _passwd_entry(root, user)
    uid = as_id(user) if entry is None else as_id(entry[2])
    if uid is None:
        if user.lstrip("-").isdecimal():
            raise LaunchError(f"user id {user} is out of range (0 to {MAX_ID})")
        raise LaunchError(f"no user {user!r} in the container's /etc/passwd", "give a number, or another --user")
    gid = (as_id(entry[3]) if entry else 0) or 0
    name = entry[0] if entry else ""
    groups: list[int] = []
    if colon and group:
        gid = _group_id(root, group)
    elif name:
        groups = _memberships(root, name)
    groups += [_group_id(root, extra) for extra in extra_groups if extra != CALLERS_GROUPS]
    # The primary group, too: a program that changes it must not lose what the group is denied (CVE-2022-2995).
    groups.append(gid)
    return User(uid, gid, sorted(set(groups)), entry[5] if entry and entry[5].startswith("/") else "/", name)

"""Entries of the container's /etc/passwd and /etc/group for users that its image does not know.

The files are the image's: they are opened inside the root, must be regular files, and are left
alone where they are missing. What is there already by name or id stays as it is.
"""

from __future__ import annotations

import os

from rootless.errors import LaunchError, os_reason
from rootless.runtime import users
from rootless.runtime.plan import Account

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.mounts import Root
    from rootless.runtime.plan import AccountsPlan


def complete(root: Root, plan: AccountsPlan, user: users.User, workdir: str) -> users.User:
    """Add the accounts of ``plan``, and one for ``user`` if its id has none; the user with its name and home.

    Raises LaunchError.
    """
    for account in plan.wanted:
        _add_account(root, plan, account)
    if user.name:
        return user
    own = next((account for account in plan.wanted if account.uid == user.uid), None)
    if own is None:
        home = user.home
        own = Account(str(user.uid), user.uid, user.gid, "container user", workdir, group=str(user.gid))
        _add_account(root, plan, own)
    else:
        home = own.home
    return users.User(user.uid, user.gid, user.groups, home, own.name)


def _add_account(root: Root, plan: AccountsPlan, account: Account) -> None:
    values = {
        "USERNAME": account.name,
        "GROUPNAME": account.group,
        "USERLIST": account.name,
        "UID": str(account.uid),
        "GID": str(account.gid),
        "NAME": account.full_name,
        "HOME": account.home,
    }
    if not _has(root, "/etc/passwd", account.name, account.uid):
        template = plan.passwd_entry or "$USERNAME:*:$UID:$GID:$NAME:$HOME:/bin/sh"
        _append(root, "/etc/passwd", _filled(template, values))
    if not _has(root, "/etc/group", account.group, account.gid):
        _append(root, "/etc/group", _filled(plan.group_entry or "$GROUPNAME:x:$GID:$USERLIST", values))


def _has(root: Root, path: str, name: str, number: int) -> bool:
    return any(fields[0] == name or fields[2:3] == [str(number)] for fields in users.read_lines(root, path))


def _filled(template: str, values: dict[str, str]) -> str:
    """The template with ``$NAME`` and the like replaced, the longest names first."""
    for key in sorted(values, key=len, reverse=True):
        template = template.replace(f"${key}", values[key])
    return template


def _append(root: Root, path: str, line: str) -> None:
    if not users.is_sane(root, path):
        return  # an image without accounts needs none, and a trap is left alone
    try:
        fd = root.open(path, os.O_RDWR | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise LaunchError(f"{path} of the container: {os_reason(error)}", "--passwd=false leaves it alone") from error
    try:
        size = os.fstat(fd).st_size
        ended = size == 0 or os.pread(fd, 1, size - 1) == b"\n"
        os.write(fd, f"{'' if ended else chr(10)}{line}\n".encode("utf-8", "surrogateescape"))
    finally:
        os.close(fd)

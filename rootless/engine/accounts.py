"""Which accounts a container gets besides its image's: ``--hostuser``, ``keep-id``, ``--passwd-entry``."""

from __future__ import annotations

import grp
import os
import pwd

from rootless.errors import UsageError
from rootless.kernel import userns
from rootless.runtime import idmaps
from rootless.runtime.plan import Account, AccountsPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.options import ContainerOptions
    from rootless.spec import Spec
    from rootless.state.record import ContainerRecord

_OPTIONS = ("passwd_entry", "group_entry")


def check(options: ContainerOptions) -> dict[str, object]:
    """What the options say, as the record keeps it; {} for the defaults. Raises UsageError."""
    for name in options.hostuser:
        _host_user(name)
    for name in _OPTIONS:
        if any(character in getattr(options, name) for character in "\n\0"):
            raise UsageError(f"--{name.replace('_', '-')}: an entry is one line")
    kept: dict[str, object] = {name: getattr(options, name) for name in _OPTIONS if getattr(options, name)}
    if options.hostuser:
        kept["hostuser"] = options.hostuser
    if not options.passwd:
        kept["off"] = True
    return kept


def plan(record: ContainerRecord, spec: Spec) -> AccountsPlan | None:
    """The accounts to be added at a start; None where the files are to be left alone."""
    wishes = record.accounts
    if wishes.get("off") or any(mount.destination in ("/etc", "/etc/passwd", "/etc/group") for mount in spec.mounts):
        return None
    result = AccountsPlan()
    result.passwd_entry = str(wishes.get("passwd_entry", ""))
    result.group_entry = str(wishes.get("group_entry", ""))
    names = wishes.get("hostuser", [])
    assert isinstance(names, list)
    targets = {mount.destination for mount in spec.mounts}
    for name in names:
        found = _host_user(str(name))
        result.wanted.append(_account(found, found.pw_uid, found.pw_gid, targets, spec.process.cwd))
    if record.userns.startswith("keep-id"):
        _, options = idmaps.parse_mode(record.userns)
        uid, gid = int(options.get("uid", os.geteuid())), int(options.get("gid", os.getegid()))
        try:
            own = pwd.getpwuid(os.geteuid())
        except KeyError:
            return result  # an id without a name on the host, too
        result.wanted.append(_account(own, uid, gid, targets, spec.process.cwd))
    return result


def _host_user(name: str) -> pwd.struct_passwd:
    number = userns.as_id(name)
    try:
        return pwd.getpwnam(name) if number is None else pwd.getpwuid(number)
    except (KeyError, ValueError):  # ValueError: a NUL in the name
        raise UsageError(f"--hostuser {name[:100]}: there is no such user on this machine", "getent passwd") from None


def _account(entry: pwd.struct_passwd, uid: int, gid: int, targets: set[str], workdir: str) -> Account:
    """The home directory is the host's where it, or a directory above it, is mounted; else the working directory."""
    home, above = workdir, entry.pw_dir
    while above not in ("/", ""):
        if above in targets:
            home = entry.pw_dir
            break
        above = os.path.dirname(above)
    try:
        group = grp.getgrgid(entry.pw_gid).gr_name
    except KeyError:
        group = str(gid)
    return Account(entry.pw_name, uid, gid, entry.pw_gecos.split(",")[0], home, group)

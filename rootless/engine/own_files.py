"""``--map-user``: a container that mounts the caller's own files runs its USER as the caller.

An image's USER other than root is a subordinate id under the default map: it could not write to
the user's directories, and what it wrote elsewhere would not be the user's. Where nothing was
said about ids, such a container is made as with ``--userns keep-id:uid=,gid=`` of its user.
"""

from __future__ import annotations

import os

from rootless import config
from rootless.engine import image_accounts, once
from rootless.errors import RpodError, UsageError
from rootless.kernel import spawn, userns
from rootless.runtime import idmaps, users
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.mounts import Wanted
    from rootless.engine.options import ContainerOptions
    from rootless.kernel.userns import IdMap
    from rootless.runtime.mounts import Root
    from rootless.state.record import ContainerRecord

_SAID = "map-user-said"


def wanted(options: ContainerOptions, record: ContainerRecord, mounts: list[Wanted]) -> bool:
    """Whether the container's USER is to be the caller outside.

    So it is where that USER is not root, a file or directory of the caller's is mounted, and no option says which
    ids the container has. Raises UsageError for --map-user beside such an option.
    """
    if options.map_user and (options.userns or options.uidmap or options.gidmap):
        raise UsageError("--map-user does not go together with --userns, --uidmap and --gidmap, which say it all")
    allowed = config.load().containers.map_user if options.map_user is None else options.map_user
    root = record.user.partition(":")[0] in ("", "0", "root")
    said = options.userns or options.subuidname or options.uidmap or options.gidmap or record.uid_map or record.join
    if not allowed or root or said or not idmaps.is_default(record.userns):
        return False
    return any(mount.type == "bind" and not mount.chown and _is_ours(mount.source) for mount in mounts)


def _is_ours(path: str) -> bool:
    try:
        return os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False


def map_user(record: ContainerRecord) -> IdMap | None:
    """The map of the container ``record``, whose ``userns`` then says it; None where it cannot be had."""
    text, groups = record.user, record.groups

    def look_up(root: Root) -> object:
        user = users.look_up(root, text, groups)
        return [user.uid, user.gid]

    if spawn.which(drivers.FUSE) is None:
        return None
    try:
        found = image_accounts.ask(record.layers, look_up)
        assert isinstance(found, list)
        uid, gid = map(int, found)
        mode = f"keep-id:uid={uid},gid={gid}"
        maps = idmaps.choose(mode, [], [], userns.read_ranges()) if uid else None
    except RpodError:
        return None  # no such user, or too few subordinate ids: the start says what is wrong, if anything is
    if maps is not None:
        record.userns = mode
        once.warn(
            _SAID,
            f"the container's user {text} is you, so that your files stay yours (--userns {mode}); "
            "--map-user=false, or map_user = false in containers.toml, turns this off",
        )
    return maps

"""Which ids a new container has: its user namespace, and the driver that can show the image in it."""

from __future__ import annotations

import os

from rootless import config, log
from rootless.errors import UsageError
from rootless.kernel import files, userns
from rootless.runtime import idmaps
from rootless.spec import CALLERS_GROUPS, KEEP_GROUPS
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.mounts import Wanted
    from rootless.engine.options import ContainerOptions
    from rootless.state.containers import Containers
    from rootless.state.record import ContainerRecord


class _NoLock:
    def __enter__(self) -> None:
        """Nothing to wait for."""

    def __exit__(self, *_: object) -> None:
        """Nothing to give back."""


def lock(options: ContainerOptions, store: Containers) -> files.Lock | _NoLock:
    """What a container with ids of its own holds from their choice until its record is written."""
    if _mode(options).partition(":")[0] != "auto":
        return _NoLock()
    from rootless.engine import autoids

    return autoids.lock(store)


def _mode(options: ContainerOptions) -> str:
    return options.userns or config.load().containers.userns


def decide(options: ContainerOptions, record: ContainerRecord, store: Containers) -> None:
    """Set user namespace, id maps, user, driver and joined namespaces of ``record``. Raises UsageError, LaunchError."""
    mode, arguments = idmaps.parse_mode(record.userns)
    if options.hostuser or options.passwd_entry or options.group_entry or not options.passwd:
        from rootless.engine import accounts

        record.accounts = accounts.check(options)
    if CALLERS_GROUPS in record.groups:
        if len(record.groups) > 1:
            raise UsageError("--group-add keep-groups does not go together with another --group-add")
        record.annotations[KEEP_GROUPS] = "1"
    if mode == "container":
        record.join["user"] = store.resolve(arguments["target"]).id
    else:
        maps = _map(mode, arguments, options, record, store)
        if maps is not None:
            _keep(record, maps)
        if mode == "keep-id" and not options.user:
            record.user = f"{arguments.get('uid', os.geteuid())}:{arguments.get('gid', os.getegid())}"
    _joins(options, record, store)
    wanted = config.load().storage.driver
    if record.uid_map:
        if wanted == drivers.OVERLAY:
            log.info("the ids of this container are shifted, which needs fuse-overlayfs")
        record.driver = drivers.FUSE
    else:
        files.make_private(store.data_dir)
        record.driver = drivers.choose(wanted, store.data_dir)


def _map(
    mode: str, arguments: dict[str, str], options: ContainerOptions, record: ContainerRecord, store: Containers
) -> userns.IdMap | None:
    """The map to be kept in the record; None is the default one, made anew at each start."""
    ranges = userns.read_ranges()
    if mode == "ns":
        if options.uidmap or options.gidmap:
            raise UsageError("--uidmap and --gidmap do not go together with --userns ns:PATH")
        found = map_of(arguments["target"])
        default = userns.default_map(ranges)
        return None if (found.uids, found.gids) == (default.uids, default.gids) else found
    if options.subuidname or options.subgidname:
        return _named(options, ranges)
    maps = idmaps.choose(record.userns, options.uidmap, options.gidmap, ranges)
    if maps is None and mode == "auto":
        from rootless.engine import autoids

        return autoids.choose(record, store, ranges)
    return maps


def _named(options: ContainerOptions, ranges: userns.Ranges) -> userns.IdMap:
    """``--subuidname``, ``--subgidname``: the ranges under a name, from 0 on; one name stands for both."""
    if options.userns or options.uidmap or options.gidmap:
        raise UsageError("--subuidname and --subgidname do not go together with --userns, --uidmap and --gidmap")
    uid_name, gid_name = options.subuidname or options.subgidname, options.subgidname or options.subuidname
    named = userns.ranges_of(uid_name, gid_name)
    for name, found, own, path in (
        (uid_name, named.uids, ranges.uids, "/etc/subuid"),
        (gid_name, named.gids, ranges.gids, "/etc/subgid"),
    ):
        if not found:
            raise UsageError(f"there are no ids of {name!r} in {path}", f"grep . {path}")
        if not set(found) <= set(own):
            raise UsageError(f"the ids of {name!r} in {path} are not yours: newuidmap would refuse them")
    return userns.IdMap(idmaps.flatten(named.uids), idmaps.flatten(named.gids))


def keep_own_files(options: ContainerOptions, record: ContainerRecord, mounts: list[Wanted]) -> None:
    """Where the user's own files are mounted for a program that is not root: that program is the user."""
    from rootless.engine import own_files

    maps = own_files.map_user(record) if own_files.wanted(options, record, mounts) else None
    if maps is not None:
        _keep(record, maps)
        record.driver = drivers.FUSE


def _keep(record: ContainerRecord, maps: userns.IdMap) -> None:
    record.uid_map = [[e.inside, e.outside, e.size] for e in maps.uids]
    record.gid_map = [[e.inside, e.outside, e.size] for e in maps.gids]


def map_of(path: str) -> userns.IdMap:
    """The id map of the user namespace at ``path``. UsageError if it is none that this user may join."""
    from rootless.kernel import nested

    try:
        return nested.map_of(path)
    except OSError as error:
        raise UsageError(
            f"--userns ns:{path}: {os.strerror(error.errno or 0).lower()}",
            "a path such as /proc/PID/ns/user, of a namespace that is not your own one but was made by you",
        ) from error


def _joins(options: ContainerOptions, record: ContainerRecord, store: Containers) -> None:
    """Namespaces of other containers.

    Joining any means joining its user namespace, too: only there has this user the right to enter the others.
    """
    for kind, text in options.namespaces(record.network):
        if not text.startswith("container:"):
            continue
        other = store.resolve(text.removeprefix("container:"))
        record.join[kind] = other.id
        if record.uid_map or record.join.get("user", other.id) != other.id:
            raise UsageError(f"--{kind} {text} means sharing that container's user namespace, --userns says otherwise")
        record.join["user"] = other.id
        if kind == "network":
            record.network = f"container:{other.id}"
    if "user" in record.join:
        owner = store.resolve(record.join["user"]).record
        record.uid_map, record.gid_map = owner.uid_map, owner.gid_map

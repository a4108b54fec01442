"""``--userns auto`` for a new container: what its image needs, and what the others have."""

from __future__ import annotations

from rootless.engine import image_accounts
from rootless.kernel import files, userns
from rootless.kernel.userns import Extent, IdMap
from rootless.runtime import autoids, idmaps, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.mounts import Root
    from rootless.state.containers import Containers
    from rootless.state.record import ContainerRecord


def lock(store: Containers) -> files.Lock:
    """Held from the choice of ids until the record that tells of them is written."""
    files.make_private(store.data_dir)
    taken = files.Lock.acquire(f"{store.data_dir}/userns-auto.lock")
    assert taken is not None
    return taken


def choose(record: ContainerRecord, store: Containers, ranges: userns.Ranges) -> IdMap:
    """The map of the new container ``record``. Raises LaunchError, UsageError."""
    _, options = idmaps.parse_mode(record.userns)
    needed = 0 if "size" in options else _needed(record)
    return autoids.choose(options, needed, ranges, _taken(store))


def _taken(store: Containers) -> list[IdMap]:
    """The ids that containers hold for themselves; the default map, keep-id and nomap share all of them."""
    return [
        IdMap([Extent(*line) for line in other.record.uid_map], [Extent(*line) for line in other.record.gid_map])
        for other in store.all()
        if other.record.uid_map and idmaps.parse_mode(other.record.userns)[0] in ("auto", "host")
    ]


def _needed(record: ContainerRecord) -> int:
    """One more than the highest id of the image's passwd and group, and of the container's user."""

    def look(root: Root) -> object:
        return [users.highest_id(root, path, record.user, record.groups) for path in ("/etc/passwd", "/etc/group")]

    found = image_accounts.ask(record.layers, look)
    assert isinstance(found, list)
    return 1 + max([*map(int, found), users.highest_number(record.user, record.groups)])

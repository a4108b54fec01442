"""``system df``: where the space is, in blocks on the disk, as du counts."""

from __future__ import annotations

from rootless import paths
from rootless.engine import volumes
from rootless.state.containers import Containers
from rootless.storage import unused_layers, usage
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore
from rootless.storage.volumes import VolumeStore


class Entry:
    """One object: what it is called, its own bytes on the disk, those that it shares, who uses it."""

    __slots__ = ("created_ns", "id", "name", "shared_bytes", "size_bytes", "status", "users")

    def __init__(self, ident: str, name: str, size_bytes: int, *, shared_bytes: int = 0, users: int = 0) -> None:
        self.id = ident
        self.name = name
        self.size_bytes = size_bytes
        self.shared_bytes = shared_bytes
        self.users = users
        self.created_ns = 0
        self.status = ""


class Group:
    """One line of df: a kind of object."""

    __slots__ = ("entries", "kind", "size_bytes")

    def __init__(self, kind: str, entries: list[Entry], size_bytes: int) -> None:
        self.kind = kind
        self.entries = entries
        self.size_bytes = size_bytes

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.entries)

    @property
    def active(self) -> int:
        """How many are in use."""
        return sum(1 for entry in self.entries if entry.users)

    @property
    def reclaimable_bytes(self) -> int:
        """What removing the unused ones would bring back."""
        return sum(entry.size_bytes for entry in self.entries if not entry.users)


def df() -> list[Group]:
    """Images, containers, volumes, and whatever else lies in the data directory ("Leftovers")."""
    groups = [_images(), _containers(), _volumes()]
    rest = usage.tree_size(paths.data()) - sum(group.size_bytes for group in groups)
    leftovers = [Entry("", "staging, records and directories", max(0, rest), users=1)] if rest > 0 else []
    return [*groups, Group("Records", leftovers, max(0, rest))]


def _images() -> Group:
    store, layers = ImageStore(paths.data()), LayerStore(paths.data())
    sizes = {info.chain_id: usage.tree_size(layers.path(info.chain_id)) for info in layers.all()}
    users: dict[str, int] = {}
    for use in store.containers():
        users[use.image_id] = users.get(use.image_id, 0) + 1
    images = store.all()
    counts: dict[str, int] = {}
    for image in images:
        for chain_id in image.layers:
            counts[chain_id] = counts.get(chain_id, 0) + 1
    entries = []
    for image in images:
        own = sum(sizes.get(c, 0) for c in image.layers if counts[c] == 1)
        shared = sum(sizes.get(c, 0) for c in image.layers if counts[c] > 1)
        names = store.names(image)
        entry = Entry(image.id, names[0] if names else "<none>", own, shared_bytes=shared, users=users.get(image.id, 0))
        entry.created_ns = image.created_ns
        entries.append(entry)
    lost = unused_layers.find(store)
    entries += [Entry(chain_id, "<layer of an unfinished pull>", sizes.get(chain_id, 0)) for chain_id in lost]
    return Group("Images", entries, sum(sizes.values()))


def _containers() -> Group:
    entries = []
    for container in Containers().all():
        state = container.state()
        size = usage.tree_size(container.directory)
        entry = Entry(container.id, container.name, size, users=int(container.is_alive()))
        entry.created_ns, entry.status = container.record.created_ns, state.status
        entries.append(entry)
    return Group("Containers", entries, sum(entry.size_bytes for entry in entries))


def _volumes() -> Group:
    users = volumes.users()
    entries = []
    for volume in VolumeStore(paths.data()).all():
        entry = Entry("", volume.name, usage.tree_size(volume.path), users=len(users.get(volume.name, [])))
        entry.created_ns = volume.created_ns
        entries.append(entry)
    return Group("Local Volumes", entries, sum(entry.size_bytes for entry in entries))

"""What a container mounts besides the runtime's own places: wanted, recorded, and as config.json has it.

``engine.mount_options`` reads the options that ask for it. Sources are checked before
anything is made; targets only inside the container.
"""

from __future__ import annotations

import os

from rootless import paths
from rootless.errors import UsageError
from rootless.spec import Mount
from rootless.state import events
from rootless.state.record import MountRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.record import ContainerRecord
    from rootless.storage.image_record import Image

_FORBIDDEN_TARGETS = ("/", "/proc", "/sys", "/dev")
_TMPFS = "tmpfs"


class Wanted(MountRecord):
    """One mount that is asked for: what the record will say, and what only its making needs.

    ``image`` is the one of a mount of the type image; ``labels`` and ``driver_options`` are for a volume that is
    made for this.
    """

    __slots__ = ("driver_options", "image", "labels")

    def __init__(self, kind: str, destination: str, source: str = "", options: list[str] | None = None) -> None:
        super().__init__(type=kind, destination=check_target(destination), source=source, options=options or [])
        self.image: Image | None = None
        self.labels: dict[str, str] = {}
        self.driver_options: dict[str, str] = {}

    def to_mount(self, record: ContainerRecord, number: int) -> Mount:
        """As config.json has it: the ``number``-th mount of a container."""
        if self.scratch or self.type == "image":
            from rootless.engine import overlays

            return overlays.to_mount(self, record, number)
        if self.source == _TMPFS:
            copy = ["tmpcopyup"] if self.copy and self.type == "volume" else []
            return Mount(self.destination, _TMPFS, _TMPFS, [*self.options, *copy])
        if self.type in ("bind", "volume"):
            recursive = [] if "bind" in self.options else ["rbind"]
            mount = Mount(self.destination, "bind", self.source, [*self.options, *recursive])
            mount.subpath = self.subpath
            return mount
        return Mount(self.destination, self.type, self.type, self.options)


def check_target(path: str) -> str:
    """A mount's place in the container, without ``.`` and ``..``. Raises UsageError."""
    if not path.startswith("/") or "\0" in path:
        raise UsageError(f"the mount target {path!r} must be an absolute path in the container")
    clean = os.path.normpath(path).replace("//", "/")
    if clean in _FORBIDDEN_TARGETS:
        raise UsageError(f"nothing can be mounted over {clean} of a container")
    return clean


def volume(name: str, destination: str, options: list[str] | None = None) -> Wanted:
    """A named volume, or with ``name`` "" an anonymous one."""
    wanted = Wanted("volume", destination, "", options)
    if name:
        from rootless.storage.volumes import check_name

        wanted.name = check_name(name)
    wanted.anonymous = not name
    return wanted


def of_image(path: str, mode: str) -> Wanted | None:
    """An image's VOLUME, as --image-volume says: an anonymous volume (anonymous, bind), a tmpfs, or nothing.

    Below the kernel's own files only the user may mount, not an image (CVE-2019-16884).
    """
    if mode == "ignore":
        return None
    wanted = volume("", path)
    if wanted.destination.startswith(("/proc/", "/sys/")):
        raise UsageError(f"the image wants a volume at {wanted.destination}, over the kernel's own files")
    if mode == _TMPFS:
        return Wanted(_TMPFS, path, _TMPFS, ["nosuid", "nodev", "rprivate", "tmpcopyup"])
    return wanted


def from_record(mount: MountRecord, extra: list[str]) -> Wanted:
    """A mount of another container, for --volumes-from."""
    wanted = Wanted(mount.type, mount.destination, mount.source)
    wanted.options = [*(item for item in mount.options if not extra or item not in ("ro", "rw")), *extra]
    wanted.name, wanted.copy = mount.name, False
    wanted.scratch, wanted.upper, wanted.work = mount.scratch, mount.upper, mount.work
    wanted.subpath, wanted.image_id, wanted.layers = mount.subpath, mount.image_id, mount.layers
    return wanted


def merge(groups: list[list[Wanted]]) -> list[Wanted]:
    """All mounts, later groups over earlier ones; parents before children. A target twice in a group is an error."""
    by_target: dict[str, Wanted] = {}
    for group in groups:
        targets = [wanted.destination for wanted in group]
        for target in targets:
            if targets.count(target) > 1:
                raise UsageError(f"{target} is the target of two mounts")
        by_target.update((wanted.destination, wanted) for wanted in group)
    return sorted(by_target.values(), key=lambda wanted: wanted.destination.count("/"))


def materialize(wanted: list[Wanted], made: list[str]) -> None:
    """Make the named and anonymous volumes that do not exist; the names of new ones go to ``made``."""
    asked = [mount for mount in wanted if mount.type == "volume" and not mount.source]
    if not asked:
        return
    from rootless.storage.volumes import VolumeStore

    store = VolumeStore(paths.data())
    for mount in asked:
        found = store.get(mount.name) if mount.name else None
        if found is None:
            found = store.create(mount.name or None, mount.labels, mount.driver_options, anonymous=mount.anonymous)
            made.append(found.name)
            events.of_volume("create", found.name)
        mount.name, mount.source = found.name, found.source
        if mount.source == _TMPFS and (mount.scratch or mount.subpath):
            raise UsageError(f"volume {mount.name} is a tmpfs, which begins empty: neither O nor subpath goes with it")
        if found.options:
            mount.options = [*found.mount_options, *mount.options]
            mount.copy = mount.copy and "nocopy" not in found.options


def discard(names: list[str]) -> None:
    """Remove volumes that were made for a container which then was not."""
    if not names:
        return
    from rootless.storage.volumes import VolumeStore

    store = VolumeStore(paths.data())
    for name in names:
        store.remove(name)
        events.of_volume("remove", name)


def to_spec(wanted: list[Wanted], record: ContainerRecord) -> list[Mount]:
    """All of a container as config.json has them."""
    return [mount.to_mount(record, number) for number, mount in enumerate(wanted)]

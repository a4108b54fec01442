"""``diff``: what a container changed in its root, or an image's uppermost layer, or one tree against another."""

from __future__ import annotations

import os

from rootless import paths
from rootless.engine import facts, images
from rootless.errors import NotFoundError
from rootless.kernel import userns
from rootless.state.containers import Containers
from rootless.storage import merged
from rootless.storage.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container
    from rootless.storage.image_record import Image

KINDS = ("all", "container", "image")


class _Side:
    """A tree to compare: its directories, the uppermost first, and paths that are mount points only."""

    __slots__ = ("mount_points", "roots")

    def __init__(self, roots: list[str], mount_points: frozenset[bytes] = frozenset()) -> None:
        self.roots = roots
        self.mount_points = mount_points

    def below(self) -> _Side:
        """What the uppermost directory was put upon."""
        return _Side(self.roots[1:])


def diff(name: str, other: str = "", *, kind: str = "all") -> list[tuple[str, str]]:
    """(A, C or D; path) of everything in ``name`` that is not as in ``other``.

    Without ``other`` the comparison is with what lies below: a container's image, or the
    layers under an image's last one. ``kind`` says what names mean: container, image or all.
    Raises NotFoundError.
    """
    after = _side(name, kind)
    before = _side(other, kind) if other else after.below()

    def compare() -> object:
        with merged.Tree(before.roots) as old, merged.Tree(after.roots) as new:
            found = merged.changes(old, new)
            return [(change.kind, os.fsdecode(change.path)) for change in found if _counts(change, after)]

    found = userns.call_inside(compare)
    assert isinstance(found, list)
    return [(str(change), str(path)) for change, path in found]


def _counts(change: merged.Change, side: _Side) -> bool:
    """Whether a change is the container's, and not a place that was made to mount something on."""
    return change.kind == merged.DELETED or change.path not in side.mount_points


def _side(name: str, kind: str) -> _Side:
    if kind != "image":
        try:
            return _of_container(Containers().resolve(name))
        except NotFoundError:
            if kind == "container":
                raise
    if kind == "image":
        return _of_image(images.resolve(name))
    image = images.find(name)
    if image is None:
        raise NotFoundError(f"no such container or image: {name}", "rpod ps -a; rpod images")
    return _of_image(image)


def _of_image(image: Image) -> _Side:
    store = LayerStore(paths.data())
    return _Side([store.path(chain_id) for chain_id in reversed(image.layers)])


def _of_container(container: Container) -> _Side:
    if container.record.rare:
        from rootless.engine import rare

        rare.refuse_directory(container.record, "diff")
    store = LayerStore(paths.data())
    below = [store.path(chain_id) for chain_id in reversed(container.record.layers)]
    return _Side([f"{container.directory}/diff", *below], mount_points(container))


def mount_points(container: Container) -> frozenset[bytes]:
    """The paths in a container's root that something of the host is mounted on."""
    return frozenset(os.fsencode(mount.destination) for mount in facts.read_spec(container).mounts)

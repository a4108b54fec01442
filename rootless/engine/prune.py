"""``system prune``, ``container prune``, ``image prune``: remove what nothing uses, and say how much came back."""

from __future__ import annotations

from rootless import paths
from rootless.engine import filters as rules
from rootless.engine import image_mount, images, reconcile, remove
from rootless.errors import ConflictError, NotFoundError, UsageError
from rootless.state import dependents, events
from rootless.state.containers import Containers
from rootless.storage import unused_layers, usage
from rootless.storage.images import ImageStore

_FILTERS = ("label", "label!", "until")


class PruneReport:
    """What was removed: names and ids, and the bytes that came back."""

    __slots__ = ("containers", "images", "layers", "reclaimed_bytes", "volumes")

    def __init__(self) -> None:
        self.containers: list[str] = []
        self.images: list[str] = []
        self.layers: list[str] = []
        self.volumes: list[str] = []
        self.reclaimed_bytes = 0


def prune(*, all: bool, volumes: bool, filters: list[str]) -> PruneReport:
    """Remove ended containers, dangling (``all``: unused) images, what crashes left, and unused ``volumes``."""
    _check(filters)
    report = PruneReport()
    before = usage.tree_size(paths.data())
    reconcile.sweep()
    report.containers = _containers(filters)
    report.images = _images(all, filters)
    report.layers = unused_layers.remove(ImageStore(paths.data()))
    if volumes:
        from rootless.engine import volumes as volume_verbs

        report.volumes = volume_verbs.prune(filters)
    report.reclaimed_bytes = max(0, before - usage.tree_size(paths.data()))
    return report


def prune_containers(filters: list[str]) -> list[str]:
    """Remove the containers that do not run; returns their ids."""
    _check(filters)
    reconcile.sweep()
    return _containers(filters)


def _containers(filters: list[str]) -> list[str]:
    removed = []
    chosen = rules.select(filters, Containers())
    # The newest first: a container is younger than those whose namespaces it shares.
    for container in sorted(chosen, key=lambda container: container.record.created_ns, reverse=True):
        if not container.is_alive() and not dependents.of(container, Containers()):
            remove.delete(container, volumes=False)
            removed.append(container.id)
    return removed


def prune_images(*, all: bool, filters: list[str]) -> list[str]:
    """Remove dangling (``all``: unused) images and the layers that only they need; returns the images' ids."""
    _check(filters)
    return _images(all, filters)


def _check(filters: list[str]) -> None:
    for text in filters:
        if text.partition("=")[0] not in _FILTERS:
            raise UsageError(f"--filter {text}: prune knows {', '.join(_FILTERS)}")


def _images(all_: bool, filters: list[str]) -> list[str]:
    store = ImageStore(paths.data())
    used = {*image_mount.in_use(), *(use.image_id for use in store.containers())}
    chosen = {row.Id for row in images.list_images(filters)}
    removed = []
    for image in store.all():
        if image.hex in chosen and image.id not in used and (all_ or not store.names(image)):
            try:
                store.remove(image, if_unused=True)
            except (ConflictError, NotFoundError):
                continue  # a container was made of it meanwhile, or somebody was faster
            removed.append(image.id)
            events.of_image("prune", image.id, image.id)
    store.sweep()
    return removed

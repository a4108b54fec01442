"""Layers that no image and no container needs: a pull that was cut short left them, or their image is gone."""

from __future__ import annotations

import os

from rootless import log
from rootless.errors import StorageError, os_reason
from rootless.storage.layers import LayerStore
from rootless.storage.staging import Staged, Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from rootless.storage.image_record import Image
    from rootless.storage.images import ImageStore


def find(images: ImageStore) -> list[str]:
    """Their chain ids. A pull of the same image goes on with them. Raises StorageError for a damaged record."""
    used = _used(images)
    return [info.chain_id for info in LayerStore(images.data_dir).all() if info.chain_id not in used]


def remove(images: ImageStore, only: Collection[str] | None = None) -> list[str]:
    """Remove them (with ``only`` those of them) and return them. The lock keeps a pull from counting on one meanwhile.

    Raises StorageError.
    """
    with images.lock():
        unused = [chain_id for chain_id in find(images) if only is None or chain_id in only]
        graveyard = _bury(images.data_dir, unused)
    if graveyard is not None:
        graveyard.close()
    return unused


def give_back(images: ImageStore, chain_ids: list[str]) -> None:
    """Remove those of ``chain_ids`` that nothing uses, for the room: what else went wrong is told already."""
    try:
        remove(images, only=chain_ids)
    except StorageError as error:
        log.warn(f"{error.message}; layers of an unfinished image stay")


def bury_those_of(images: ImageStore, image: Image) -> tuple[list[str], Staged | None]:
    """Those of an image whose record is just gone, uppermost first, and where they wait for their end."""
    try:
        used = _used(images)
    except StorageError as error:
        log.warn(f"{error.message}; the layers of image {image.hex[:12]} stay")
        return [], None
    layers = LayerStore(images.data_dir)
    unused = [chain_id for chain_id in reversed(image.layers) if chain_id not in used and layers.owns(chain_id)]
    return unused, _bury(images.data_dir, unused)


def _used(images: ImageStore) -> set[str]:
    """Every chain id that an image or a container needs. Raises StorageError for a damaged record."""
    used = {chain_id for image in images.every() for chain_id in image.layers}
    return used.union(*(container.layers for container in images.containers()))


def _bury(data_dir: str, chain_ids: list[str]) -> Staged | None:
    """Move layers to a staging directory, which the caller deletes."""
    if not chain_ids:
        return None
    graveyard = Staging(data_dir).make()
    try:
        for chain_id in chain_ids:
            os.rename(f"{data_dir}/layers/{chain_id[7:]}", f"{graveyard.path}/{chain_id[7:]}")
    except OSError as error:
        graveyard.close()
        raise StorageError(f"layer {chain_id} cannot be removed: {os_reason(error)}") from error
    return graveyard

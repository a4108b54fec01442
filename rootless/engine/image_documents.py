"""The documents of a stored image, checked once more: a file may have been damaged since it was stored."""

from __future__ import annotations

from rootless.errors import RpodError, StorageError
from rootless.image import manifest
from rootless.image.manifest import Manifest
from rootless.kernel import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.storage.image_record import Image


def manifest_of(image: Image) -> Manifest:
    """The manifest of a stored image, which has a descriptor for each of its layers. Raises StorageError."""
    raw = image.manifest()
    if f"sha256:{digest.sha256_hex(raw)}" != image.digest:
        raise _damaged(image, "manifest", "it has another digest")
    try:
        found = manifest.parse(raw, image.media_type, image.digest)
    except RpodError as error:
        raise _damaged(image, "manifest", error.message) from error
    if not isinstance(found, Manifest) or len(found.layers) != len(image.layers):
        raise _damaged(image, "manifest", "it has not the layers of the image")
    return found


def raw_config_of(image: Image) -> bytes:
    """The config, byte for byte. Raises StorageError."""
    raw = image.raw_config()
    if f"sha256:{digest.sha256_hex(raw)}" != image.id:
        raise _damaged(image, "config", "it has another digest")
    return raw


def _damaged(image: Image, what: str, why: str) -> StorageError:
    return StorageError(f"the {what} of image {image.hex[:12]} is damaged: {why}", "rpod system check")

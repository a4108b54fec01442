"""``dir:``: a directory with ``manifest.json`` and the blobs beside it, as skopeo and Podman write it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from rootless.engine.transports.model import AS_IS, SourceImage, of_platform, read_all
from rootless.image import manifest

if TYPE_CHECKING:
    from rootless.engine.transports.blobs import Folder
    from rootless.engine.transports.model import Read
    from rootless.image.manifest import Descriptor, Manifest

MANIFEST = "manifest.json"
_VERSION = "version"
_VERSION_TEXT = b"Directory Transport Version: 1.1\n"


class DirectoryImage(SourceImage):
    """The image of such a directory."""

    def __init__(self, folder: Folder, found: Manifest) -> None:
        self._folder = folder
        raw_config = read_all(folder.open(found.config.digest[7:]), found.config, folder.what)
        super().__init__(folder.what, found, raw_config, [])

    def open(self, index: int) -> Read:
        """A layer's blob."""
        return self._folder.open(self.manifest.layers[index].digest[7:])


def is_directory(folder: Folder) -> bool:
    """Whether it looks like one."""
    return folder.has(MANIFEST) and folder.has(_VERSION)


def read(folder: Folder, platform: str = "") -> DirectoryImage:
    """The image; of an index the platform's. Raises ImageError."""
    raw = folder.document(MANIFEST)
    found = manifest.parse(raw, "", f"sha256:{hashlib.sha256(raw).hexdigest()}")

    def listed(entry: Descriptor) -> bytes:
        return read_all(folder.open(f"{entry.digest[7:]}.manifest.json"), entry, folder.what)

    return DirectoryImage(folder, of_platform(found, platform, folder.what, listed))


class DirectoryTarget:
    """Writes an image into such a directory; ``form`` is the manifest's."""

    def __init__(self, folder: Folder, form: str = AS_IS) -> None:
        self._folder = folder
        self._form = form

    def put(self, image: SourceImage) -> None:
        """Write the image; the manifest comes last."""
        layers = self._folder.put_layers("", image)
        raw, _ = image.document(layers, self._form)
        self._folder.write(hashlib.sha256(image.raw_config).hexdigest(), image.raw_config)
        self._folder.write(_VERSION, _VERSION_TEXT)
        self._folder.write(MANIFEST, raw)

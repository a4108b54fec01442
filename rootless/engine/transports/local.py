"""Images of the store as a source and as a target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.engine import image_documents
from rootless.engine.transports.model import DOCKER, SourceImage
from rootless.errors import DiskFullError
from rootless.image import manifest
from rootless.storage import compress, unused_layers
from rootless.storage.archive import Archive
from rootless.storage.image_record import NewImage
from rootless.storage.images import ImageStore, MissingLayersError
from rootless.storage.layers import LayerStore, Unpacker
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.storage.image_record import Image

PLAIN, GZIP = "", "gzip"
_ADD_ATTEMPTS = 3


class StoredImage(SourceImage):
    """A stored image. Its layers come back byte for byte uncompressed, and are compressed as ``compression`` says.

    The compressed bytes that a registry once sent are not kept, so a manifest that named them
    gets new descriptors; one of uncompressed layers stays as it is. ``compression`` None means
    compressed exactly where the manifest says so.
    """

    keeps_blobs = False

    def __init__(self, image: Image, names: list[str], compression: str | None = None) -> None:
        found = image_documents.manifest_of(image)
        self._chain = image.layers
        self._docker = manifest.format_of(found.media_type) == DOCKER
        self._compression = compression
        self._store = LayerStore(paths.data())
        super().__init__(f"image {image.hex[:12]}", found, image_documents.raw_config_of(image), names)

    def chunks(self, index: int) -> Iterator[bytes]:
        """A layer in its form, of the same bytes each time."""
        form = self._form(index)
        if not form:
            yield from self.plain(index)
            return
        compressor = compress.compressor(form)
        for data in self.plain(index):
            if packed := compressor.compress(data):
                yield packed
        yield compressor.flush()

    def layer_type(self, index: int) -> str:
        """Its form decides."""
        return manifest.layer_type(self._form(index), docker=self._docker)

    def _form(self, index: int) -> str:
        own = manifest.compression_of(self.manifest.layers[index].media_type)
        return own if self._compression is None else self._compression

    def _size(self, index: int) -> int:
        return self._store.info(self._chain[index]).size_bytes

    def plain_size(self, index: int) -> int:
        """Known of every stored layer."""
        return self._size(index)

    def plain(self, index: int) -> Iterator[bytes]:
        """The layer's archive, which the store checks against the diff id."""
        with Archive(self._store, self._chain[index]) as archive:
            while data := archive.read():
                yield data


def store(image: SourceImage, names: list[str]) -> Image:
    """Store an image of another source under ``names``; layers that are there are not read.

    Nothing is seen of it before its record is written, which is last. Raises ImageError, StorageError.
    """
    layers, images = LayerStore(paths.data()), ImageStore(paths.data())
    _warn_of_platform(image)
    chain = manifest.chain_ids(image.config.diff_ids)
    raw, media_type = image.manifest.raw, image.manifest.media_type
    Staging(paths.data()).sweep()
    there = images.by_id(image.manifest.config.digest) if image.made_up else None
    if there is not None and all(map(layers.has, chain)):
        for name in names:  # its manifest says more than one that is made up
            images.tag(there, name)
        return there
    for attempt in range(_ADD_ATTEMPTS):
        try:
            _unpack_missing(layers, image, chain)
            return images.add(NewImage(image.raw_config, raw, media_type, chain, image.repo_digests), names)
        except MissingLayersError:
            if attempt == _ADD_ATTEMPTS - 1:
                raise
        except DiskFullError:
            unused_layers.give_back(images, chain)
            raise
    raise AssertionError("unreachable")


def _unpack_missing(layers: LayerStore, image: SourceImage, chain: list[str]) -> None:
    missing = [index for index, chain_id in enumerate(chain) if not layers.has(chain_id)]
    if missing:
        with Unpacker(layers) as unpacker:
            for index in missing:
                _unpack(unpacker, image, index, chain)


def _unpack(unpacker: Unpacker, image: SourceImage, index: int, chain: list[str]) -> None:
    descriptor = image.manifest.layers[index]
    parent = chain[index - 1] if index else ""
    diff_id = image.config.diff_ids[index]
    sink = unpacker.begin(chain[index], diff_id, parent, descriptor.media_type, descriptor.digest)
    try:
        for data in image.chunks(index):
            sink.write(data)
        sink.finish()
    except BaseException:
        sink.abort()
        raise


def _warn_of_platform(image: SourceImage) -> None:
    native = manifest.native_platform()
    offered = image.platform
    if (offered.os, offered.architecture) != (native.os, native.architecture):
        log.warn(f"{image.what}: the image is for {log.printable(str(offered))[:80]}, not for {native}")

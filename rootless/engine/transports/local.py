"""Images of the store as a source and as a target."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from isal import isal_zlib

from rootless import log, paths
from rootless.engine.transports.model import SourceImage, compression_of
from rootless.errors import ImageError
from rootless.image import manifest
from rootless.image.manifest import Descriptor, Manifest
from rootless.storage.archive import Archive
from rootless.storage.image_record import NewImage
from rootless.storage.images import ImageStore, MissingLayersError
from rootless.storage.layers import LayerStore, Unpacker
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from rootless.engine.transports.model import Write
    from rootless.storage.image_record import Image

PLAIN, GZIP = "", "gzip"
_ADD_ATTEMPTS = 3
_GZIP_LEVEL = 2  # of 3: as small as zlib's 4 in a fifth of the time


class StoredImage(SourceImage):
    """A stored image. Its layers come back byte for byte uncompressed, and are compressed as ``compression`` says.

    The compressed bytes that a registry once sent are not kept, so a manifest that named them
    gets new descriptors; one of uncompressed layers stays as it is. ``compression`` None means
    compressed exactly where the manifest says so.
    """

    keeps_blobs = False

    def __init__(self, image: Image, names: list[str], compression: str | None = None) -> None:
        raw = image.manifest()
        found = manifest.parse(raw, image.media_type, image.digest)
        if not isinstance(found, Manifest) or len(found.layers) != len(image.layers):
            raise ImageError(f"the manifest of image {image.hex[:12]} is damaged", "pull the image again")
        with open(f"{image.directory}/config.json", "rb") as file:
            raw_config = file.read()
        self._chain = image.layers
        self._compression = compression
        self._store = LayerStore(paths.data())
        super().__init__(f"image {image.hex[:12]}", found, raw_config, names)

    def blob(self, index: int, write: Write) -> Descriptor:
        """A layer in its form; the descriptor says what it became."""
        kind = self.manifest.layers[index].media_type
        compress = bool(compression_of(kind)) if self._compression is None else self._compression == GZIP
        base = kind.removesuffix(compression_of(kind)).rstrip("+.")
        if not compress:
            self.plain(index, write)
            return Descriptor(base, self.config.diff_ids[index], self._size(index))
        hashing = hashlib.sha256()
        size = 0
        # Without a name and a time in its header, the same layer gives the same bytes.
        compressor = isal_zlib.compressobj(_GZIP_LEVEL, isal_zlib.DEFLATED, 31)

        def put(data: bytes) -> None:
            nonlocal size
            hashing.update(data)
            size += len(data)
            write(data)

        self.plain(index, lambda data: put(compressor.compress(data)))
        put(compressor.flush())
        joint = "+" if base == manifest.OCI_LAYER else "."
        return Descriptor(f"{base}{joint}gzip", f"sha256:{hashing.hexdigest()}", size)

    def _size(self, index: int) -> int:
        return self._store.info(self._chain[index]).size_bytes

    def plain_size(self, index: int) -> int:
        """Known of every stored layer."""
        return self._size(index)

    def plain(self, index: int, write: Write) -> None:
        """The layer's archive, which the store checks against the diff id."""
        with Archive(self._store, self._chain[index]) as archive:
            while data := archive.read():
                write(data)


def store(image: SourceImage, names: list[str]) -> Image:
    """Store an image of another source under ``names``; layers that are there are not read.

    Nothing is seen of it before its record is written, which is last. Raises ImageError, StorageError.
    """
    layers, images = LayerStore(paths.data()), ImageStore(paths.data())
    _warn_of_platform(image)
    chain = manifest.chain_ids(image.config.diff_ids)
    raw, media_type = image.manifest.raw, image.manifest.media_type
    Staging(paths.data()).sweep()
    for attempt in range(_ADD_ATTEMPTS):
        missing = [index for index, chain_id in enumerate(chain) if not layers.has(chain_id)]
        if missing:
            with Unpacker(layers) as unpacker:
                for index in missing:
                    _unpack(unpacker, image, index, chain)
        try:
            return images.add(NewImage(image.raw_config, raw, media_type, chain, image.repo_digests), names)
        except MissingLayersError:
            if attempt == _ADD_ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def _unpack(unpacker: Unpacker, image: SourceImage, index: int, chain: list[str]) -> None:
    descriptor = image.manifest.layers[index]
    parent = chain[index - 1] if index else ""
    diff_id = image.config.diff_ids[index]
    sink = unpacker.begin(chain[index], diff_id, parent, descriptor.media_type, descriptor.digest)
    try:
        image.blob(index, sink.write)
        sink.finish()
    except BaseException:
        sink.abort()
        raise


def _warn_of_platform(image: SourceImage) -> None:
    native = manifest.native_platform()
    offered = image.platform
    if (offered.os, offered.architecture) != (native.os, native.architecture):
        log.warn(f"{image.what}: the image is for {log.printable(str(offered))[:80]}, not for {native}")

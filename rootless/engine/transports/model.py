"""What every source of images offers and every target takes.

A source gives a manifest, a config and the layers' blobs, each checked against its digest and
size while it is read. A target takes the layers as they are or uncompressed, and writes the
manifest that fits what it stored: the very bytes where nothing had to change.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from rootless.errors import ImageError, UnsupportedError
from rootless.image import manifest
from rootless.image.manifest import Index
from rootless.storage import inflate
from rootless.storage.image_config import ImageConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.image.manifest import Descriptor, Manifest

    Read = Callable[[int], bytes]

CHUNK = 1 << 20
OCI, DOCKER, AS_IS = "oci", "v2s2", ""


class Checked:
    """A stream that must have one digest and size. Iterate with ``read``; b"" comes only when all was right."""

    def __init__(self, read: Read, descriptor: Descriptor, what: str) -> None:
        self._read = read
        self._descriptor = descriptor
        self._what = what
        self._hashing = hashlib.sha256()
        self._size = 0

    def read(self, size: int = CHUNK) -> bytes:
        """The next bytes. Raises ImageError."""
        data = self._read(size)
        self._hashing.update(data)
        self._size += len(data)
        wanted = self._descriptor
        if self._size > wanted.size:
            raise ImageError(f"{self._what}: blob {wanted.digest} is larger than the {wanted.size} bytes announced")
        if not data and self._size != wanted.size:
            raise ImageError(f"{self._what}: blob {wanted.digest} has {self._size} bytes instead of {wanted.size}")
        if not data and f"sha256:{self._hashing.hexdigest()}" != wanted.digest:
            raise ImageError(f"{self._what}: blob {wanted.digest} is damaged: its content has another digest")
        return data


class SourceImage:
    """One image of a source. ``names`` are full references that it brings along, ``what`` is for messages.

    ``keeps_blobs``: the layers that it hands out are those that its manifest names. ``made_up``:
    the source has no manifest of its own.
    """

    keeps_blobs = True
    made_up = False

    def __init__(self, what: str, found: Manifest, raw_config: bytes, names: list[str]) -> None:
        self.what = what
        self.manifest = found
        self.raw_config = raw_config
        self.names = names
        self.repo_digests: list[str] = []
        self.config = ImageConfig.parse(raw_config)
        if len(self.config.diff_ids) != len(found.layers):
            raise ImageError(
                f"{what}: the manifest has {len(found.layers)} layers, its config {len(self.config.diff_ids)}"
            )

    @property
    def platform(self) -> manifest.Platform:
        """What it is for."""
        return manifest.Platform(self.config.os, self.config.architecture, self.config.variant)

    def open(self, index: int) -> Read:
        """The bytes of a layer's blob, not checked."""
        raise NotImplementedError

    def chunks(self, index: int) -> Iterator[bytes]:
        """A layer's blob, checked."""
        checked = Checked(self.open(index), self.manifest.layers[index], self.what)
        while data := checked.read():
            yield data

    def layer_type(self, index: int) -> str:
        """The media type of what ``chunks`` gives."""
        return self.manifest.layers[index].media_type

    def plain_size(self, index: int) -> int | None:
        """The length of a layer's uncompressed archive, None where only reading it can tell."""
        descriptor = self.manifest.layers[index]
        return descriptor.size if descriptor.digest == self.config.diff_ids[index] else None

    def plain(self, index: int) -> Iterator[bytes]:
        """A layer's uncompressed archive, checked against its diff id."""
        descriptor = self.manifest.layers[index]
        chunks = inflate.open_stream(Checked(self.open(index), descriptor, self.what).read, descriptor.media_type)
        hashing = hashlib.sha256()
        while data := chunks():
            hashing.update(data)
            yield data
        wanted = self.config.diff_ids[index]
        if (found := f"sha256:{hashing.hexdigest()}") != wanted:
            raise ImageError(f"{self.what}: a layer unpacks to {found}, but the image's config names {wanted}")

    def document(self, layers: list[Descriptor], form: str) -> tuple[bytes, str]:
        """(manifest, media type) for ``layers`` as they were stored, in the ``form`` OCI, DOCKER or AS_IS."""
        return adapt(self.manifest, layers, form)

    def close(self) -> None:
        """Give back what it holds."""


def of_platform(found: Manifest | Index, platform: str, what: str, read: Callable[[Descriptor], bytes]) -> Manifest:
    """``found``, or where it is an index what it has for ``platform``, whose manifest ``read`` gives, checked.

    Raises ImageError naming what there is, UnsupportedError.
    """
    if isinstance(found, Index):
        chosen = found.choose(manifest.parse_platform(platform), what)
        found = manifest.parse(read(chosen), chosen.media_type, chosen.digest)
    if isinstance(found, Index):
        raise UnsupportedError(f"{what}: its index lists another index")
    return found


def adapt(found: Manifest, layers: list[Descriptor], form: str) -> tuple[bytes, str]:
    """A manifest for other layers or in another form; the very bytes where neither differs."""
    own = manifest.format_of(found.media_type)
    form = form or own
    same = [(layer.digest, layer.size, layer.media_type) for layer in found.layers]
    if form == own and same == [(layer.digest, layer.size, layer.media_type) for layer in layers]:
        return found.raw, found.media_type
    docker = form == DOCKER
    media_type = manifest.DOCKER_MANIFEST if docker else manifest.OCI_MANIFEST
    document: dict[str, Any] = json.loads(found.raw)
    document["mediaType"] = media_type
    document["config"]["mediaType"] = manifest.DOCKER_CONFIG if docker else manifest.OCI_CONFIG
    old = document.get("layers", [])  # an image without files may leave it out
    document["layers"] = []
    for before, layer in zip(old, layers, strict=True):
        kind = manifest.layer_type(manifest.compression_of(layer.media_type), docker=docker)
        entry: dict[str, Any] = {"mediaType": kind, "digest": layer.digest, "size": layer.size}
        # What zstd:chunked and eStargz say about a blob is true of these bytes alone.
        if before["digest"] == layer.digest and "annotations" in before and form == OCI:
            entry["annotations"] = before["annotations"]
        document["layers"].append(entry)
    if form == DOCKER:
        document = {key: document[key] for key in ("schemaVersion", "mediaType", "config", "layers")}
    return json.dumps(document).encode(), media_type


def read_all(read: Read, descriptor: Descriptor, what: str, limit_bytes: int = manifest.MAX_BYTES) -> bytes:
    """A small blob in one piece, checked."""
    if descriptor.size > limit_bytes:
        raise ImageError(f"{what}: {descriptor.digest} is larger than {limit_bytes >> 20} MiB")
    checked = Checked(read, descriptor, what)
    parts = []
    while data := checked.read():
        parts.append(data)
    return b"".join(parts)

"""``rpod push``: a stored image to a registry.

::

    name ─► manifest and config as they are stored
         ─► each layer: is it there? can it be mounted? else archive ─► compressed ─► socket
         ─► config ─► manifest

The archive of a layer comes back exactly (``storage.archive``), so the config, and with it
the image's id, stays what it was. Where the registry has every blob in the form that the
manifest names, the manifest stays, too, byte for byte.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from rootless import paths
from rootless.engine import image_documents, images, target_file
from rootless.engine.crew import Crew
from rootless.engine.hosts import Hosts
from rootless.engine.transports.model import DOCKER, OCI, adapt
from rootless.engine.transports.places import Place
from rootless.errors import ImageError, UnsupportedError, UsageError
from rootless.image import known_blobs, manifest, reference
from rootless.image import progress as progress_module
from rootless.image.access import Access
from rootless.image.known_blobs import KnownBlob
from rootless.image.manifest import Descriptor
from rootless.image.progress import COPYING, DONE, EXISTS, WAITING
from rootless.image.upload import RefusedManifestError, Uploader
from rootless.state import events
from rootless.storage import compress
from rootless.storage.archive import Archive
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.image.progress import Progress
    from rootless.image.reference import Reference
    from rootless.image.transport import Transport
    from rootless.storage.image_record import Image

FORMATS = (OCI, DOCKER)


class PushOptions:
    """What ``push`` says. ``format`` is oci, v2s2 or "" for the image's own.

    ``compression`` is gzip, zstd or "": as each layer was, gzip for one that was not compressed.
    ``force`` does not take a blob that is there in another form; ``digestfile`` "" is none.
    """

    __slots__ = ("access", "compression", "digestfile", "force", "format", "level", "quiet")

    def __init__(
        self,
        *,
        access: Access | None = None,
        compression: str = "",
        level: int | None = None,
        force: bool | None = None,
        format: str = "",
        digestfile: str = "",
        quiet: bool = False,
    ) -> None:
        if format not in ("", *FORMATS):
            raise UsageError(f"--format {format}: there is no such format", ", ".join(FORMATS))
        if compression == "zstd:chunked":
            raise UnsupportedError("--compression-format zstd:chunked is not supported", "zstd is")
        if compression or level is not None:
            compress.check_level(compression or "gzip", level)
        if format == DOCKER and compression == "zstd":
            raise UsageError("Docker's format has no zstd", "--format oci")
        self.access = access or Access()
        self.compression = compression
        self.level = level
        self.force = bool(compression) if force is None else force
        self.format = format
        self.digestfile = digestfile
        self.quiet = quiet


def push(source: str, target: str, wanted: PushOptions, progress: Progress | None = None) -> str:
    """Push the image ``source`` to ``target`` ("" is its own name); returns the manifest's digest.

    Raises NotFoundError, ImageError, RegistryError, StorageError.
    """
    target_file.check("--digestfile", wanted.digestfile)
    image = images.resolve(source)
    place = _target(source, image, target)
    shown = progress or progress_module.choose(quiet=wanted.quiet)
    hosts = Hosts(wanted.access)
    home = hosts.home(place)
    transport = hosts.transport([home])
    try:
        digest = _Push(image, home.reference, wanted, transport, shown).run()
    finally:
        shown.close()
        transport.close()
    events.of_image("push", image.id, str(place))
    target_file.note(wanted.digestfile, digest)
    return digest


def push_all_tags(name: str, wanted: PushOptions) -> list[str]:
    """Push every stored tag of the repository ``name``; returns the names that were pushed."""
    parsed = reference.parse(name)
    if parsed.tag or parsed.digest:
        raise UsageError(f"{name}: with --all-tags a repository is named, without tag and digest")
    if wanted.digestfile:
        raise UsageError("--digestfile has room for one image", "push the tags one by one")
    stored = sorted(name for names in ImageStore(paths.data()).tags().values() for name in names)
    for candidate in Hosts(wanted.access).candidates(parsed):
        if found := [item for item in stored if item.rpartition(":")[0] == candidate.name]:
            for item in found:
                push(item, "", wanted)
            return found
    raise ImageError(f"{name}: no image has a tag of this repository", "rpod images")


def _target(source: str, image: Image, target: str) -> Reference:
    """Where to: a full reference with a registry."""
    if target and (kind := Place(target).kind) not in ("docker", "containers-storage"):
        raise UnsupportedError(f"push goes to registries only, not to {kind}:", f"rpod image copy {source} {target}")
    name = target or image.found_as
    if not name:
        raise UsageError(f"{source}: an id does not say where to push", f"rpod push {source} registry.example/name:tag")
    parsed = reference.parse(name)
    if not parsed.domain or (not target and parsed.domain == reference.LOCAL_DOMAIN):
        raise UsageError(
            f"{name}: names no registry", f"rpod push {source} registry.example/{parsed.path}:{parsed.tag or 'latest'}"
        )
    if parsed.digest and not parsed.tag:
        raise UsageError(f"{name}: what is pushed decides about the digest", "name a tag")
    return reference.Reference(parsed.domain, parsed.path, parsed.tag or reference.DEFAULT_TAG)


class _Layer:
    """One layer: what it is here, and the blob that the registry has of it in the end."""

    __slots__ = ("blob", "chain_id", "descriptor", "diff_id", "form")

    def __init__(self, descriptor: Descriptor, chain_id: str, diff_id: str, form: str) -> None:
        self.descriptor = descriptor
        self.chain_id = chain_id
        self.diff_id = diff_id
        self.form = form
        self.blob: KnownBlob | None = None


class _Push:
    """One push of one image to one place."""

    def __init__(
        self, image: Image, place: Reference, wanted: PushOptions, transport: Transport, progress: Progress
    ) -> None:
        self._image = image
        self._place = place
        self._wanted = wanted
        self._transport = transport
        self._progress = progress
        self._registry = Uploader(place.domain, transport, access=wanted.access)
        self._store = LayerStore(paths.data())
        self._manifest = image_documents.manifest_of(image)
        self._docker = (wanted.format or manifest.format_of(self._manifest.media_type)) == DOCKER

    def run(self) -> str:
        """Push; returns the manifest's digest."""
        layers = self._layers()
        sources = {name for layer in layers for blob in self._known(layer) for name in blob.on(self._place.domain)}
        self._registry.also_pull = sorted(sources - {self._place.path})[:4]
        for layer in layers:
            self._progress.layer(layer.diff_id, 0, self._store.info(layer.chain_id).size_bytes, WAITING)
        # The first question is asked alone: it is answered with a login.
        self._registry.has(self._place.path, self._image.id)
        unique = {layer.diff_id: layer for layer in layers}
        Crew(self._transport, self._layer).run(list(unique.values())[::-1])
        for layer in layers:
            layer.blob = unique[layer.diff_id].blob
        self._config()
        self._progress.message("Writing manifest to image destination")
        return self._write_manifest(layers)

    def _layers(self) -> list[_Layer]:
        config = self._image.config
        return [
            _Layer(descriptor, chain_id, diff_id, self._form(manifest.compression_of(descriptor.media_type)))
            for descriptor, chain_id, diff_id in zip(
                self._manifest.layers, self._image.layers, config.diff_ids, strict=True
            )
        ]

    def _form(self, own: str) -> str:
        """How a layer is compressed that was compressed as ``own``."""
        form = self._wanted.compression or own or "gzip"
        return "gzip" if self._docker and form == "zstd" else form

    def _known(self, layer: _Layer) -> list[KnownBlob]:
        """Blobs that may be there already, and would do: as the manifest has it first."""
        host = self._place.domain
        places = [entry.partition("@")[0] for entry in self._image.repo_digests]
        descriptor = layer.descriptor
        form = manifest.compression_of(descriptor.media_type)
        own = KnownBlob(descriptor.digest, descriptor.size, form, [p for p in places if p.partition("/")[0] == host])
        found = [own]
        for blob in known_blobs.read(layer.diff_id):
            if blob.digest == own.digest:
                own.places += blob.places
            else:
                found.append(blob)
        if self._docker:
            found = [blob for blob in found if blob.form != "zstd"]
        return [blob for blob in found if blob.form == layer.form] if self._wanted.force else found

    def _layer(self, layer: _Layer) -> None:
        size = self._store.info(layer.chain_id).size_bytes
        layer.blob = self._find(layer)
        if layer.blob is not None:
            self._progress.layer(layer.diff_id, size, size, EXISTS)
        else:
            digest, length = self._registry.blob(self._place.path, lambda: self._compressed(layer, size))
            layer.blob = KnownBlob(digest, length, layer.form, [])
            self._progress.layer(layer.diff_id, size, size, DONE)
        blob = layer.blob
        known_blobs.remember(layer.diff_id, blob.digest, blob.size, blob.form, self._place.name)

    def _find(self, layer: _Layer) -> KnownBlob | None:
        """A blob that the repository has, or gets from another one of the registry."""
        known = self._known(layer)
        path = self._place.path
        for blob in known:
            if self._registry.has(path, blob.digest):
                return blob
        for blob in known:
            for source in dict.fromkeys(blob.on(self._place.domain)):
                if source != path and self._registry.mount(path, blob.digest, source):
                    return blob
        return None

    def _compressed(self, layer: _Layer, size: int) -> Iterator[bytes]:
        compressor = compress.compressor(layer.form, self._wanted.level)
        done = 0
        with Archive(self._store, layer.chain_id) as archive:
            while data := archive.read():
                self._transport.check()
                done += len(data)
                self._progress.layer(layer.diff_id, done, size, COPYING)
                if packed := compressor.compress(data):
                    yield packed
        yield compressor.flush()

    def _config(self) -> None:
        descriptor = self._manifest.config
        self._progress.message(f"Copying config {descriptor.digest}")
        if not self._registry.has(self._place.path, descriptor.digest):
            raw = image_documents.raw_config_of(self._image)
            self._registry.blob(self._place.path, lambda: iter([raw]))

    def _write_manifest(self, layers: list[_Layer]) -> str:
        raw, media_type = self._document(layers)
        try:
            self._registry.manifest(self._place.path, self._place.wanted, raw, media_type)
        except RefusedManifestError:
            zstd = any(layer.blob is not None and layer.blob.form == "zstd" for layer in layers)
            if self._docker or self._wanted.format or zstd:
                raise
            self._docker = True
            raw, media_type = self._document(layers)
            self._registry.manifest(self._place.path, self._place.wanted, raw, media_type)
        return f"sha256:{hashlib.sha256(raw).hexdigest()}"

    def _document(self, layers: list[_Layer]) -> tuple[bytes, str]:
        """The manifest and its media type: the stored bytes where nothing of it changed."""
        found = [self._stored_as(layer) for layer in layers]
        return adapt(self._manifest, found, DOCKER if self._docker else OCI)

    def _stored_as(self, layer: _Layer) -> Descriptor:
        """What the registry has of a layer in the end."""
        blob = layer.blob
        assert blob is not None
        if blob.digest == layer.descriptor.digest:
            return layer.descriptor
        return Descriptor(manifest.layer_type(blob.form, docker=self._docker), blob.digest, blob.size)

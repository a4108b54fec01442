"""One image from one place: manifest, config, the layers that are missing, record and tag."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.engine.crew import Crew
from rootless.errors import DiskFullError, ImageError, StorageError
from rootless.image import manifest
from rootless.image import partial as partial_module
from rootless.image.partial import Partial
from rootless.image.progress import COPYING, DONE, EXISTS, UNPACKING, WAITING, Progress
from rootless.image.registry import Registry, StaleError
from rootless.storage import unused_layers
from rootless.storage.image_config import ImageConfig
from rootless.storage.image_record import Image, NewImage
from rootless.storage.images import ImageStore, MissingLayersError
from rootless.storage.layers import LayerStore, Unpacker
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from rootless.image.access import Access
    from rootless.image.manifest import Descriptor, Manifest, Platform
    from rootless.image.reference import Reference
    from rootless.image.transport import Transport

# Another command may remove a layer between our look and our record; more often than this is no accident.
_ADD_ATTEMPTS = 3


class _Layer:
    """One layer of the image: what the registry calls it and what it becomes here."""

    __slots__ = ("chain_id", "descriptor", "diff_id", "parent")

    def __init__(self, descriptor: Descriptor, diff_id: str, chain_id: str, parent: str) -> None:
        self.descriptor = descriptor
        self.diff_id = diff_id
        self.chain_id = chain_id
        self.parent = parent


class Fetch:
    """One pull of the full reference ``wanted`` from ``place``, which is it or a mirror of it."""

    def __init__(
        self, wanted: Reference, place: Reference, transport: Transport, progress: Progress, access: Access
    ) -> None:
        self._reference = wanted
        self._place = place
        self._transport = transport
        self._progress = progress
        self._registry = Registry(place.domain, transport, access=access)
        self._layers = LayerStore(paths.data())
        self._images = ImageStore(paths.data())

    def run(self, found: Manifest, digests: list[str], platform: Platform, *, strict: bool) -> Image:
        """Fetch and store what ``manifest`` found; with ``strict`` an image for another platform is an error."""
        raw_config = self._registry.small_blob(self._place.path, found.config)
        layers = self._plan(found, raw_config, platform, strict=strict)
        self._progress.message(f"Copying config {found.config.digest}")
        for _ in range(_ADD_ATTEMPTS):
            self._fetch(layers)
            self._progress.message("Writing manifest to image destination")
            new = NewImage(
                raw_config,
                found.raw,
                found.media_type,
                [layer.chain_id for layer in layers],
                [f"{self._reference.name}@{digest}" for digest in digests],
            )
            try:
                return self._images.add(new, [self._reference.stored])
            except MissingLayersError as error:
                lost = error
            except DiskFullError:
                self._give_back(layers)
                raise
        raise lost

    def manifest(self, platform: Platform) -> tuple[Manifest, list[str]]:
        """The image's manifest, and the digests under which the registry knows it."""
        return self._registry.image_manifest(self._place, platform)

    def _plan(self, found: Manifest, raw_config: bytes, platform: Platform, *, strict: bool) -> list[_Layer]:
        """Pair the manifest's layers with the config's diff ids, base first."""
        config_ = ImageConfig.parse(raw_config)
        if len(config_.diff_ids) != len(found.layers):
            raise ImageError(
                f"{self._reference}: the manifest has {len(found.layers)} layers, its config {len(config_.diff_ids)}"
            )
        offered = manifest.Platform(config_.os, config_.architecture, config_.variant)
        if (offered.os, offered.architecture) != (platform.os, platform.architecture):
            text = f"{self._reference} is for {log.printable(str(offered))[:80]}, not for {platform}"
            if strict:
                raise ImageError(text, "choose another image or --platform")
            log.warn(text)
        chain = manifest.chain_ids(config_.diff_ids)
        parents = ["", *chain[:-1]]
        return [_Layer(*parts) for parts in zip(found.layers, config_.diff_ids, chain, parents, strict=True)]

    def _fetch(self, layers: list[_Layer]) -> None:
        """Copy the layers that are not there, several at once; the first failure ends all of them."""
        missing = []
        for layer in layers:
            there = self._layers.has(layer.chain_id)
            self._progress.layer(layer.descriptor.digest, 0, layer.descriptor.size, EXISTS if there else WAITING)
            if not there:
                missing.append(layer)
        if not missing:
            return
        Staging(paths.data()).sweep()
        partial_module.sweep()
        self._images.sweep()
        # The unpacker forks, which must come before threads.
        with Unpacker(self._layers) as unpacker:
            # Large ones first: the pull ends when the last layer ends.
            missing.sort(key=lambda layer: layer.descriptor.size)
            crew: Crew[_Layer] = Crew(self._transport, lambda layer: self._copy(unpacker, layer))
            try:
                crew.run(missing)
            except DiskFullError:
                self._give_back(missing)
                raise
        # The workers of a pull that was killed just before this one outlive it by what was in their pipes.
        Staging(paths.data()).sweep()

    def _give_back(self, layers: list[_Layer]) -> None:
        """On a full disk room is worth more than what a next try would go on with."""
        for layer in layers:
            Partial(layer.descriptor.digest, layer.descriptor.size).discard()
        unused_layers.give_back(self._images, [layer.chain_id for layer in layers])

    def _copy(self, unpacker: Unpacker, layer: _Layer) -> None:
        """Fetch a layer; where what an earlier pull had kept of it is damaged, once more from its beginning."""
        descriptor = layer.descriptor
        for attempt in (1, 2):
            partial = Partial(descriptor.digest, descriptor.size)
            try:
                self._copy_resumed(unpacker, layer, partial)
                partial.discard()
                return
            except (StaleError, StorageError) as error:
                # Damaged data may come to the unpacker before it comes to the digest; a full disk wants its room back.
                partial.discard()
                if not partial.was_there or attempt == 2:
                    raise
                log.debug(error.message)
            finally:
                partial.close()

    def _copy_resumed(self, unpacker: Unpacker, layer: _Layer, partial: Partial) -> None:
        descriptor = layer.descriptor
        done = 0
        sink = unpacker.begin(layer.chain_id, layer.diff_id, layer.parent, descriptor.media_type, descriptor.digest)

        def write(chunk: bytes) -> None:
            nonlocal done
            sink.write(chunk)
            done += len(chunk)
            self._progress.layer(descriptor.digest, done, descriptor.size, COPYING)

        try:
            self._registry.resumed_blob(self._place.path, descriptor, write, partial)
            self._progress.layer(descriptor.digest, done, descriptor.size, UNPACKING)
            sink.finish()
        except BaseException:
            sink.abort()
            raise
        self._progress.layer(descriptor.digest, done, descriptor.size, DONE)

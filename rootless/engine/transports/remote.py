"""``docker://``: images of registries as a source and as a target, without the store in between."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from rootless.engine.hosts import Hosts
from rootless.engine.transports.members import unnamed_file
from rootless.engine.transports.model import AS_IS, DOCKER, SourceImage
from rootless.errors import NotFoundError, UsageError
from rootless.image import manifest, reference
from rootless.image.client import AbsentError
from rootless.image.manifest import Descriptor
from rootless.image.reference import Reference
from rootless.image.registry import Registry
from rootless.image.upload import RefusedManifestError, Uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from rootless.engine.transports.model import Read
    from rootless.image.access import Access
    from rootless.image.manifest import Manifest

    T = TypeVar("T")


class RemoteImage(SourceImage):
    """An image of a registry. A blob is fetched into a file without a name, checked, and read from there."""

    def __init__(self, place: Reference, registry: Registry, found: Manifest, digests: list[str]) -> None:
        self._place = place
        self._registry = registry
        super().__init__(str(place), found, registry.small_blob(place.path, found.config), [place.stored])
        self.repo_digests = [f"{place.name}@{digest}" for digest in digests]

    def open(self, index: int) -> Read:
        """A layer's blob."""
        fd = unnamed_file()
        file = os.fdopen(fd, "r+b", buffering=0)

        def write(data: bytes) -> None:
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]

        try:
            self._registry.blob(self._place.path, self.manifest.layers[index], write)
            file.seek(0)
        except BaseException:
            file.close()
            raise

        def read(size: int) -> bytes:
            data = b"" if file.closed else file.read(size)
            if not data:
                file.close()
            return data

        return read

    def close(self) -> None:
        """Close the connections."""
        self._registry.transport.close()


def first_that_has(
    parsed: Reference, access: Access, ask: Callable[[Registry, Reference], T]
) -> tuple[Registry, Reference, T]:
    """The first registry that has the image, its name there, and what ``ask`` found out of it.

    The registry's ``transport`` is to be closed. Raises RegistryError, NotFoundError, and what ``ask`` raises.
    """
    hosts = Hosts(access)
    places = [hosts.endpoints(candidate)[-1] for candidate in hosts.candidates(parsed)]
    transport = hosts.transport(places)
    absent: AbsentError | None = None
    try:
        for place in (endpoint.reference for endpoint in places):
            registry = Registry(place.domain, transport, access=access)
            try:
                return registry, place, ask(registry, place)
            except AbsentError as error:
                absent = error
    except BaseException:
        transport.close()
        raise
    transport.close()
    raise absent or NotFoundError(f"{parsed}: no registry is named for short names", f"docker://docker.io/{parsed}")


def read(text: str, access: Access, platform: str = "") -> RemoteImage:
    """The image that a registry has under a name, for ``platform`` ("" is this machine's).

    Fetches manifest and config only. Raises ImageError, RegistryError.
    """
    wanted = manifest.parse_platform(platform)
    registry, place, (found, digests) = first_that_has(
        reference.parse(text), access, lambda registry, place: registry.image_manifest(place, wanted)
    )
    try:
        return RemoteImage(place, registry, found, digests)
    except BaseException:
        registry.transport.close()
        raise


def target_reference(text: str) -> Reference:
    """Where ``docker://text`` sends to. Raises UsageError, ImageError."""
    parsed = reference.parse(text)
    if not parsed.domain or parsed.digest:
        raise UsageError(f"docker://{text}: it is docker://REGISTRY/NAME[:TAG]")
    return Reference(parsed.domain, parsed.path, parsed.tag or reference.DEFAULT_TAG)


class RemoteTarget:
    """A repository of a registry that images are sent to."""

    def __init__(self, text: str, access: Access) -> None:
        hosts = Hosts(access)
        home = hosts.home(target_reference(text))
        self.place = home.reference
        self._registry = Uploader(self.place.domain, hosts.transport([home]), access=access)

    def close(self) -> None:
        """Close the connections."""
        self._registry.transport.close()

    def put(self, image: SourceImage, *, tag: bool = True) -> Descriptor:
        """Send an image under the tag, or under its digest alone; returns its manifest's descriptor."""
        path = self.place.path
        layers = [self._layer(image, index) for index in range(len(image.manifest.layers))]
        if not self._registry.has(path, image.manifest.config.digest):
            self._registry.blob(path, lambda: iter([image.raw_config]))
        raw, media_type = image.document(layers, AS_IS)
        try:
            return self.put_manifest(raw, media_type, tag=tag)
        except RefusedManifestError:
            if manifest.format_of(media_type) == DOCKER:
                raise
            return self.put_manifest(*image.document(layers, DOCKER), tag=tag)

    def put_manifest(self, raw: bytes, media_type: str, *, tag: bool = True) -> Descriptor:
        """Send a manifest or an index."""
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        self._registry.manifest(self.place.path, self.place.wanted if tag else digest, raw, media_type)
        return Descriptor(media_type, digest, len(raw))

    def _layer(self, image: SourceImage, index: int) -> Descriptor:
        descriptor = image.manifest.layers[index]
        # What the manifest names need not be sent again, also where the source could not give the same bytes.
        if self._registry.has(self.place.path, descriptor.digest):
            return descriptor

        def chunks() -> Iterator[bytes]:
            return image.chunks(index)

        return Descriptor(image.layer_type(index), *self._registry.blob(self.place.path, chunks))

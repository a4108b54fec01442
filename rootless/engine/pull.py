"""``rpod pull``: from a name to a stored image.

::

    name ─► candidates ─► manifest (of an index: the platform's) ─► config
         ─► missing layers, several at once: socket ─► sha256 ─► unpack worker
         ─► record and tag

A blob is unpacked while it arrives; what arrived is kept beside until the layer is stored, so that an
interrupted pull goes on there. Nothing is seen of an image before its record is written, which is last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.engine import hosts
from rootless.engine.crew import Crew
from rootless.errors import ImageError, NotFoundError, RegistryError, StorageError, UsageError
from rootless.image import manifest, reference
from rootless.image import partial as partial_module
from rootless.image import progress as progress_module
from rootless.image.access import PullOptions
from rootless.image.manifest import Index
from rootless.image.partial import Partial
from rootless.image.progress import COPYING, DONE, EXISTS, UNPACKING, WAITING, Progress
from rootless.image.registry import AbsentError, Registry, StaleError
from rootless.image.transport import Transport
from rootless.state import events
from rootless.storage.image_config import ImageConfig
from rootless.storage.image_record import Image, NewImage
from rootless.storage.images import ImageStore, MissingLayersError
from rootless.storage.layers import LayerStore, Unpacker
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from rootless.image.access import Access
    from rootless.image.manifest import Descriptor, Manifest, Platform
    from rootless.image.reference import Reference

# Another command may remove a layer between our look and our record; more often than this is no accident.
_ADD_ATTEMPTS = 3


def pull(name: str, wanted: PullOptions | None = None, progress: Progress | None = None) -> Image:
    """Pull the image ``name`` as ``wanted`` says and return it.

    Raises ImageError, RegistryError, StorageError, NotFoundError.
    """
    from rootless.engine import images

    wanted = wanted or PullOptions()
    platform = manifest.parse_platform(wanted.platform)
    policy = wanted.policy
    local = images.find(name, wanted.platform) if policy != "always" else None
    if local is not None and policy in ("missing", "never"):
        return local
    if policy == "never":
        raise NotFoundError(f"{name}: no such image here, and the policy is never", f"rpod pull {name}")
    parsed = reference.parse(name)
    shown = progress or progress_module.choose(quiet=wanted.quiet)
    access = wanted.access
    transport = Transport(hosts.insecure(hosts.remote_candidates(parsed), access.tls_verify), cert_dir=access.cert_dir)
    try:
        if local is not None and (policy != "newer" or _is_current(local, parsed, transport, access)):
            return local
        image = _pull_first(parsed, wanted, platform, transport, shown)
        events.of_image("pull", image.id, name)
        return image
    except RegistryError as error:
        if local is None:
            raise
        log.info(f"{error.message}; the image that is here serves")
        return local
    finally:
        shown.close()
        transport.close()


def is_current(name: str, image: Image, access: Access) -> bool:
    """Whether the registry has ``image`` under ``name``. Raises ImageError, RegistryError."""
    parsed = reference.parse(name)
    transport = Transport(hosts.insecure(hosts.remote_candidates(parsed), access.tls_verify), cert_dir=access.cert_dir)
    try:
        return _is_current(image, parsed, transport, access)
    finally:
        transport.close()


def pull_all_tags(name: str, wanted: PullOptions) -> list[Image]:
    """Pull every tag of the repository ``name``. Raises as ``pull``, at the first tag that fails."""
    parsed = reference.parse(name)
    if parsed.tag or parsed.digest:
        raise UsageError(f"{name}: with --all-tags a repository is named, without tag and digest")
    access = wanted.access
    failures: list[AbsentError] = []
    transport = Transport(hosts.insecure(hosts.remote_candidates(parsed), access.tls_verify), cert_dir=access.cert_dir)
    try:
        for candidate in hosts.remote_candidates(parsed):
            try:
                tags = Registry(candidate.domain, transport, access=access).tags(candidate.path)
            except AbsentError as error:
                failures.append(error)
                continue
            return [pull(f"{candidate.name}:{tag}", wanted) for tag in tags]
    finally:
        transport.close()
    raise _not_found(parsed, failures)


def _is_current(local: Image, parsed: Reference, transport: Transport, access: Access) -> bool:
    """Whether the registry from which ``local`` came still has it under this name."""
    known = {entry.partition("@")[2] for entry in local.repo_digests}
    for candidate in hosts.remote_candidates(parsed):
        if any(entry.startswith(f"{candidate.name}@") for entry in local.repo_digests):
            return Registry(candidate.domain, transport, access=access).current_digest(candidate) in known
    return False


def _pull_first(
    parsed: Reference, wanted: PullOptions, platform: Platform, transport: Transport, progress: Progress
) -> Image:
    """Pull from the first candidate's registry that has the image.

    Only one that does not have it sends the search on: a registry that fails or cannot be
    trusted must not make another one's image of that name run in its place.
    """
    failures: list[AbsentError] = []
    for candidate in hosts.remote_candidates(parsed):
        progress.message(f"Trying to pull {candidate.stored}...")
        job = _Pull(candidate, transport, progress, wanted.access)
        try:
            found, digests = job.manifest(platform)
        except AbsentError as error:
            failures.append(error)
        else:
            return job.run(found, digests, platform, strict=bool(wanted.platform))
    raise _not_found(parsed, failures)


def _not_found(parsed: Reference, failures: list[AbsentError]) -> RegistryError:
    """What is said when no registry has it."""
    if not failures:
        return RegistryError(
            f"{parsed}: no registry is named for short names",
            f'type the full name, such as docker.io/{parsed}, or set registries.search = ["docker.io"]',
        )
    if len(failures) == 1:
        return failures[0]
    return RegistryError(f"{parsed}: " + "; ".join(error.message for error in failures), failures[-1].hint)


class _Layer:
    """One layer of the image: what the registry calls it and what it becomes here."""

    __slots__ = ("chain_id", "descriptor", "diff_id", "parent")

    def __init__(self, descriptor: Descriptor, diff_id: str, chain_id: str, parent: str) -> None:
        self.descriptor = descriptor
        self.diff_id = diff_id
        self.chain_id = chain_id
        self.parent = parent


class _Pull:
    """One pull of one full reference."""

    def __init__(self, wanted: Reference, transport: Transport, progress: Progress, access: Access) -> None:
        self._reference = wanted
        self._transport = transport
        self._progress = progress
        self._registry = Registry(wanted.domain, transport, access=access)
        self._layers = LayerStore(paths.data())
        self._images = ImageStore(paths.data())

    def run(self, found: Manifest, digests: list[str], platform: Platform, *, strict: bool) -> Image:
        """Fetch and store what ``manifest`` found; with ``strict`` an image for another platform is an error."""
        raw_config = self._registry.small_blob(self._reference.path, found.config)
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
        raise lost

    def manifest(self, platform: Platform) -> tuple[Manifest, list[str]]:
        """The image's manifest, and the digests under which the registry knows it."""
        found = self._registry.manifest(self._reference)
        digests = [found.digest]
        if isinstance(found, Index):
            chosen = found.choose(platform, str(self._reference))
            found = self._registry.manifest(self._reference, chosen.digest)
            if isinstance(found, Index):
                raise ImageError(f"{self._reference}: its index lists an index as an image")
            if len(found.raw) != chosen.size:
                raise ImageError(f"{self._reference}: its manifest has another size than its index says")
            digests.append(found.digest)
        return found, digests

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
            crew.run(missing)

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
            self._registry.resumed_blob(self._reference.path, descriptor, write, partial)
            self._progress.layer(descriptor.digest, done, descriptor.size, UNPACKING)
            sink.finish()
        except BaseException:
            sink.abort()
            raise
        self._progress.layer(descriptor.digest, done, descriptor.size, DONE)

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
from rootless.engine import budget
from rootless.engine.fetch import Fetch
from rootless.engine.hosts import Hosts
from rootless.errors import NotFoundError, RegistryError, UsageError
from rootless.image import manifest, reference
from rootless.image import progress as progress_module
from rootless.image.access import Access, PullOptions
from rootless.image.registry import AbsentError, Registry
from rootless.state import events
from rootless.storage import last_use

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from rootless.image.manifest import Platform
    from rootless.image.progress import Progress
    from rootless.image.reference import Reference
    from rootless.image.registries import Endpoint
    from rootless.image.transport import Transport
    from rootless.storage.image_record import Image

    T = TypeVar("T")


def pull(name: str, wanted: PullOptions | None = None, progress: Progress | None = None) -> Image:
    """Pull the image ``name``, or the one at the place ``name``, as ``wanted`` says and return it.

    Raises ImageError, RegistryError, StorageError, NotFoundError.
    """
    from rootless.engine import image_copy, images

    wanted = wanted or PullOptions()
    if images.is_place(name):
        return image_copy.take(name, wanted)
    platform = manifest.parse_platform(wanted.platform)
    policy = wanted.policy
    local = images.find(name, wanted.platform) if policy != "always" else None
    if local is not None:
        last_use.note(paths.data(), local.id)
    if local is not None and policy in ("missing", "never"):
        return local
    if policy == "never":
        raise NotFoundError(f"{name}: no such image here, and the policy is never", f"rpod pull {name}")
    parsed = reference.parse(name)
    hosts = Hosts(wanted.access)
    shown = progress or progress_module.choose(quiet=wanted.quiet)
    try:
        if local is not None and (policy != "newer" or _is_current(local, parsed, hosts)):
            return local
        image = _pull_first(parsed, wanted, platform, hosts, shown)
    except RegistryError as error:
        if local is None:
            raise
        log.info(f"{error.message}; the image that is here serves")
        return local
    finally:
        shown.close()
    events.of_image("pull", image.id, name)
    budget.keep()
    return image


def is_current(name: str, image: Image, access: Access) -> bool:
    """Whether the registry has ``image`` under ``name``. Raises ImageError, RegistryError."""
    return _is_current(image, reference.parse(name), Hosts(access))


def pull_all_tags(name: str, wanted: PullOptions) -> list[Image]:
    """Pull every tag of the repository ``name``. Raises as ``pull``, at the first tag that fails."""
    from rootless.engine import images

    if images.is_place(name):
        raise UsageError(f"{name}: --all-tags asks a registry", f"rpod load --input {name.split(':')[1]}")
    parsed = reference.parse(name)
    if parsed.tag or parsed.digest:
        raise UsageError(f"{name}: with --all-tags a repository is named, without tag and digest")
    hosts = Hosts(wanted.access)
    failures: list[AbsentError] = []
    for candidate in hosts.candidates(parsed):
        try:
            tags = _at_endpoints(
                candidate,
                hosts,
                lambda place, transport, access: Registry(place.domain, transport, access=access).tags(place.path),
            )
        except AbsentError as error:
            failures.append(error)
            continue
        return [pull(f"{candidate.name}:{tag}", wanted) for tag in tags]
    raise _not_found(parsed, failures)


def _at_endpoints(candidate: Reference, hosts: Hosts, work: Callable[[Reference, Transport, Access], T]) -> T:
    """Do ``work`` at the first of the candidate's mirrors, and its registry, that does not fail."""
    endpoints = hosts.endpoints(candidate)
    for endpoint in endpoints:
        transport = hosts.transport([endpoint])
        try:
            return work(endpoint.reference, transport, _access(endpoint, hosts.access))
        except RegistryError as error:
            if endpoint is endpoints[-1]:
                raise
            log.warn(f"the mirror {endpoint.reference.domain} failed: {error.message}")
        finally:
            transport.close()
    raise AssertionError("there is always an endpoint")


def _access(endpoint: Endpoint, given: Access) -> Access:
    """What the command line says, without the password for the registry where a mirror of it is asked."""
    if not endpoint.is_mirror or not given.creds:
        return given
    return Access(
        authfile=given.authfile,
        cert_dir=given.cert_dir,
        tls_verify=given.tls_verify,
        retries=given.retries,
        retry_delay_s=given.retry_delay_s,
    )


def _is_current(local: Image, parsed: Reference, hosts: Hosts) -> bool:
    """Whether the registry from which ``local`` came still has it under this name."""
    known = {entry.partition("@")[2] for entry in local.repo_digests}
    for candidate in hosts.candidates(parsed):
        if any(entry.startswith(f"{candidate.name}@") for entry in local.repo_digests):
            digest = _at_endpoints(
                candidate,
                hosts,
                lambda place, transport, access: Registry(place.domain, transport, access=access).current_digest(place),
            )
            return digest in known
    return False


def _pull_first(parsed: Reference, wanted: PullOptions, platform: Platform, hosts: Hosts, progress: Progress) -> Image:
    """Pull from the first candidate's registry that has the image.

    Only one that does not have it sends the search on: a registry that fails or cannot be
    trusted must not make another one's image of that name run in its place.
    """
    failures: list[AbsentError] = []
    for candidate in hosts.candidates(parsed):
        progress.message(f"Trying to pull {candidate.stored}...")

        def fetch(place: Reference, transport: Transport, access: Access, wanted_here: Reference = candidate) -> Image:
            job = Fetch(wanted_here, place, transport, progress, access)
            found, digests = job.manifest(platform)
            try:
                return job.run(found, digests, platform, strict=bool(wanted.platform))
            except AbsentError as error:  # of a blob: the image itself is there
                raise RegistryError(error.message, error.hint) from error

        try:
            return _at_endpoints(candidate, hosts, fetch)
        except AbsentError as error:
            failures.append(error)
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

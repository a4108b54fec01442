"""A client of the OCI distribution API: manifests and blobs of one registry.

Whatever comes back is checked against its digest and its size before anybody uses it.
How requests are made, and whom credentials are told, is ``image.client``'s.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from rootless.errors import ImageError, RegistryError
from rootless.image import manifest
from rootless.image.client import AbsentError, Client, DeniedError
from rootless.image.manifest import Index
from rootless.image.reference import check_digest
from rootless.image.transport import TransientError
from rootless.kernel import fastjson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.image.manifest import Descriptor, Manifest, Platform
    from rootless.image.partial import Partial
    from rootless.image.reference import Reference

_PAGE = 1000
_MAX_PAGES = 1000

__all__ = ["AbsentError", "DeniedError", "Registry", "StaleError"]


class StaleError(RegistryError):
    """What an earlier pull had kept of a blob is not of this blob: it must be fetched from its beginning."""


class Registry(Client):
    """One registry as seen for pulling."""

    def manifest(self, reference: Reference, digest: str = "") -> Manifest | Index:
        """The manifest of ``reference``, or the one with ``digest`` in its repository (an index chose it)."""
        wanted = digest or reference.wanted
        path = f"/v2/{reference.path}/manifests/{quote(wanted, safe=':')}"
        with self.request("GET", path, reference.path, {"Accept": ", ".join(manifest.ACCEPTED)}) as response:
            self.expect(response, f"{reference.name}{'@' if wanted.startswith('sha256:') else ':'}{wanted}")
            length = response.length()
            if length is not None and length > manifest.MAX_BYTES:
                raise ImageError(f"the manifest is larger than {manifest.MAX_BYTES >> 20} MiB")
            raw = response.body(manifest.MAX_BYTES)
            told = response.header("Docker-Content-Digest")
            content_type = response.header("Content-Type").partition(";")[0].strip().lower()
        found = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        for expected in (wanted if wanted.startswith("sha256:") else "", told):
            if expected.startswith("sha256:") and check_digest(expected) != found:
                raise RegistryError(f"{self.domain} sent a manifest with the digest {found} instead of {expected}")
        return manifest.parse(raw, content_type, found)

    def image_manifest(self, reference: Reference, platform: Platform) -> tuple[Manifest, list[str]]:
        """The manifest of an image (of an index ``platform``'s), and the digests under which the registry knows it.

        Raises ImageError for an index that does not have it, or that contradicts its manifest.
        """
        found = self.manifest(reference)
        digests = [found.digest]
        if isinstance(found, Index):
            chosen = found.choose(platform, str(reference))
            found = self.manifest(reference, chosen.digest)
            if isinstance(found, Index):
                raise ImageError(f"{reference}: its index lists an index as an image")
            if len(found.raw) != chosen.size:
                raise ImageError(f"{reference}: its manifest has another size than its index says")
            digests.append(found.digest)
        return found, digests

    def current_digest(self, reference: Reference) -> str:
        """The digest that the registry says the tag has now, "" if it does not say. Downloads nothing."""
        path = f"/v2/{reference.path}/manifests/{quote(reference.wanted, safe=':')}"
        headers = {"Accept": ", ".join(manifest.ACCEPTED)}
        with self.request("HEAD", path, reference.path, headers) as response:
            self.expect(response, str(reference))
            return response.header("Docker-Content-Digest")

    def tags(self, repository: str) -> list[str]:
        """Every tag of a repository (distribution-spec, "Listing Tags"), page by page."""
        return list(self.listed(f"/v2/{repository}/tags/list?n={_PAGE}", repository, "tags"))

    def listed(self, target: str, repository: str, key: str) -> Iterator[str]:
        """The strings under ``key`` of a list that comes in pages, each with a link to the next."""
        for _ in range(_MAX_PAGES):
            with self.request("GET", target, repository) as response:
                self.expect(response, f"{self.domain}/{repository}" if repository else self.domain)
                items = _strings(response.body(manifest.MAX_BYTES), key, self.domain)
                target = next_page(response.header("Link"))
            yield from items
            if not target:
                return
        raise RegistryError(f"{self.domain}: the list has no end")

    def blob(self, repository: str, descriptor: Descriptor, write: Callable[[bytes], object]) -> None:
        """Stream a blob into ``write``; returns when size and digest were right.

        A broken connection is taken up again where it broke. What ``write`` was given may
        only be used after this has returned. Raises RegistryError, and what ``write`` raises.
        """
        self._stream(repository, descriptor, write, None)

    def resumed_blob(
        self, repository: str, descriptor: Descriptor, write: Callable[[bytes], object], partial: Partial
    ) -> None:
        """``blob``, beginning with what ``partial`` has kept, and keeping what comes.

        Raises StaleError where what was kept was wrong; it is discarded then.
        """
        self._stream(repository, descriptor, write, partial)

    def _stream(
        self, repository: str, descriptor: Descriptor, write: Callable[[bytes], object], partial: Partial | None
    ) -> None:
        digest = hashlib.sha256()
        done = 0
        for chunk in partial.kept() if partial else ():
            digest.update(chunk)
            write(chunk)
            done += len(chunk)
        resumed = done
        failures = 0
        while done < descriptor.size or not resumed:
            try:
                for chunk in self._blob_from(repository, descriptor, done):
                    done += len(chunk)
                    if done > descriptor.size:
                        raise RegistryError(f"{self._blob_name(descriptor)} is longer than the manifest says")
                    digest.update(chunk)
                    if partial:
                        partial.write(chunk)
                    write(chunk)
                if done < descriptor.size:
                    raise TransientError(f"{self._blob_name(descriptor)} ended after {done} of {descriptor.size} bytes")
                break
            except TransientError:
                failures += 1
                if failures >= self.attempts:
                    raise
                self.transport.pause(self.retry_delay_s * 2 ** (failures - 1))
        if f"sha256:{digest.hexdigest()}" == descriptor.digest:
            return
        if partial:
            partial.discard()
        if resumed:
            raise StaleError(f"{self._blob_name(descriptor)}: what was kept of an earlier pull is damaged")
        raise RegistryError(f"{self._blob_name(descriptor)} has other bytes than its digest says", "pull it again")

    def small_blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A blob in memory, for configs; the manifest's parser has bounded its size."""
        parts: list[bytes] = []
        self.blob(repository, descriptor, parts.append)
        return b"".join(parts)

    def _blob_name(self, descriptor: Descriptor) -> str:
        return f"{self.domain}: blob {descriptor.digest[:19]}"

    def _blob_from(self, repository: str, descriptor: Descriptor, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self.request("GET", f"/v2/{repository}/blobs/{descriptor.digest}", repository, headers) as response:
            self.expect(response, f"blob {descriptor.digest[:19]} of {self.domain}/{repository}")
            skip = start
            if start and response.status == 206:
                if not response.header("Content-Range").startswith(f"bytes {start}-"):
                    raise RegistryError(f"{self._blob_name(descriptor)}: another part than asked for was sent")
                skip = 0
            length = response.length()
            if length is not None and length != descriptor.size - start + skip:
                raise RegistryError(
                    f"{self._blob_name(descriptor)} has {length} bytes, the manifest says {descriptor.size}"
                )
            for chunk in response.chunks():
                dropped = min(skip, len(chunk))
                skip -= dropped
                if len(chunk) > dropped:
                    yield chunk[dropped:]


def _strings(body: bytes, key: str, domain: str) -> list[str]:
    try:
        document = fastjson.loads(body)
    except fastjson.JSONError:
        document = None
    found = document.get(key) if isinstance(document, dict) else False
    if found is None:  # a repository without tags
        return []
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise RegistryError(f"{domain} sent no list of {key}")
    return found


def next_page(link: str) -> str:
    """The path in ``<PATH>; rel="next"`` (RFC 8288), "" without one; only a path of the same registry is followed."""
    target, _, rest = link.partition(">")
    if not target.startswith("</") or target.startswith("<//") or "next" not in rest:
        return ""
    return target[1:]

"""Pushing to one registry: blobs that are not there yet, and the manifest, which comes last.

Distribution-spec, "Push": a blob is opened with POST, filled with PATCH, closed with PUT; a
small one comes with the PUT. What another repository of the registry has is mounted.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urljoin

from rootless.errors import RegistryError
from rootless.image.client import Client
from rootless.image.transport import TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.image.transport import Response

_OCTETS = {"Content-Type": "application/octet-stream"}
_SMALL_BYTES = 4 << 20


class RefusedManifestError(RegistryError):
    """The registry does not take a manifest of this kind."""


class Uploader(Client):
    """One repository of a registry as seen for pushing."""

    actions = "pull,push"

    def has(self, repository: str, digest: str) -> bool:
        """Whether the blob is there."""
        with self.request("HEAD", f"/v2/{repository}/blobs/{digest}", repository) as response:
            if response.status == 404:
                return False
            self.expect(response, f"blob {digest[:19]}")
            return True

    def mount(self, repository: str, digest: str, source: str) -> bool:
        """Take the blob from another repository of the registry, where that is allowed and possible."""
        query = urlencode({"mount": digest, "from": source})
        with self.request("POST", f"/v2/{repository}/blobs/uploads/?{query}", repository, body=b"") as response:
            if response.status == 201:
                return True
            location = self._location(response) if response.status == 202 else ""
        if location:  # an upload was opened in its place: it is not needed
            with self.request("DELETE", location, repository):
                pass
        return False

    def blob(self, repository: str, chunks: Callable[[], Iterator[bytes]]) -> tuple[str, int]:
        """Send a blob and return its digest and size; ``chunks`` gives its bytes, again for each attempt."""
        for attempt in range(1, self.attempts + 1):
            try:
                return self._blob(repository, chunks())
            except TransientError:
                if attempt == self.attempts:
                    raise
                self.transport.pause(self.retry_delay_s * 2 ** (attempt - 1))
        raise AssertionError("the last attempt returns or raises")

    def _blob(self, repository: str, chunks: Iterator[bytes]) -> tuple[str, int]:
        hashing = hashlib.sha256()
        size = 0
        start: list[bytes] = []
        for chunk in chunks:
            hashing.update(chunk)
            size += len(chunk)
            start.append(chunk)
            if size > _SMALL_BYTES:
                break
        else:
            self._close(repository, self._open(repository), f"sha256:{hashing.hexdigest()}", b"".join(start))
            return f"sha256:{hashing.hexdigest()}", size

        def body() -> Iterator[bytes]:
            nonlocal size
            yield from start
            start.clear()
            for chunk in chunks:
                hashing.update(chunk)
                size += len(chunk)
                yield chunk

        with self.request("PATCH", self._open(repository), repository, _OCTETS, body()) as response:
            self._expect_upload(response)
            location = self._location(response)
        digest = f"sha256:{hashing.hexdigest()}"
        self._close(repository, location, digest, b"")
        return digest, size

    def _open(self, repository: str) -> str:
        with self.request("POST", f"/v2/{repository}/blobs/uploads/", repository, body=b"") as response:
            self._expect_upload(response)
            return self._location(response)

    def _close(self, repository: str, location: str, digest: str, body: bytes) -> None:
        address = f"{location}{'&' if '?' in location else '?'}digest={quote(digest, safe='')}"
        with self.request("PUT", address, repository, _OCTETS, body) as response:
            self._expect_upload(response)

    def _expect_upload(self, response: Response) -> None:
        """The registry may be full, read-only, or not for this user."""
        if 300 <= response.status < 400:
            raise RegistryError(f"{self.domain} redirects an upload: refused")
        if response.status >= 500 or response.status == 429:
            raise TransientError(f"{self.domain} answers {response.status} to an upload", "try again later")
        self.expect(response, f"the upload to {self.domain}")

    def _location(self, response: Response) -> str:
        """Where an upload goes on. RegistryError for another scheme or none."""
        location = response.header("Location")
        target = urljoin(f"{response.origin}/", location) if location else ""
        if not target.startswith(f"{response.origin.scheme}://") and not target.startswith("https://"):
            raise RegistryError(f"{self.domain} does not say where an upload goes on")
        return target

    def manifest(self, repository: str, wanted: str, raw: bytes, media_type: str) -> None:
        """Store a manifest under a tag or its digest. Raises RefusedManifestError, RegistryError."""
        path = f"/v2/{repository}/manifests/{quote(wanted, safe=':')}"
        with self.request("PUT", path, repository, {"Content-Type": media_type}, raw) as response:
            if response.status in (400, 415):
                raise RefusedManifestError(f"{self.domain} does not take the manifest of {repository}: {media_type}")
            self.expect(response, f"the manifest of {repository}")
            told = response.header("Docker-Content-Digest")
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        if told.startswith("sha256:") and told != digest:
            raise RegistryError(f"{self.domain} stored the manifest as {told} instead of {digest}")

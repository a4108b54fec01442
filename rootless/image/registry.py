"""A client of the OCI distribution API: manifests and blobs of one registry.

Whatever comes back is checked against its digest and its size before anybody uses it.
Credentials and tokens go to the registry's own origin (scheme, host, port) and to a token
service that ``auth.trusts_realm`` accepts, nowhere else.
"""

from __future__ import annotations

import email.utils
import hashlib
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode, urljoin, urlsplit

from rootless.errors import ImageError, RegistryError
from rootless.image import auth, manifest
from rootless.image.reference import DOCKER_DOMAIN, check_digest
from rootless.image.transport import NotTLSError, Origin, Response, TransientError, Transport, UnreachableError
from rootless.kernel import fastjson
from rootless.log import printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.image.manifest import Descriptor, Index, Manifest
    from rootless.image.reference import Reference

_DOCKER_HOST = "registry-1.docker.io"
_REDIRECTS = (301, 302, 303, 307, 308)
_RETRIED = (429, 500, 502, 503, 504)
_MAX_REDIRECTS = 5
_MAX_RETRY_AFTER_S = 60.0
_TOKEN_LIMIT_BYTES = 1 << 20
_LOGIN_HINT = "log in with podman login or docker login: their files of credentials are read"


class AbsentError(RegistryError):
    """The registry does not have it, or does not show it to this user."""


class Registry:
    """One registry as seen for pulling. ``retry_delay_s`` doubles from one attempt to the next."""

    attempts = 4

    def __init__(
        self, domain: str, transport: Transport, *, retry_delay_s: float = 0.5, use_credentials: bool = True
    ) -> None:
        self.domain = domain
        self.transport = transport
        self._host = _DOCKER_HOST if domain == DOCKER_DOMAIN else domain
        self._retry_delay_s = retry_delay_s
        self._use_credentials = use_credentials
        self._authorization: dict[str, str] = {}
        self._lock = threading.Lock()
        self._base = ""

    # ---- what callers ask

    def manifest(self, reference: Reference, digest: str = "") -> Manifest | Index:
        """The manifest of ``reference``, or the one with ``digest`` in its repository (an index chose it)."""
        wanted = digest or reference.wanted
        path = f"/v2/{reference.path}/manifests/{quote(wanted, safe=':')}"
        with self._get(path, reference.path, {"Accept": ", ".join(manifest.ACCEPTED)}) as response:
            self._expect_found(response, f"{reference.name}{'@' if wanted.startswith('sha256:') else ':'}{wanted}")
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

    def current_digest(self, reference: Reference) -> str:
        """The digest that the registry says the tag has now, "" if it does not say. Downloads nothing."""
        path = f"/v2/{reference.path}/manifests/{quote(reference.wanted, safe=':')}"
        headers = {"Accept": ", ".join(manifest.ACCEPTED)}
        with self._get(path, reference.path, headers, method="HEAD") as response:
            self._expect_found(response, str(reference))
            return response.header("Docker-Content-Digest")

    def blob(self, repository: str, descriptor: Descriptor, write: Callable[[bytes], object]) -> None:
        """Stream a blob into ``write``; returns when size and digest were right.

        A broken connection is taken up again where it broke. What ``write`` was given may
        only be used after this has returned. Raises RegistryError, and what ``write`` raises.
        """
        digest = hashlib.sha256()
        done = 0
        failures = 0
        while True:
            try:
                for chunk in self._blob_from(repository, descriptor, done):
                    done += len(chunk)
                    if done > descriptor.size:
                        raise RegistryError(f"{self._blob_name(descriptor)} is longer than the manifest says")
                    digest.update(chunk)
                    write(chunk)
                if done < descriptor.size:
                    raise TransientError(f"{self._blob_name(descriptor)} ended after {done} of {descriptor.size} bytes")
                break
            except TransientError:
                failures += 1
                if failures >= self.attempts:
                    raise
                self.transport.pause(self._retry_delay_s * 2 ** (failures - 1))
        if f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise RegistryError(f"{self._blob_name(descriptor)} has other bytes than its digest says", "pull it again")

    def small_blob(self, repository: str, descriptor: Descriptor) -> bytes:
        """A blob in memory, for configs; the manifest's parser has bounded its size."""
        parts: list[bytes] = []
        self.blob(repository, descriptor, parts.append)
        return b"".join(parts)

    def _blob_name(self, descriptor: Descriptor) -> str:
        return f"{self.domain}: blob {descriptor.digest[:19]}"

    def _blob_from(self, repository: str, descriptor: Descriptor, start: int) -> Chunks:
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._get(f"/v2/{repository}/blobs/{descriptor.digest}", repository, headers) as response:
            self._expect_found(response, f"blob {descriptor.digest[:19]} of {self.domain}/{repository}")
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

    # ---- requests: base address, authentication, redirects, retries

    def _get(self, path: str, repository: str, headers: dict[str, str], method: str = "GET") -> Response:
        """An answer that is neither a challenge, a redirect nor a passing failure; its status may be an error."""
        url = self._base_url() + path
        response = self._send(method, url, {**headers, **self._auth_header(repository)})
        if response.status == 401 and response.origin == Origin.of(url):
            challenge = response.header("WWW-Authenticate")
            with response:
                pass
            self._authenticate(challenge, repository)
            response = self._send(method, url, {**headers, **self._auth_header(repository)})
        return response

    def _send(self, method: str, url: str, headers: dict[str, str]) -> Response:
        """Follow redirects: credentials stay with the origin that they were meant for."""
        home = Origin.of(url)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._try(method, url, headers)
            if response.status not in _REDIRECTS:
                return response
            with response:
                location = response.header("Location")
            try:
                target = urljoin(url, location)
            except ValueError:
                raise RegistryError(f"{self.domain} redirects to {printable(location[:100])!r}: refused") from None
            origin = Origin.of(target)
            if response.origin.scheme == "https" and origin.scheme == "http":
                raise RegistryError(f"{self.domain} redirects from https to http ({origin.host}): refused")
            if origin != home:
                headers = {key: value for key, value in headers.items() if key != "Authorization"}
            url = target
        raise RegistryError(f"{self.domain} redirects more than {_MAX_REDIRECTS} times")

    def _try(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Response:
        """Send, and again after a passing failure, with growing pauses or as Retry-After says."""
        for attempt in range(1, self.attempts + 1):
            delay_s = self._retry_delay_s * 2 ** (attempt - 1)
            try:
                response = self.transport.request(method, url, headers, body)
            except TransientError:
                if attempt == self.attempts:
                    raise
            else:
                if response.status not in _RETRIED or attempt == self.attempts:
                    return response
                asked_s = _retry_after(response.header("Retry-After"))
                if asked_s > _MAX_RETRY_AFTER_S:
                    return response
                with response:
                    delay_s = max(delay_s, asked_s)
            self.transport.pause(delay_s)
        raise AssertionError("the last attempt returns or raises")

    def _base_url(self) -> str:
        """https, always; only an insecure registry that does not speak TLS is spoken to in http."""
        with self._lock:
            if self._base:
                return self._base
            secure = f"https://{self._host}"
            self._base = secure
            plain = f"http://{self._host}"
            insecure = self.transport.insecure
            if Origin.of(secure).is_any_of(insecure) or Origin.of(plain).is_any_of(insecure):
                try:
                    with self.transport.request("GET", f"{secure}/v2/"):
                        pass
                except (NotTLSError, UnreachableError, TransientError):
                    self._base = plain
            return self._base

    def _auth_header(self, repository: str) -> dict[str, str]:
        value = self._authorization.get(repository) or self._authorization.get("")
        return {"Authorization": value} if value else {}

    def _authenticate(self, header: str, repository: str) -> None:
        """Answer a 401: with a token for this repository, or with the password itself."""
        challenges = {challenge.scheme: challenge for challenge in reversed(auth.parse_challenges(header))}
        credentials = auth.find_credentials(self.domain, repository) if self._use_credentials else None
        with self._lock:
            if bearer := challenges.get("bearer"):
                self._authorization[repository] = "Bearer " + self._token(bearer, repository, credentials)
            elif "basic" not in challenges:
                raise RegistryError(
                    f"{self.domain} asks for a kind of login that is not known: {printable(header[:80])}"
                )
            elif credentials is None or not credentials.user:
                raise AbsentError(f"{self.domain} asks for a password, and none is known", _LOGIN_HINT)
            elif self._authorization.get("") == credentials.basic:
                raise self._denied(repository)
            else:
                self._authorization[""] = credentials.basic

    def _denied(self, repository: str) -> AbsentError:
        return AbsentError(
            f"{self.domain} denies access to {repository}", f"the image may not exist, or: {_LOGIN_HINT}"
        )

    def _token(self, challenge: auth.Challenge, repository: str, credentials: auth.Credentials | None) -> str:
        """A token from the service that the challenge names (distribution's token authentication).

        The scope is ours, not the challenge's: a registry cannot have a token made for
        anything but pulling what was asked for.
        """
        realm = challenge.parameters.get("realm", "")
        service = challenge.parameters.get("service", "")
        origin, registry = Origin.of(realm), Origin.of(self._base)
        if registry.scheme == "https" and origin.scheme != "https":
            raise RegistryError(f"{self.domain} wants a login without TLS at {origin.host}: refused")
        self.transport.treat_alike(registry, origin)
        if credentials and not auth.trusts_realm(registry.host, origin.host):
            credentials = auth.find_credentials(origin.host)
        query = {"service": service, "scope": f"repository:{repository}:pull"}
        if credentials and credentials.identity_token:
            form = {**query, "grant_type": "refresh_token", "client_id": "rpod"}
            form["refresh_token"] = credentials.identity_token
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._try("POST", realm, kind, urlencode(form).encode())
        else:
            headers = {"Authorization": credentials.basic} if credentials else {}
            if credentials:
                query["account"] = credentials.user
            separator = "&" if urlsplit(realm).query else "?"
            response = self._try("GET", f"{realm}{separator}{urlencode(query)}", headers)
        with response:
            if response.status in (400, 401, 403):
                raise self._denied(repository)
            if response.status != 200:
                raise RegistryError(f"the token service {origin.host} answers {response.status}", "try again later")
            return _read_token(response.body(_TOKEN_LIMIT_BYTES), origin.host)

    def _expect_found(self, response: Response, what: str) -> None:
        """Turn an error status into an error that says what to do."""
        status = response.status
        if status in (200, 206):
            return
        if status == 404:
            raise AbsentError(f"{what}: the registry has no such image", "check the name and the tag")
        if status == 401 and response.origin != Origin.of(self._base):
            raise RegistryError(
                f"{self.domain} redirects to {response.origin.host}, which asks for a login",
                f"pull from {response.origin.host} itself",
            )
        if status in (401, 403):
            raise AbsentError(f"{what}: {self.domain} denies access", f"the image may not exist, or: {_LOGIN_HINT}")
        if status == 429:
            wait = response.header("Retry-After")
            raise RegistryError(
                f"{self.domain} lets nobody pull more now (429 too many requests)",
                f"wait {printable(wait)[:30]} s" if wait else f"wait, or {_LOGIN_HINT}",
            )
        raise RegistryError(f"{what}: {self.domain} answers {status}{_told(response)}", "try again later")


if TYPE_CHECKING:
    from collections.abc import Iterator

    Chunks = Iterator[bytes]


def _read_token(body: bytes, host: str) -> str:
    try:
        document = fastjson.loads(body)
    except fastjson.JSONError:
        document = None
    token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
    # A token goes into a header: anything but visible ASCII could begin another one.
    if not isinstance(token, str) or not token.isascii() or not token.isprintable() or " " in token:
        raise RegistryError(f"the token service {host} sent no token")
    return token


def _retry_after(value: str) -> float:
    """Retry-After (RFC 9110, section 10.2.3) in seconds; 0 where it is missing or makes no sense."""
    if value.isascii() and value.isdecimal():
        return float(value[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0


def _told(response: Response) -> str:
    """What the registry says about an error (distribution-spec, "Error Codes"), for people."""
    try:
        document = fastjson.loads(response.body(65536))
    except (fastjson.JSONError, RegistryError):
        return ""
    errors = document.get("errors") if isinstance(document, dict) else None
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return f": {printable(str(errors[0].get('message') or errors[0].get('code')))[:200]}"
    return ""

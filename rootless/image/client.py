"""Requests to one registry: its address, logins, redirects, passing failures.

Credentials and tokens go to the registry's own origin (scheme, host, port) and to a token
service that ``challenge.trusts_realm`` accepts, nowhere else.
"""

from __future__ import annotations

import email.utils
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urljoin, urlsplit

from rootless.errors import RegistryError
from rootless.image import challenge as challenges_of
from rootless.image import credentials as stored
from rootless.image.access import Access
from rootless.image.reference import DOCKER_DOMAIN
from rootless.image.transport import NotTLSError, Origin, Response, TransientError, Transport, UnreachableError
from rootless.kernel import fastjson
from rootless.log import printable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootless.image.access import Credentials

_DOCKER_HOST = "registry-1.docker.io"
_REDIRECTS = (301, 302, 303, 307, 308)
_RETRIED = (429, 500, 502, 503, 504)
_MAX_REDIRECTS = 5
_MAX_RETRY_AFTER_S = 60.0
_RETRY_DELAY_S = 0.5
_TOKEN_LIMIT_BYTES = 1 << 20


class AbsentError(RegistryError):
    """The registry does not have it, or does not show it to this user."""


class DeniedError(AbsentError):
    """The registry asks for a login that was not given, or was wrong."""


class Client:
    """One registry. ``actions`` is what a token is asked for: ``pull``, or ``pull,push``.

    ``host`` is where to ask if not at ``domain``. The pause before another attempt doubles from one to the next.
    """

    actions = "pull"

    def __init__(
        self,
        domain: str,
        transport: Transport,
        *,
        access: Access | None = None,
        retry_delay_s: float = 0.0,
        host: str = "",
    ) -> None:
        self.domain = domain
        self.transport = transport
        self.access = access or Access()
        self._given = self.access.given()
        self.attempts = self.access.retries + 1
        self.also_pull: list[str] = []  # repositories whose blobs a push mounts
        self.scope_without_repository = ""
        self._host = host or (_DOCKER_HOST if domain == DOCKER_DOMAIN else domain)
        self.retry_delay_s = retry_delay_s or self.access.retry_delay_s or _RETRY_DELAY_S
        self._authorization: dict[str, str] = {}
        self._lock = threading.Lock()
        self._base = ""

    @property
    def login_hint(self) -> str:
        """What to do about a missing password."""
        return f"rpod login {self.domain}"

    def request(
        self,
        method: str,
        target: str,
        repository: str,
        headers: dict[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Response:
        """An answer that is neither a challenge, a redirect nor a passing failure; its status may be an error.

        ``target`` is a path of the registry, or an address that it told. A ``body`` that is no bytes
        can be read once: its request is not repeated.
        """
        base = self._base_url()
        url = base + target if target.startswith("/") else target
        sent = self._with_auth(url, repository, headers)
        response = self._send(method, url, sent, body)
        if response.status == 401 and response.origin == Origin.of(base) and not _is_stream(body):
            asked = response.header("WWW-Authenticate")
            with response:
                pass
            self._authenticate(asked, repository, sent.get("Authorization", ""))
            response = self._send(method, url, self._with_auth(url, repository, headers), body)
        return response

    def check_login(self, given: Credentials | None) -> None:
        """Whether the registry takes these credentials (None: those that are kept). Raises DeniedError."""
        self._given = given
        with self.request("GET", "/v2/", "") as response:
            if response.status in (401, 403):
                raise self._denied("")
            self.expect(response, "login")

    def _with_auth(self, url: str, repository: str, headers: dict[str, str] | None) -> dict[str, str]:
        value = self._known(repository)
        if not value or Origin.of(url) != Origin.of(self._base):
            return dict(headers or {})
        return {**(headers or {}), "Authorization": value}

    def _known(self, repository: str) -> str:
        return self._authorization.get(repository) or self._authorization.get("", "")

    def _send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | Iterable[bytes] | None = None
    ) -> Response:
        """Follow redirects: credentials stay with the origin that they were meant for."""
        home = Origin.of(url)
        for _ in range(_MAX_REDIRECTS + 1):
            response = self._try(method, url, headers, body)
            if response.status not in _REDIRECTS or _is_stream(body):
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

    def _try(
        self, method: str, url: str, headers: dict[str, str], body: bytes | Iterable[bytes] | None = None
    ) -> Response:
        """Send, and again after a passing failure, with growing pauses or as Retry-After says."""
        if _is_stream(body):
            return self.transport.request(method, url, headers, body)
        for attempt in range(1, self.attempts + 1):
            delay_s = self.retry_delay_s * 2 ** (attempt - 1)
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

    def _authenticate(self, header: str, repository: str, used: str) -> None:
        """Answer a 401 to a request with the Authorization ``used``: a token for this repository, or the password."""
        credentials = self._credentials(repository)
        with self._lock:
            if self._known(repository) != used:
                return  # another thread was faster
            kind, bearer = self._kind_of_login(header)
            if kind == "bearer":
                self._authorization[repository] = "Bearer " + self._token(bearer, repository, credentials)
            elif credentials is None or not credentials.user:
                raise DeniedError(f"{self.domain} asks for a password, and none is known", self.login_hint)
            elif used == credentials.basic:
                raise self._denied(repository)
            else:
                self._authorization[""] = credentials.basic

    def _credentials(self, repository: str) -> Credentials | None:
        return self._given or stored.find(self.domain, repository, self.access.authfile)

    def _kind_of_login(self, header: str) -> tuple[str, dict[str, str]]:
        """The scheme of a challenge that is answered here, and its parameters; tokens before passwords."""
        asked = {item.scheme: item.parameters for item in reversed(challenges_of.parse_challenges(header))}
        for kind in ("bearer", "basic"):
            if kind in asked:
                return kind, asked[kind]
        raise RegistryError(f"{self.domain} asks for a kind of login that is not known: {printable(header[:80])}")

    def _denied(self, repository: str) -> DeniedError:
        what = f"access to {repository}" if repository else "the login"
        hint = f"the image may not exist, or: {self.login_hint}" if repository else "check user name and password"
        return DeniedError(f"{self.domain} denies {what}", hint)

    def _token(self, asked: dict[str, str], repository: str, credentials: Credentials | None) -> str:
        """A token from the service that a challenge names (distribution's token authentication).

        The scope is ours, not the challenge's: a registry cannot have a token made for
        anything but what was asked for here.
        """
        realm = asked.get("realm", "")
        service = asked.get("service", "")
        origin, registry = Origin.of(realm), Origin.of(self._base)
        if registry.scheme == "https" and origin.scheme != "https":
            raise RegistryError(f"{self.domain} wants a login without TLS at {origin.host}: refused")
        self.transport.treat_alike(registry, origin)
        if credentials and not challenges_of.trusts_realm(registry.host, origin.host):
            credentials = stored.find(origin.host, "", self.access.authfile)
        query = [("service", service), *(("scope", scope) for scope in self._scopes(repository))]
        if credentials and credentials.identity_token:
            form = [*query, ("grant_type", "refresh_token"), ("client_id", "rpod")]
            form.append(("refresh_token", credentials.identity_token))
            kind = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._try("POST", realm, kind, urlencode(form).encode())
        else:
            headers = {"Authorization": credentials.basic} if credentials else {}
            if credentials:
                query.append(("account", credentials.user))
            separator = "&" if urlsplit(realm).query else "?"
            response = self._try("GET", f"{realm}{separator}{urlencode(query)}", headers)
        with response:
            if response.status in (400, 401, 403):
                raise self._denied(repository)
            if response.status != 200:
                raise RegistryError(f"the token service {origin.host} answers {response.status}", "try again later")
            return _read_token(response.body(_TOKEN_LIMIT_BYTES), origin.host)

    def _scopes(self, repository: str) -> list[str]:
        if not repository:
            return [self.scope_without_repository] if self.scope_without_repository else []
        return [f"repository:{repository}:{self.actions}", *(f"repository:{other}:pull" for other in self.also_pull)]

    def expect(self, response: Response, what: str) -> None:
        """Turn an error status into an error that says what to do."""
        status = response.status
        if 200 <= status < 300:
            return
        if status == 404:
            raise AbsentError(f"{what}: the registry has no such image", "check the name and the tag")
        if status == 401 and response.origin != Origin.of(self._base):
            raise RegistryError(
                f"{self.domain} redirects to {response.origin.host}, which asks for a login",
                f"pull from {response.origin.host} itself",
            )
        if status in (401, 403):
            raise DeniedError(f"{what}: {self.domain} denies access", f"the image may not exist, or: {self.login_hint}")
        if status == 429:
            wait = response.header("Retry-After")
            raise RegistryError(
                f"{self.domain} lets nobody pull more now (429 too many requests)",
                f"wait {printable(wait)[:30]} s" if wait else f"wait, or {self.login_hint}",
            )
        raise RegistryError(f"{what}: {self.domain} answers {status}{_told(response)}", "try again later")


def _is_stream(body: object) -> bool:
    return body is not None and not isinstance(body, bytes)


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

"""HTTP for registries over urllib3: verified TLS, proxies, timeouts, and one place that names failures.

Nothing is followed or repeated here: redirects and retries carry decisions about
credentials, which ``rootless.image.registry`` makes.
"""

from __future__ import annotations

import ssl
import threading
from typing import TYPE_CHECKING, Self, TypeVar
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    InsecureRequestWarning,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
)

from rootless import __version__
from rootless.errors import ConfigError, RegistryError, UnsupportedError
from rootless.image import certificates
from rootless.kernel.numbers import decimal
from rootless.log import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# The user decided about that host and was told what it means.
urllib3.disable_warnings(InsecureRequestWarning)

E = TypeVar("E", bound=BaseException)

CONNECT_TIMEOUT_S = 15.0
READ_TIMEOUT_S = 60.0
_CHUNK_BYTES = 1 << 17
_DRAIN_BYTES = 1 << 14
_PORTS = {"http": 80, "https": 443}
_LOOPBACK = ("localhost", "::1")


class TransientError(RegistryError):
    """A failure that may be gone at the next attempt: a reset, a timeout, a truncated answer."""


class NotTLSError(RegistryError):
    """The other side does not speak TLS at all."""


class UnreachableError(RegistryError):
    """Nobody listens there, or the name does not resolve."""


class CancelledError(RegistryError):
    """The user, or the failure of another layer, ended the work."""


class Origin:
    """Scheme, host and port: what credentials belong to (RFC 6454)."""

    __slots__ = ("host", "port", "scheme")

    def __init__(self, scheme: str, host: str, port: int) -> None:
        self.scheme = scheme
        self.host = host
        self.port = port

    @classmethod
    def of(cls, url: str) -> Origin:
        """The origin of ``url``. RegistryError for anything that is no plain http or https address."""
        try:
            parts: SplitResult = urlsplit(url)
            port = parts.port
        except ValueError:
            raise RegistryError(f"{printable(url[:100])!r} is not an address") from None
        if parts.scheme not in _PORTS or not parts.hostname:
            raise RegistryError(f"{printable(url[:100])!r} is not an http or https address")
        if parts.username is not None or parts.password is not None:
            raise RegistryError("an address with a user name in it is refused")
        return cls(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])

    @property
    def is_tls(self) -> bool:
        """Whether it is spoken to in https."""
        return self.scheme == "https"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Origin) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    def is_any_of(self, hosts: frozenset[str]) -> bool:
        """Whether ``hosts`` (HOST or HOST:PORT, as in ``registries.insecure``) names it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" in hosts or (host in hosts and self.port == _PORTS[self.scheme])


class Response:
    """An answer whose body has not been read yet. Use it with ``with``: the connection is given back or closed."""

    def __init__(self, raw: urllib3.BaseHTTPResponse, owner: Transport, origin: Origin) -> None:
        self._raw = raw
        self._owner = owner
        self.origin = origin
        self.status = raw.status

    def header(self, name: str) -> str:
        """A header's value, "" if it is not there."""
        return self._raw.headers.get(name, "")

    def length(self) -> int | None:
        """Content-Length in bytes, None where it is not told."""
        text = self.header("Content-Length")
        return decimal(text, 1 << 62)

    def body(self, limit_bytes: int) -> bytes:
        """The whole body. RegistryError if it is longer than ``limit_bytes``."""
        parts: list[bytes] = []
        total = 0
        for chunk in self.chunks():
            parts.append(chunk)
            total += len(chunk)
            if total > limit_bytes:
                raise RegistryError(f"{self.origin.host} sent more than {limit_bytes >> 20} MiB where it may not")
        return b"".join(parts)

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes, undecoded. TransientError when the connection fails or stalls."""
        while True:
            self._owner.check()
            try:
                chunk = self._raw.read(_CHUNK_BYTES, decode_content=False)
            except (HTTPError, OSError, ValueError) as error:
                # A socket that ``cancel`` shut down fails in many ways; the reason is ours then.
                self._owner.check()
                raise _explain(error, self.origin) from error
            if not chunk:
                return
            yield chunk

    def interrupt(self) -> None:
        """Wake a thread that waits for the body."""
        try:
            self._raw.shutdown()
        except (OSError, ValueError, RuntimeError):
            pass  # the connection is already back in the pool or closed

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failure: object, *_: object) -> None:
        self._owner.forget(self)
        length = self.length()
        if failure is None and length is not None and length <= _DRAIN_BYTES:
            # Reading the few bytes of a challenge or an error is cheaper than another connection.
            self._raw.drain_conn()
        self._raw.close()


class Transport:
    """Connections, shared by threads. ``insecure`` hosts (HOST or HOST:PORT) may use http and bad certificates.

    ``cert_dir`` takes the place of the directories of certificates that are found by the host's name.
    """

    def __init__(
        self, insecure: frozenset[str] = frozenset(), *, cert_dir: str = "", read_timeout_s: float = READ_TIMEOUT_S
    ) -> None:
        self.insecure = insecure
        self._cert_dir = cert_dir
        self._timeout = urllib3.Timeout(connect=CONNECT_TIMEOUT_S, read=read_timeout_s)
        self._pools: dict[tuple[bool, str, str], urllib3.PoolManager] = {}
        self._open: set[Response] = set()
        self._lock = threading.Lock()
        self._cancelled = threading.Event()

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Response:
        """Send one request. Raises a RegistryError that names host and reason, and what reading ``body`` raises."""
        self.check()
        origin = Origin.of(url)
        if origin.scheme == "http" and not origin.is_any_of(self.insecure):
            raise RegistryError(
                f"{origin.host} would be spoken to without TLS",
                f'if that is right: registries.insecure = ["{origin.host}:{origin.port}"]',
            )
        sent = {"User-Agent": f"rpod/{__version__}", "Accept-Encoding": "identity", **(headers or {})}
        try:
            raw = self._pool(origin).request(
                method,
                url,
                headers=sent,
                body=body,
                redirect=False,
                retries=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )
        except (HTTPError, OSError, ValueError) as error:
            self.check()
            raise _explain(error, origin) from error
        response = Response(raw, self, origin)
        with self._lock:
            self._open.add(response)
        return response

    def _pool(self, origin: Origin) -> urllib3.PoolManager:
        verify = not origin.is_any_of(self.insecure)
        proxy = _proxy_for(origin)
        with self._lock:
            folder = certificates.folder_for(origin.host, origin.port, self._cert_dir) if origin.is_tls else ""
            key = (verify, proxy, folder)
            if key not in self._pools:
                self._pools[key] = _new_pool(certificates.context(folder, verify=verify), proxy)
            return self._pools[key]

    def treat_alike(self, registry: Origin, service: Origin) -> None:
        """Let the token service of an insecure registry be insecure, too, where it is the same host."""
        if registry.is_any_of(self.insecure) and service.host == registry.host:
            self.insecure |= {str(service).partition("://")[2]}

    def forget(self, response: Response) -> None:
        """``response`` has been closed."""
        with self._lock:
            self._open.discard(response)

    def cancel(self) -> None:
        """End all work: threads that wait for bytes or for the next attempt get CancelledError."""
        self._cancelled.set()
        with self._lock:
            waiting = list(self._open)
        for response in waiting:
            response.interrupt()

    def check(self) -> None:
        """Raise CancelledError after ``cancel``."""
        if self._cancelled.is_set():
            raise CancelledError("cancelled")

    def pause(self, seconds: float) -> None:
        """Sleep, unless ``cancel`` ends it."""
        self._cancelled.wait(seconds)
        self.check()

    def close(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            pool.clear()


def _new_pool(context: ssl.SSLContext, proxy: str) -> urllib3.PoolManager:
    if not proxy:
        return urllib3.PoolManager(num_pools=8, maxsize=8, ssl_context=context)
    parts = urlsplit(proxy)
    headers = None
    if parts.username is not None:
        headers = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password or ''}")
        proxy = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(proxy, num_pools=8, maxsize=8, ssl_context=context, proxy_headers=headers)


def _proxy_for(origin: Origin) -> str:
    """The proxy that http_proxy, https_proxy, all_proxy and no_proxy name for ``origin``, "" for none.

    This host itself is never asked through a proxy, as in Go's programs.
    """
    if origin.host in _LOOPBACK or origin.host.startswith("127."):
        return ""
    proxies = getproxies()
    proxy = proxies.get(origin.scheme) or proxies.get("all") or ""
    if not proxy or proxy_bypass(f"{origin.host}:{origin.port}"):
        return ""
    if "://" not in proxy:
        proxy = f"http://{proxy}"
    try:
        scheme, host = urlsplit(proxy).scheme, urlsplit(proxy).hostname
    except ValueError:
        scheme, host = "http", None
    if scheme not in _PORTS:
        raise UnsupportedError(
            f"the proxy of {origin.scheme}_proxy is of the kind {scheme[:20]!r}; http and https work"
        )
    if not host:
        raise ConfigError(f"{origin.scheme}_proxy is not the address of a proxy", "it looks like http://proxy:3128")
    return proxy


def _explain(error: BaseException, origin: Origin) -> RegistryError:
    """What a failure of urllib3, ssl or the kernel means, in words, with what may help."""
    where = f"{origin.host}:{origin.port}"
    tls = _cause(error, ssl.SSLError)
    if isinstance(tls, ssl.SSLCertVerificationError):
        return RegistryError(
            f"{where}: the certificate is not trusted: {tls.verify_message}",
            "put the registry's CA in the system's store or in certs.d; if you know the host: --tls-verify=false",
        )
    if isinstance(tls, ssl.SSLError) and tls.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"):
        return NotTLSError(
            f"{where} does not speak TLS", f'for plain http: --tls-verify=false or registries.insecure = ["{where}"]'
        )
    if tls is not None:
        return TransientError(f"{where}: TLS failed: {tls.reason or tls}")
    reason = _cause(error, OSError)
    words = (reason.strerror or str(reason)).lower() if reason else str(error)[:200]
    if isinstance(error, ProxyError):
        hint = f"look at {origin.scheme}_proxy and no_proxy"
        return RegistryError(f"the proxy for {where} cannot be used: {words}", hint)
    if isinstance(error, NameResolutionError):
        return UnreachableError(f"the name {origin.host} does not resolve", "check the name and the network")
    if isinstance(error, NewConnectionError):  # before ConnectTimeoutError, which is its base class
        return UnreachableError(f"{where} cannot be reached: {words}", "check that the registry runs and the network")
    if isinstance(error, ReadTimeoutError | ConnectTimeoutError | TimeoutError):
        return TransientError(f"{where} does not answer: timed out", "check the network, then try again")
    return TransientError(f"the connection to {where} broke: {words}", "try again")


def _cause(error: BaseException | None, kind: type[E]) -> E | None:
    """The first exception of ``kind`` in what ``error`` came from."""
    for _ in range(8):
        if error is None:
            return None
        if isinstance(error, kind):
            return error
        inner = next((item for item in error.args if isinstance(item, BaseException)), None)
        error = inner or error.__cause__ or error.__context__
    return None

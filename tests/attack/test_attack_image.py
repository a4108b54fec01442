"""Hostile registries: every lie is found out, no password leaves its host, nothing is stored."""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.http_server import HttpServer
from support.rogue_registry import CONFIG, INDEX, LAYER, Handler, Parts, RogueRegistry, descriptor, digest_of
from support.secure_registry import Certificate, write_auth

from rootless.errors import ImageError, RegistryError, UnsupportedError
from rootless.image import reference
from rootless.image.access import DEFAULT_RETRIES
from rootless.image.manifest import Descriptor, Manifest
from rootless.image.registry import Registry
from rootless.image.transport import CancelledError, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DIGEST = "sha256:" + "ab" * 32
# Set by rootless.image.transport, and reset by pytest for each test.
pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    return tmp_path


@pytest.fixture
def rogue() -> Iterator[RogueRegistry]:
    with RogueRegistry() as registry:
        yield registry


def client(*insecure: str, read_timeout_s: float = 5) -> Registry:
    transport = Transport(frozenset(insecure), read_timeout_s=read_timeout_s)
    return Registry(insecure[0], transport, retry_delay_s=0.01)


def manifest_of(rogue: RogueRegistry, name: str = "a") -> Manifest:
    found = client(rogue.address).manifest(reference.parse(f"{rogue.address}/{name}"))
    assert isinstance(found, Manifest)
    return found


def copy_layer(rogue: RogueRegistry, parts: Parts, **options: float) -> bytes:
    received: list[bytes] = []
    wanted = Descriptor(LAYER, digest_of(parts.layer), len(parts.layer))
    client(rogue.address, **options).blob("a", wanted, received.append)
    return b"".join(received)


# ---- bytes, digests, sizes


def test_a_good_image_passes(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    assert manifest_of(rogue).layers[0].digest == digest_of(parts.layer)
    assert copy_layer(rogue, parts) == parts.layer


def test_manifest_by_digest_with_other_bytes(rogue: RogueRegistry) -> None:
    rogue.image("a")
    rogue.routes[f"/v2/a/manifests/{DIGEST}"] = rogue.routes["/v2/a/manifests/latest"]
    with pytest.raises(RegistryError, match="sent a manifest with the digest"):
        client(rogue.address).manifest(reference.parse(f"{rogue.address}/a@{DIGEST}"))


@pytest.mark.parametrize("told", [DIGEST, "sha256:../../x", "sha256:" + "AB" * 32])
def test_a_digest_header_that_lies(rogue: RogueRegistry, told: str) -> None:
    rogue.image("a")
    status, headers, body = rogue.routes["/v2/a/manifests/latest"]  # type: ignore[misc]
    rogue.routes["/v2/a/manifests/latest"] = (status, {**headers, "Docker-Content-Digest": told}, body)
    with pytest.raises(ImageError, match="digest"):
        manifest_of(rogue)


def test_a_manifest_of_4_mib_and_1(rogue: RogueRegistry) -> None:
    rogue.manifest("a", "latest", b" " * ((4 << 20) + 1))
    with pytest.raises(ImageError, match="larger than 4 MiB"):
        manifest_of(rogue)


def test_a_manifest_without_end(rogue: RogueRegistry) -> None:
    def endless(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        while True:
            handler.wfile.write(b" " * 65536)

    rogue.routes["/v2/a/manifests/latest"] = endless
    with pytest.raises(RegistryError, match="more than 4 MiB"):
        manifest_of(rogue)


def test_layer_with_other_bytes(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    wrong = bytes(len(parts.layer))
    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = (200, {}, wrong)
    with pytest.raises(RegistryError, match="other bytes than its digest says"):
        copy_layer(rogue, parts)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data + b"x"])
def test_layer_of_another_size(rogue: RogueRegistry, change: Callable[[bytes], bytes]) -> None:
    parts = rogue.image("a")
    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = (200, {}, change(parts.layer))
    with pytest.raises(RegistryError, match="bytes, the manifest says"):
        copy_layer(rogue, parts)


def without_length(body: bytes) -> Callable[[Handler], None]:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_layer_longer_than_said_without_a_length(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = without_length(parts.layer + b"x")
    with pytest.raises(RegistryError, match="longer than the manifest says"):
        copy_layer(rogue, parts)


def test_layer_that_always_ends_early(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = without_length(parts.layer[:50])
    with pytest.raises(RegistryError, match=r"ended after|broke"):
        copy_layer(rogue, parts)
    assert len(rogue.paths()) < 10


def test_config_with_other_bytes(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    rogue.routes[f"/v2/a/blobs/{digest_of(parts.config)}"] = (200, {}, bytes(len(parts.config)))
    found = manifest_of(rogue)
    with pytest.raises(RegistryError, match="other bytes"):
        client(rogue.address).small_blob("a", found.config)


def test_both_an_image_and_an_index(rogue: RogueRegistry) -> None:
    rogue.image("a", manifests=[])
    with pytest.raises(ImageError, match="both an image and an index"):
        manifest_of(rogue)


def test_a_media_type_that_contradicts_the_header(rogue: RogueRegistry) -> None:
    rogue.manifest("a", "latest", Parts().manifest, INDEX)
    with pytest.raises(ImageError, match="the registry says"):
        manifest_of(rogue)


def test_an_artifact_is_no_image(rogue: RogueRegistry) -> None:
    rogue.image("a", config=descriptor("application/vnd.example.chart", b"{}"))
    with pytest.raises(UnsupportedError, match="artifact"):
        manifest_of(rogue)


def test_escape_sequences_in_an_answer_are_made_visible(rogue: RogueRegistry) -> None:
    body = json.dumps({"errors": [{"code": "X", "message": "\x1b]0;owned\x07 and more"}]}).encode()
    rogue.routes["/v2/a/manifests/latest"] = (418, {}, body)
    with pytest.raises(RegistryError) as caught:
        manifest_of(rogue)
    assert "\x1b" not in caught.value.message
    assert "owned" in caught.value.message


# ---- connections that break


def test_a_broken_layer_goes_on_where_it_broke(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    half = len(parts.layer) // 2
    path = f"/v2/a/blobs/{digest_of(parts.layer)}"

    def breaks(handler: Handler) -> None:
        asked = handler.headers.get("Range", "")
        if not asked:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(parts.layer)))
            handler.end_headers()
            handler.wfile.write(parts.layer[:half])
            handler.close_connection = True
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        told = {"Content-Range": f"bytes {start}-{len(parts.layer) - 1}/{len(parts.layer)}"}
        handler.answer(206, told, parts.layer[start:])

    rogue.routes[path] = breaks
    assert copy_layer(rogue, parts) == parts.layer
    assert rogue.requests[-1][2]["Range"] == f"bytes={half}-"


def test_a_registry_without_ranges_sends_all_again(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    answers = iter([without_length(parts.layer[:60]), without_length(parts.layer)])

    def forgets(handler: Handler) -> None:
        next(answers)(handler)

    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = forgets
    assert copy_layer(rogue, parts) == parts.layer


def test_another_range_than_asked_for(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")

    def lies(handler: Handler) -> None:
        if "Range" in handler.headers:
            handler.answer(206, {"Content-Range": "bytes 0-9/99"}, parts.layer[:10])
        else:
            without_length(parts.layer[:60])(handler)

    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = lies
    with pytest.raises(RegistryError, match="another part"):
        copy_layer(rogue, parts)


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_passing_failures_are_tried_again(rogue: RogueRegistry, status: int) -> None:
    rogue.image("a")
    good = rogue.routes["/v2/a/manifests/latest"]
    answers = iter([(status, {"Retry-After": "0"}, b""), (status, {}, b""), good])
    rogue.routes["/v2/a/manifests/latest"] = lambda h: h.answer(*next(answers))
    manifest_of(rogue)
    assert rogue.paths().count("/v2/a/manifests/latest") == 3


def test_lasting_failures_end(rogue: RogueRegistry) -> None:
    rogue.routes["/v2/a/manifests/latest"] = (503, {}, b"")
    with pytest.raises(RegistryError, match="answers 503"):
        manifest_of(rogue)
    assert rogue.paths().count("/v2/a/manifests/latest") == 1 + DEFAULT_RETRIES


def test_a_wait_of_hours_is_told_not_waited(rogue: RogueRegistry) -> None:
    rogue.routes["/v2/a/manifests/latest"] = (429, {"Retry-After": "21600"}, b"")
    with pytest.raises(RegistryError, match="429") as caught:
        manifest_of(rogue)
    assert "21600" in caught.value.hint


def test_a_registry_that_stalls(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    over = threading.Event()

    def stalls(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(parts.layer)))
        handler.end_headers()
        over.wait(10)

    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = stalls
    begin = time.monotonic()
    with pytest.raises(RegistryError, match="timed out"):
        copy_layer(rogue, parts, read_timeout_s=0.2)
    assert time.monotonic() - begin < 5
    over.set()


def test_cancel_wakes_a_reader(rogue: RogueRegistry) -> None:
    parts = rogue.image("a")
    reading, over = threading.Event(), threading.Event()

    def stalls(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(parts.layer)))
        handler.end_headers()
        handler.wfile.write(parts.layer[:10])
        reading.set()
        over.wait(20)

    rogue.routes[f"/v2/a/blobs/{digest_of(parts.layer)}"] = stalls
    registry = client(rogue.address, read_timeout_s=15)
    failure: list[BaseException] = []

    def copy() -> None:
        try:
            registry.blob("a", Descriptor(LAYER, digest_of(parts.layer), len(parts.layer)), lambda _: None)
        except RegistryError as error:
            failure.append(error)

    thread = threading.Thread(target=copy)
    thread.start()
    assert reading.wait(5)
    time.sleep(0.1)
    registry.transport.cancel()
    thread.join(5)
    over.set()
    assert not thread.is_alive()
    assert isinstance(failure[0], CancelledError)


# ---- redirects and credentials


def test_credentials_stay_when_a_blob_is_redirected(rogue: RogueRegistry, home: Path) -> None:
    """To another port of the same host: another origin, so no Authorization."""
    parts = rogue.image("a")
    path = f"/v2/a/blobs/{digest_of(parts.layer)}"
    write_auth(home / "home/.docker/config.json", rogue.address)
    with RogueRegistry() as other:
        other.routes["/elsewhere"] = (200, {}, parts.layer)

        def asks(handler: Handler) -> None:
            if "Authorization" not in handler.headers:
                handler.answer(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
            else:
                handler.answer(307, {"Location": f"{other.url}/elsewhere"}, b"")

        rogue.routes[path] = asks
        registry = client(rogue.address, other.address)
        received: list[bytes] = []
        registry.blob("a", Descriptor(LAYER, digest_of(parts.layer), len(parts.layer)), received.append)
        assert b"".join(received) == parts.layer
        assert "Authorization" in rogue.requests[-1][2]
        assert "Authorization" not in other.requests[0][2]


def test_a_password_goes_to_no_foreign_realm(rogue: RogueRegistry, home: Path) -> None:
    write_auth(home / "home/.docker/config.json", rogue.address)
    with RogueRegistry("127.0.0.2") as thief:
        thief.routes["/token"] = (200, {}, b'{"token": "t"}')
        challenge = f'Bearer realm="{thief.url}/token",service="s",scope="repository:other:pull,push"'
        rogue.routes["/v2/a/manifests/latest"] = (401, {"WWW-Authenticate": challenge}, b"")
        with pytest.raises(RegistryError, match="denies access"):
            client(rogue.address, thief.address).manifest(reference.parse(f"{rogue.address}/a"))
        _, path, headers = thief.requests[0]
        assert "Authorization" not in headers
        assert "account" not in path
        assert "repository%3Aa%3Apull" in path
        assert "other" not in path


def test_a_redirected_challenge_is_not_answered(rogue: RogueRegistry, home: Path) -> None:
    with RogueRegistry() as thief:
        write_auth(home / "home/.docker/config.json", rogue.address)
        thief.routes["/steal"] = (401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")
        rogue.routes["/v2/a/manifests/latest"] = (302, {"Location": f"{thief.url}/steal"}, b"")
        with pytest.raises(RegistryError, match="asks for a login"):
            client(rogue.address, thief.address).manifest(reference.parse(f"{rogue.address}/a"))
        assert all("Authorization" not in headers for _, _, headers in thief.requests)


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/x",
        "http://user:pass@127.0.0.1/x",
        "//",
        "http://[::1",
        "http://127.0.0.1:1/x",
    ],
)
def test_redirects_to_places_that_were_not_asked_for(rogue: RogueRegistry, location: str) -> None:
    rogue.routes["/v2/a/manifests/latest"] = (302, {"Location": location}, b"")
    with pytest.raises(RegistryError):
        manifest_of(rogue)


def test_a_circle_of_redirects_ends(rogue: RogueRegistry) -> None:
    rogue.routes["/v2/a/manifests/latest"] = (302, {"Location": "/v2/a/manifests/latest"}, b"")
    with pytest.raises(RegistryError, match="redirects more than 5 times"):
        manifest_of(rogue)
    assert rogue.paths().count("/v2/a/manifests/latest") == 6


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "", "a b", "é", 5, None, ["x"]])
def test_tokens_that_are_none(rogue: RogueRegistry, token: object) -> None:
    rogue.routes["/token"] = (200, {}, json.dumps({"token": token}).encode())
    challenge = f'Bearer realm="{rogue.url}/token",service="s"'
    rogue.routes["/v2/a/manifests/latest"] = (401, {"WWW-Authenticate": challenge}, b"")
    with pytest.raises(RegistryError, match="sent no token"):
        manifest_of(rogue)


# ---- TLS


class TLSServer(HttpServer):
    """An HTTPS server with a certificate of its own that redirects everything to ``location``."""

    def __init__(self, certificate: Certificate, location: str) -> None:
        class Redirecting(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(302)
                self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

        super().__init__(Redirecting, certificate=certificate)


def test_a_bad_certificate_fails_and_never_falls_back(tmp_path: Path) -> None:
    with TLSServer(Certificate(tmp_path / "tls"), "/") as server:
        registry = Registry(server.address, Transport(), retry_delay_s=0.01)
        with pytest.raises(RegistryError, match="certificate is not trusted"):
            registry.manifest(reference.parse(f"{server.address}/a"))


def test_from_https_to_http_is_refused(tmp_path: Path, rogue: RogueRegistry) -> None:
    rogue.image("a")
    with TLSServer(Certificate(tmp_path / "tls"), f"{rogue.url}/v2/a/manifests/latest") as server:
        registry = client(server.address, rogue.address)
        with pytest.raises(RegistryError, match="from https to http"):
            registry.manifest(reference.parse(f"{server.address}/a"))
    assert rogue.requests == []


def test_plain_http_is_not_spoken_unasked(rogue: RogueRegistry) -> None:
    rogue.image("a")
    with pytest.raises(RegistryError, match="does not speak TLS") as caught:
        Registry(rogue.address, Transport(), retry_delay_s=0.01).manifest(reference.parse(f"{rogue.address}/a"))
    assert "--tls-verify=false" in caught.value.hint


def test_insecure_means_that_host_and_port_only(rogue: RogueRegistry) -> None:
    with RogueRegistry() as other:
        rogue.routes["/v2/a/manifests/latest"] = (302, {"Location": f"{other.url}/x"}, b"")
        with pytest.raises(RegistryError, match="without TLS"):
            manifest_of(rogue)
        assert other.requests == []


def test_nobody_listens() -> None:
    with RogueRegistry() as gone:
        address = gone.address
    with pytest.raises(RegistryError, match="cannot be reached: connection refused"):
        Registry(address, Transport()).manifest(reference.parse(f"{address}/a"))


def test_config_media_type_constant() -> None:
    """The rogue's documents are the real kinds, so that each refusal above has the reason it names."""
    assert CONFIG == "application/vnd.oci.image.config.v1+json"

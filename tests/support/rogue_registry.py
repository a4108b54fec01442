"""A registry that misbehaves on purpose: a real HTTP server whose answers each test writes."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

from support.http_server import HttpServer
from support.layout import ARCHITECTURES

OCI = "application/vnd.oci.image"
MANIFEST = f"{OCI}.manifest.v1+json"
INDEX = f"{OCI}.index.v1+json"
CONFIG = f"{OCI}.config.v1+json"
LAYER = f"{OCI}.layer.v1.tar+gzip"
ARCHITECTURE = ARCHITECTURES.get(platform.machine(), platform.machine())


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def descriptor(media_type: str, data: bytes, **changes: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data), **changes}


class Handler(BaseHTTPRequestHandler):
    """Looks the path up in the server's routes; what it does not know is 404."""

    protocol_version = "HTTP/1.1"
    rogue: RogueRegistry

    def do_GET(self) -> None:
        self.rogue.requests.append((self.command, self.path, dict(self.headers.items())))
        route = self.rogue.routes.get(self.path.partition("?")[0])
        if route is None:
            self.answer(404, {}, b"{}")
        elif callable(route):
            route(self)
        else:
            self.answer(*route)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.do_GET()

    do_HEAD = do_GET  # noqa: N815 - http.server calls it by this name
    do_PUT = do_PATCH = do_DELETE = do_POST  # noqa: N815

    def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


Route = tuple[int, dict[str, str], bytes] | Callable[[Handler], None]


class RogueRegistry(HttpServer):
    """``routes`` maps paths to answers; ``requests`` is what came: (method, path, headers)."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        super().__init__(type("BoundHandler", (Handler,), {"rogue": self}), host=address)
        self.url = f"http://{self.address}"

    def blob(self, name: str, data: bytes) -> str:
        """Serve ``data`` under its true digest."""
        digest = digest_of(data)
        self.routes[f"/v2/{name}/blobs/{digest}"] = (200, {}, data)
        return digest

    def manifest(self, name: str, tag: str, raw: bytes | dict[str, object], media_type: str = MANIFEST) -> str:
        """Serve a manifest under its tag and its true digest."""
        data = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
        for reference in (tag, digest_of(data)):
            self.routes[f"/v2/{name}/manifests/{reference}"] = (200, {"Content-Type": media_type}, data)
        return digest_of(data)

    def image(self, name: str, tag: str = "latest", **changes: object) -> Parts:
        """Serve a good small image; ``changes`` are laid over its manifest."""
        parts = Parts()
        self.blob(name, parts.layer)
        self.blob(name, parts.config)
        self.manifest(name, tag, {**parts.manifest, **changes})
        return parts

    def paths(self) -> list[str]:
        return [path for _, path, _ in self.requests]


class Parts:
    """The documents of a small image with one layer of one file."""

    def __init__(self, text: bytes = b"hello\n", **config: object) -> None:
        self.tar = tar_of({"etc/greeting": text})
        self.layer = gzip.compress(self.tar, mtime=0)
        self.config = json.dumps(
            {
                "architecture": ARCHITECTURE,
                "os": "linux",
                "config": {"Cmd": ["/bin/sh"]},
                "rootfs": {"type": "layers", "diff_ids": [digest_of(self.tar)]},
                **config,
            }
        ).encode()
        self.manifest: dict[str, object] = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, self.config),
            "layers": [descriptor(LAYER, self.layer)],
        }


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()

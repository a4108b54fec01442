"""Debian's docker-registry with TLS, a password file or a token service, on loopback."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from support.http_server import HttpServer
from support.registry import PlainRegistry

if TYPE_CHECKING:
    from pathlib import Path

USER, PASSWORD = "anna", "s3cret:with colon"
SERVICE, ISSUER = "test registry", "test issuer"


def run(*argv: str, stdin: bytes | None = None) -> bytes:
    """Standard output of a program that must succeed."""
    return subprocess.run(argv, check=True, capture_output=True, input=stdin, timeout=60).stdout


class Certificate:
    """A self-signed certificate for 127.0.0.1 and localhost: ``path`` is also the CA file to trust."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "cert.pem"
        self.key = directory / "key.pem"
        run(
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(self.key), "-out", str(self.path)),
        )


class SecureRegistry(PlainRegistry):
    """A registry with any of: TLS, a password (anna's), tokens of a TokenService."""

    def __init__(
        self,
        directory: Path,
        *,
        tls: Certificate | None = None,
        password: bool = False,
        tokens: TokenService | None = None,
    ) -> None:
        super().__init__(directory)
        self._password = password
        extra = ""
        if tls:
            extra += f"  tls: {{certificate: {tls.path}, key: {tls.key}}}\n"
        if password:
            users = directory / "htpasswd"
            users.write_bytes(run("htpasswd", "-nbBC4", USER, PASSWORD))
            extra += f"auth: {{htpasswd: {{realm: tests, path: {users}}}}}\n"
        if tokens:
            extra += (
                f'auth: {{token: {{realm: "{tokens.url}", service: "{SERVICE}", issuer: "{ISSUER}", '
                f"rootcertbundle: {tokens.certificate.path}}}}}\n"
            )
        text = self._config.read_text()
        self._config.write_text(text.replace("http: {", "http:\n  ").replace('"}\n', '"\n') + extra)

    def push(self, source: str, name: str, *options: str) -> str:
        """Push ``source`` as ``name`` with skopeo; ``options`` are its own."""
        target = f"{self.address}/{name}"
        login = ("--dest-creds", f"{USER}:{PASSWORD}") if self._password else ()
        base = ("skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false")
        run(*base, *login, *options, source, f"docker://{target}")
        return target


class TokenService(HttpServer):
    """distribution's token authentication: signs tokens for whatever scope the right password asks for."""

    def __init__(self, directory: Path) -> None:
        self.certificate = Certificate(directory)
        self.asked: list[dict[str, list[str]]] = []
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = parse_qs(urlsplit(self.path).query)
                service.asked.append(query)
                expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                if self.headers.get("Authorization") != f"Basic {expected}":
                    self.send_error(401)
                    return
                body = json.dumps({"token": service.sign(query.get("scope", []))}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        super().__init__(Handler)
        self.url = f"http://{self.address}/token"

    def sign(self, scopes: list[str]) -> str:
        """A JSON Web Token (RS256) that allows ``scopes``."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": actions.split(",")})
        der = run("openssl", "x509", "-in", str(self.certificate.path), "-outform", "DER")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": ISSUER,
            "sub": USER,
            "aud": SERVICE,
            "exp": now + 300,
            "nbf": now - 10,
            "iat": now,
            "jti": "x",
            "access": access,
        }
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = run("openssl", "dgst", "-sha256", "-sign", str(self.certificate.key), stdin=signed)
        return (signed + b"." + _base64url(signature)).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def write_auth(path: Path, host: str, user: str = USER, password: str = PASSWORD) -> None:
    """A file of credentials as podman login writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = base64.b64encode(f"{user}:{password}".encode()).decode()
    path.write_text(json.dumps({"auths": {host: {"auth": entry}}}))
    path.chmod(0o600)

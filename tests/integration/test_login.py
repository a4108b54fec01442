"""``login`` and ``logout`` at a real registry with TLS and a password, and at a token service."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.secure_registry import PASSWORD, USER, Certificate, SecureRegistry, TokenService
from support.shell import Pty

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return Certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[SecureRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with SecureRegistry(folder / "server", tls=certificate, password=True) as server:
        server.push(busybox.write_layout(folder / "image"), "team/busybox:1")
        yield server


@pytest.fixture
def trusting(fresh_rpod: Rpod, registry: SecureRegistry, certificate: Certificate) -> Rpod:
    """An rpod that knows the registry's certificate, where Podman's users put it."""
    folder = fresh_rpod.home / ".config" / "containers" / "certs.d" / registry.address
    folder.mkdir(parents=True)
    (folder / "ca.crt").write_bytes(certificate.path.read_bytes())
    return fresh_rpod


def test_from_login_to_logout(trusting: Rpod, registry: SecureRegistry) -> None:
    host, name = registry.address, f"{registry.address}/team/busybox:1"
    assert "rpod login" in trusting.fails("pull", name)
    assert f"not logged in to {host}" in trusting.fails("login", "--get-login", host)
    login = ("login", "-u", USER, "--password-stdin", host)
    assert "denies the login" in trusting.fails(*login, stdin=b"wrong\n")
    assert not (trusting.runtime / "containers" / "auth.json").exists()
    assert trusting.ok(*login, stdin=PASSWORD.encode() + b"\n") == "Login Succeeded!"
    kept = trusting.runtime / "containers" / "auth.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert PASSWORD not in kept.read_text()
    assert list(json.loads(kept.read_text())["auths"]) == [host]
    assert trusting.ok("login", "--get-login", host) == USER
    assert f"Already logged in to {host} as {USER}" in trusting.ok("login", host)
    trusting.ok("pull", "-q", name)
    assert trusting.ok("logout", host) == f"Removed login credentials for {host}"
    assert f"not logged in to {host}" in trusting.fails("logout", host)
    assert "asks for a password" in trusting.fails("pull", name)
    trusting.ok(*login, stdin=PASSWORD.encode())
    assert "all registries" in trusting.ok("logout", "--all")
    assert "asks for a password" in trusting.fails("pull", name)


def test_at_a_terminal(trusting: Rpod, registry: SecureRegistry) -> None:
    with Pty(trusting, "login", "--verbose", registry.address) as terminal:
        terminal.expect("Username")
        terminal.type(f"{USER}\r")
        terminal.expect("Password:")
        terminal.type(f"{PASSWORD}\r")
        terminal.expect("Used: ")
        terminal.expect("Login Succeeded!")
        assert terminal.wait() == 0
        assert PASSWORD.encode() not in terminal.seen


def test_options_instead_of_files(
    trusting: Rpod, fresh_rpod: Rpod, registry: SecureRegistry, certificate: Certificate, tmp_path: Path
) -> None:
    name = f"{registry.address}/team/busybox:1"
    trusting.ok("pull", "-q", "--creds", f"{USER}:{PASSWORD}", name)
    assert "denies" in trusting.fails("pull", "--creds", f"{USER}:wrong", name)
    authfile = tmp_path / "mine.json"
    assert "no such file" in trusting.fails("pull", "--authfile", str(authfile), name)
    trusting.ok("login", "-u", USER, "-p", PASSWORD, "--authfile", str(authfile), registry.address)
    trusting.ok("pull", "-q", "--authfile", str(authfile), name)
    (tmp_path / "certs").mkdir()
    assert "not trusted" not in trusting.fails("login", "--cert-dir", str(tmp_path / "absent"), registry.address)
    assert "is not a directory" in trusting.fails("pull", "--cert-dir", str(tmp_path / "absent"), name)
    (tmp_path / "certs" / "broken.crt").write_text("no certificate")
    assert "broken.crt" in trusting.fails("pull", "--cert-dir", str(tmp_path / "certs"), name)
    (tmp_path / "certs" / "broken.crt").write_bytes(certificate.path.read_bytes())
    (tmp_path / "certs" / "me.cert").write_bytes(certificate.path.read_bytes())
    assert "me.key" in trusting.fails("pull", "--cert-dir", str(tmp_path / "certs"), name)
    (tmp_path / "certs" / "me.key").write_bytes(certificate.key.read_bytes())
    trusting.ok("pull", "-q", "--cert-dir", str(tmp_path / "certs"), "--authfile", str(authfile), name)


def test_a_token_service(fresh_rpod: Rpod, tmp_path: Path) -> None:
    with TokenService(tmp_path / "tokens") as tokens, SecureRegistry(tmp_path / "registry", tokens=tokens) as server:
        login = ("login", "--tls-verify=false", "-u", USER, "--password-stdin", server.address)
        assert "denies the login" in fresh_rpod.fails(*login, stdin=b"wrong")
        fresh_rpod.ok(*login, stdin=PASSWORD.encode())
        assert "scope" not in tokens.asked[-1]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["login", "no/registry:x"], "is not"),
        (["login", "a.example", "b.example"], "one registry at a time"),
        (["login", "--password-stdin", "a.example"], "needs --username"),
        (["login", "-u", "x", "a.example"], "no terminal"),
        (["login", "-u", "a:b", "-p", "x", "a.example"], "no colon"),
        (["logout", "--all", "a.example"], "exclude"),
        (["pull", "--retry", "-1", "a.example/x"], "--retry"),
        (["pull", "--creds", ":x", "127.0.0.1:1/x"], "no user name"),
        (["pull", "--os", "windows", "a.example/x"], "only linux"),
        (["pull", "--arch", "arm64", "--platform", "linux/arm64", "a.example/x"], "exclude each other"),
        (["pull", "--all-tags", "a.example/x:1"], "a repository is named"),
    ],
)
def test_what_makes_no_sense(rpod: Rpod, args: list[str], message: str) -> None:
    assert message in rpod.fails(*args)

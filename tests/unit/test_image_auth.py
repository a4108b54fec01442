"""Credentials from files, challenges, and where a password may go."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest

from rootless.errors import RegistryError, UnsupportedError
from rootless.image import auth

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path


def write(path: Path, auths: dict[str, str], **more: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {key: {"auth": base64.b64encode(value.encode()).decode()} for key, value in auths.items()}
    path.write_text(json.dumps({"auths": entries, **more}))


def user_for(domain: str, repository: str = "") -> str | None:
    found = auth.find_credentials(domain, repository)
    return found.user if found else None


def test_order_of_the_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert user_for("a.example") is None
    write(home / ".docker/config.json", {"a.example": "docker:x", "b.example": "b:x"})
    assert user_for("a.example") == "docker"
    write(home / ".config/containers/auth.json", {"a.example": "config:x"})
    assert user_for("a.example") == "config"
    write(home / "run/containers/auth.json", {"a.example": "runtime:x"})
    assert user_for("a.example") == "runtime"
    assert user_for("b.example") == "b"
    write(home / "mine.json", {"a.example": "mine:x"})
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(home / "mine.json"))
    assert user_for("a.example") == "mine"
    assert user_for("b.example") is None


def test_the_longest_key_wins(home: Path) -> None:
    path = home / ".config/containers/auth.json"
    write(path, {"a.example": "host:x", "a.example/team": "team:x", "a.example/team/app": "app:x"})
    assert user_for("a.example", "team/app") == "app"
    assert user_for("a.example", "team/other") == "team"
    assert user_for("a.example", "teamwork/app") == "host"
    assert user_for("a.example.evil.example", "team/app") is None
    assert user_for("a.example:5000", "team/app") is None


def test_docker_hub_as_docker_writes_it(home: Path) -> None:
    write(home / ".docker/config.json", {"https://index.docker.io/v1/": "hub:pass:word"})
    found = auth.find_credentials("docker.io", "library/debian")
    assert found is not None
    assert (found.user, found.password) == ("hub", "pass:word")


@pytest.mark.parametrize(
    "text",
    ["", "[]", '{"auths": []}', '{"auths": {"a.example": {"auth": "%%%"}}}', '{"auths": {"a.example": {"auth": 1}}}'],
)
def test_damaged_files_are_named(home: Path, text: str) -> None:
    path = home / ".docker/config.json"
    path.parent.mkdir()
    path.write_text(text)
    with pytest.raises(RegistryError, match=r"config\.json"):
        auth.find_credentials("a.example")


def test_a_helper_that_would_be_asked_is_refused_by_name(home: Path) -> None:
    write(home / ".docker/config.json", {}, credHelpers={"a.example": "pass"}, credsStore="desktop")
    with pytest.raises(UnsupportedError, match="credential helper 'pass'"):
        auth.find_credentials("a.example")
    assert user_for("b.example") is None


def test_challenges() -> None:
    header = 'Bearer realm="https://auth.example/token",service="a, \\"b\\"",scope="repository:x:pull", Basic realm="x"'
    bearer, basic = auth.parse_challenges(header)
    assert bearer.scheme == "bearer"
    assert bearer.parameters == {
        "realm": "https://auth.example/token",
        "service": 'a, "b"',
        "scope": "repository:x:pull",
    }
    assert (basic.scheme, basic.parameters) == ("basic", {"realm": "x"})


@pytest.mark.parametrize(
    "header", ["", ",,,", "=", '"', "Bearer realm=", 'Bearer realm="', "\x00" * 50, "a=b=c", "é" * 9000]
)
def test_hostile_challenges_end(header: str) -> None:
    auth.parse_challenges(header)


@pytest.mark.parametrize(
    ("registry", "realm", "trusted"),
    [
        ("registry-1.docker.io", "auth.docker.io", True),
        ("registry.gitlab.example", "gitlab.example", True),
        ("ghcr.io", "ghcr.io", True),
        ("a.example.com", "auth.a.example.com", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("localhost", "localhost", True),
        ("ghcr.io", "evil.io", False),
        ("registry.example.com", "example.com.evil.net", False),
        ("registry.example.com", "evilexample.com", False),
        ("registry.example.com", "com", False),
        ("127.0.0.1", "127.0.0.2", False),
        ("10.0.0.1", "10.0.0.0.1", False),
        ("localhost", "evil.example", False),
    ],
)
def test_where_a_password_may_go(registry: str, realm: str, trusted: bool) -> None:
    assert auth.trusts_realm(registry, realm) is trusted

"""Credentials in files and in helpers: found, kept and forgotten."""

from __future__ import annotations

import base64
import json
import stat
import threading
from typing import TYPE_CHECKING

import pytest

from rootless.errors import RegistryError, UnsupportedError
from rootless.image import credentials
from rootless.image.access import Credentials

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
    found = credentials.find(domain, repository)
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
    found = credentials.find("docker.io", "library/debian")
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
        credentials.find("a.example")


HELPER = """#!/bin/sh
# A credential helper that keeps what it is told in files, and notes what it was called with.
cd "$HOME/ring" || exit 1
echo "$@" >> calls
case "$1" in
    get) read -r server; file=$(echo "$server" | tr / _)
         if [ -e "$file" ]; then cat "$file"; else echo "credentials not found in native keychain"; exit 1; fi ;;
    store) read -r record; file=$(echo "$record" | sed 's/.*"ServerURL": *"\\([^"]*\\)".*/\\1/' | tr / _)
           echo "$record" > "$file" ;;
    erase) read -r server; file=$(echo "$server" | tr / _)
           if [ -e "$file" ]; then rm "$file"; else echo "credentials not found"; exit 1; fi ;;
esac
"""


@pytest.fixture
def ring(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the helper ``test`` keeps secrets."""
    program = home / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    (home / "ring").mkdir()
    monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
    return home / "ring"


def test_a_helper_keeps_what_login_gives_it(home: Path, ring: Path) -> None:
    path = home / "run/containers/auth.json"
    write(path, {}, credHelpers={"a.example": "test"})
    assert user_for("a.example") is None
    kept = credentials.save("a.example", Credentials("anna", 'pass "word"'))
    assert kept == "the credential helper test"
    assert "pass" not in path.read_text()
    found = credentials.find("a.example", "team/app")
    assert found is not None
    assert (found.user, found.password) == ("anna", 'pass "word"')
    assert user_for("b.example") is None
    assert set((ring / "calls").read_text().split()) == {"get", "store"}  # no secret in an argument
    assert credentials.remove("a.example")
    assert user_for("a.example") is None
    assert not credentials.remove("a.example")


def test_a_helper_for_all(home: Path, ring: Path) -> None:
    write(home / ".docker/config.json", {"b.example": "file:x"}, credsStore="test")
    (ring / "https:__index.docker.io_v1_").write_text('{"Username": "<token>", "Secret": "t0ken"}')
    found = credentials.find("docker.io", "library/debian")
    assert found is not None
    assert (found.user, found.identity_token) == ("", "t0ken")
    assert user_for("b.example") == "file"


@pytest.mark.parametrize(
    ("helper", "message"),
    [("absent", "is not installed"), ("../evil", "not the name of a credential helper"), (1, "must be a string")],
)
def test_helpers_that_cannot_be_asked(home: Path, ring: Path, helper: object, message: str) -> None:
    write(home / ".docker/config.json", {}, credHelpers={"a.example": helper})
    with pytest.raises((RegistryError, UnsupportedError), match=message):
        credentials.find("a.example")


def test_a_helper_that_fails_is_no_empty_answer(home: Path, ring: Path) -> None:
    write(home / ".docker/config.json", {}, credHelpers={"a.example": "test"})
    (ring / "a.example").write_text("not json")
    with pytest.raises(RegistryError, match="gave no JSON"):
        credentials.find("a.example")
    (home / "bin" / "docker-credential-test").write_text("#!/bin/sh\necho the ring is locked; exit 3\n")
    with pytest.raises(RegistryError, match="the ring is locked"):
        credentials.find("a.example")


def test_login_keeps_a_file_that_nobody_else_can_read(home: Path) -> None:
    (home / "run").mkdir(mode=0o700)
    path = home / "run/containers/auth.json"
    assert credentials.save("a.example", Credentials("anna", "x:y")) == str(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    write(path, {"a.example": "old:x", "https://b.example/v1/": "b:x"}, other={"kept": True})
    credentials.save("a.example/team", Credentials("team", "x"))
    assert [user_for("a.example"), user_for("a.example", "team/app"), user_for("b.example")] == ["old", "team", "b"]
    assert credentials.remove("b.example")
    assert user_for("b.example") is None
    assert json.loads(path.read_text())["other"] == {"kept": True}
    credentials.remove_all()
    assert json.loads(path.read_text())["auths"] == {}


def test_an_authfile_of_ones_own(home: Path) -> None:
    with pytest.raises(RegistryError, match="no such file"):
        credentials.find("a.example", "", str(home / "mine.json"))
    credentials.save("a.example", Credentials("mine", "x"), str(home / "mine.json"))
    found = credentials.find("a.example", "", str(home / "mine.json"))
    assert found is not None and found.user == "mine"
    assert user_for("a.example") is None
    link = home / "link.json"
    link.symlink_to("mine.json")
    credentials.save("b.example", Credentials("b", "x"), str(link))
    assert link.is_symlink()
    assert "b.example" in (home / "mine.json").read_text()


def test_logins_at_once_lose_nothing(home: Path) -> None:
    (home / "run").mkdir(mode=0o700)
    jobs = [
        threading.Thread(target=credentials.save, args=(f"r{number}.example", Credentials(f"u{number}", "x")))
        for number in range(12)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert [user_for(f"r{number}.example") for number in range(12)] == [f"u{number}" for number in range(12)]

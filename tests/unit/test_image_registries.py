"""``registries.conf`` and ``policy.json``: the files that users of podman and skopeo already have."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rootless.errors import ConfigError, ImageError, RegistryError, UnsupportedError
from rootless.image import policy, reference, registries

if TYPE_CHECKING:
    from pathlib import Path

MIRRORS = """
unqualified-search-registries = ["quay.io", "docker.io"]

[aliases]
"fedora" = "registry.fedoraproject.org/fedora"
"off" = ""

[[registry]]
prefix = "docker.io/library"
location = "cache.example:5000/hub/library"
insecure = true
[[registry.mirror]]
location = "fast.example/library"
[[registry.mirror]]
location = "pinned.example"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "tags.example"
insecure = true
pull-from-mirror = "tag-only"

[[registry]]
location = "docker.io"

[[registry]]
prefix = "*.corp.example"
location = "proxy.example"

[[registry]]
location = "evil.example"
blocked = true

[[registry]]
location = "plain.example:5000"
insecure = true
"""
DIGEST = "sha256:" + "a" * 64


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(registries, "_SYSTEM", str(tmp_path / "etc"))
    monkeypatch.delenv("CONTAINERS_REGISTRIES_CONF", raising=False)
    (tmp_path / "etc").mkdir()
    (tmp_path / ".config" / "containers").mkdir(parents=True)
    return tmp_path


def asked(name: str) -> list[tuple[str, bool, bool]]:
    found = registries.load().endpoints(reference.parse(name))
    return [(str(endpoint.reference), endpoint.insecure, endpoint.is_mirror) for endpoint in found]


def test_where_to_ask(home: Path) -> None:
    (home / "etc" / "registries.conf").write_text(MIRRORS)
    assert asked("docker.io/library/debian:12") == [
        ("fast.example/library/debian:12", False, True),
        ("tags.example/debian:12", True, True),
        ("cache.example:5000/hub/library/debian:12", True, False),
    ]
    assert asked(f"docker.io/library/debian@{DIGEST}")[1] == (f"pinned.example/debian@{DIGEST}", False, True)
    assert asked("docker.io/team/app") == [("docker.io/team/app", False, False)]
    assert asked("docker.io/libraryx/app") == [("docker.io/libraryx/app", False, False)]
    assert asked("a.corp.example/app:1") == [("proxy.example/app:1", False, False)]
    assert asked("corp.example/app:1") == [("corp.example/app:1", False, False)]
    with pytest.raises(RegistryError, match=r"blocks evil\.example"):
        asked("evil.example/app")
    found = registries.load()
    assert found.search == ["quay.io", "docker.io"]
    assert found.insecure_hosts() == {"plain.example:5000"}
    assert str(found.alias(reference.parse("fedora:40"))) == "registry.fedoraproject.org/fedora:40"
    assert found.alias(reference.parse("off")) is None
    assert found.alias(reference.parse("debian")) is None


def test_which_file_says_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert registries.load().search is None
    user = home / ".config" / "containers"
    (home / "etc" / "registries.conf").write_text('unqualified-search-registries = ["system.example"]')
    assert registries.load().search == ["system.example"]
    (user / "registries.conf").write_text('unqualified-search-registries = ["user.example"]')
    assert registries.load().search == ["user.example"]
    for folder, name, host in ((home / "etc", "z.conf", "late"), (user, "a.conf", "own"), (user, "note.txt", "no")):
        (folder / "registries.conf.d").mkdir(exist_ok=True)
        (folder / "registries.conf.d" / name).write_text(
            f'[[registry]]\nprefix = "x.example"\nlocation = "{host}.example"'
        )
    assert asked("x.example/a") == [("own.example/a", False, False)]
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(home / "etc" / "registries.conf"))
    assert registries.load().search == ["system.example"]
    assert asked("x.example/a") == [("x.example/a", False, False)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = [", "registries.conf: "),
        ('[registries.search]\nregistries = ["a"]', "version 1"),
        ("unqualified-search-registries = 1", "wrong type"),
        ('unqualified-search-registries = ["https://a"]', r"HOST\[:PORT\]"),
        ("[[registry]]\ninsecure = true", "neither prefix nor location"),
        ('[[registry]]\nlocation = "http://a"', "without a scheme"),
        ('[[registry]]\nlocation = "a.example"\ninsecure = "yes"', "insecure is of the wrong type"),
        ('[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\ninsecure = true', "no location"),
        (
            '[[registry]]\nlocation = "a.example"\n[[registry.mirror]]\nlocation="b.c"\npull-from-mirror="x"',
            "one of all",
        ),
        ("[aliases]\na = 1", "must be a string"),
        ("registry = 1", "wrong type"),
    ],
)
def test_what_makes_no_sense_is_named(home: Path, text: str, message: str) -> None:
    (home / ".config/containers/registries.conf").write_text(text)
    with pytest.raises(ConfigError, match=message):
        registries.load()


def test_a_location_that_gives_no_name(home: Path) -> None:
    (home / ".config/containers/registries.conf").write_text('[[registry]]\nprefix = "a.example"\nlocation = "NO HOST"')
    with pytest.raises(ConfigError, match="NO HOST"):
        asked("a.example/x")


ANY = [{"type": "insecureAcceptAnything"}]
NONE = [{"type": "reject"}]
SIGNED = [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]


def write_policy(home: Path, docker: dict[str, object], default: object = NONE) -> None:
    document = {"default": default, "transports": {"docker": docker}}
    (home / ".config/containers/policy.json").write_text(json.dumps(document))


def allowed(name: str) -> bool:
    try:
        policy.check(reference.parse(name))
    except ImageError:
        return False
    return True


def test_the_policy_that_fits_best(home: Path) -> None:
    write_policy(
        home,
        {
            "docker.io": ANY,
            "docker.io/library": NONE,
            "docker.io/library/debian": ANY,
            "docker.io/library/debian:11": NONE,
            "*.good.example": ANY,
            "bad.good.example": NONE,
        },
    )
    assert allowed("docker.io/team/app")
    assert not allowed("docker.io/library/alpine")
    assert allowed("docker.io/library/debian:12")
    assert not allowed("docker.io/library/debian:11")
    assert allowed("x.good.example:5000/a")
    assert not allowed("bad.good.example/a")
    assert not allowed("else.example/a")
    write_policy(home, {"": ANY})
    assert allowed("else.example/a")


def test_a_signature_that_is_wanted_is_not_passed_over(home: Path) -> None:
    write_policy(home, {"signed.example": [*ANY, *SIGNED]}, ANY)
    assert allowed("else.example/a")
    with pytest.raises(UnsupportedError, match=r"wants a signature \(signedBy for signed\.example\)"):
        policy.check(reference.parse("signed.example/a"))


@pytest.mark.parametrize(
    "document",
    [[], {}, {"default": []}, {"default": [1]}, {"default": [{"type": "maybe"}]}, {"default": ANY, "transports": []}],
)
def test_a_policy_that_makes_no_sense_allows_nothing(home: Path, document: object) -> None:
    (home / ".config/containers/policy.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=r"policy\.json"):
        policy.check(reference.parse("a.example/x"))

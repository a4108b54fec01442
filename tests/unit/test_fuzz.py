"""Input that nobody thought of: whatever comes, the answer is a result or an error in words."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import tomli_w
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from support.archives import directory, hardlink, member, symlink, tar
from support.rogue_registry import MANIFEST, Parts

from rootless.errors import RpodError, StorageError
from rootless.image import challenge, credentials, manifest, policy, reference, registries
from rootless.storage.tarstream import TarStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

settings.register_profile(
    "bounded",
    max_examples=200,
    deadline=None,
    database=None,
    derandomize=True,  # the same cases each time: a failure is of the change that is tested
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("bounded")

LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
WORDS = st.sampled_from(
    ["a", "library", "docker.io", "localhost:5000", "a__b", "x-y", "[::1]:5000", "A", "..", "sha256"]
)
NAMES = st.lists(WORDS | st.text("ab./:@-_A[]", max_size=6), max_size=6).map("/".join) | st.text(max_size=40)


def quiet(work: Callable[[], Any]) -> Any:
    """The result, or None for an error in words that can be shown."""
    try:
        return work()
    except RpodError as error:
        said = error.message
    assert said
    assert "\n" not in said
    return None


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REGISTRY_AUTH_FILE", "CONTAINERS_REGISTRIES_CONF"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CONFIG_HOME", "XDG_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / ".config"))
    (tmp_path / ".config" / "containers").mkdir(parents=True, exist_ok=True)
    return tmp_path / ".config" / "containers"


@given(NAMES)
@example("docker.io/a@sha256:" + "a" * 64)
@example("docker.io/debian:12")
def test_references(text: str) -> None:
    found = quiet(lambda: reference.parse(text))
    if found is not None:
        assert reference.parse(str(found)) == found
        assert "/.." not in found.stored
        assert len(found.stored) <= 255


def changed(document: object, where: int, value: object) -> object:
    """A copy of a JSON document with one of its values, counted through, replaced."""
    count = -1

    def walk(node: object) -> object:
        nonlocal count
        count += 1
        if count == where:
            return value
        if isinstance(node, dict):
            return {key: walk(inner) for key, inner in node.items()}
        return [walk(inner) for inner in node] if isinstance(node, list) else node

    return walk(document)


@given(st.integers(0, 20), JSON, st.sampled_from([MANIFEST, "", manifest.OCI_INDEX, manifest.DOCKER_MANIFEST]))
def test_manifests(where: int, value: object, kind: str) -> None:
    raw = json.dumps(changed(Parts().manifest, where, value)).encode()
    quiet(lambda: manifest.parse(raw, kind, "sha256:" + "0" * 64))


@given(st.binary(max_size=300))
def test_manifests_that_are_no_text(raw: bytes) -> None:
    quiet(lambda: manifest.parse(raw, MANIFEST, "sha256:" + "0" * 64))


@given(st.fixed_dictionaries({}, optional={"auths": JSON, "credHelpers": JSON, "credsStore": LEAVES}) | JSON)
def test_files_of_credentials(home: Path, document: object) -> None:
    (home / "auth.json").write_text(json.dumps(document))
    quiet(lambda: credentials.find("a.example", "team/app"))


@given(
    st.dictionaries(st.sampled_from(["a.example", "a.example/team"]), st.dictionaries(st.sampled_from(["auth"]), JSON))
)
def test_entries_of_credentials(home: Path, entries: object) -> None:
    (home / "auth.json").write_text(json.dumps({"auths": entries}))
    quiet(lambda: credentials.find("a.example", "team/app"))


TOML_LEAVES = st.booleans() | st.integers(-5, 5) | NAMES
TABLE = st.dictionaries(
    st.sampled_from("prefix location insecure blocked mirror pull-from-mirror mirror-by-digest-only".split()),
    TOML_LEAVES | st.lists(st.dictionaries(st.sampled_from(["location", "insecure"]), TOML_LEAVES), max_size=2),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "registry": st.lists(TABLE, max_size=3) | TOML_LEAVES,
            "aliases": st.dictionaries(st.sampled_from(["app", "b"]), TOML_LEAVES) | TOML_LEAVES,
            "unqualified-search-registries": st.lists(TOML_LEAVES, max_size=3) | TOML_LEAVES,
        },
    ),
    NAMES,
)
def test_registries_conf(home: Path, document: dict[str, Any], name: str) -> None:
    (home / "registries.conf").write_text(tomli_w.dumps(document), encoding="utf-8", errors="replace")
    found = quiet(registries.load)
    wanted = quiet(lambda: reference.parse(name))
    if found is not None and wanted is not None:
        if wanted.domain:
            endpoints = quiet(lambda: found.endpoints(wanted))
            assert endpoints is None or not endpoints[-1].is_mirror
        else:
            quiet(lambda: found.alias(wanted))


@given(st.fixed_dictionaries({"default": JSON}, optional={"transports": JSON}) | JSON)
def test_policies(home: Path, document: object) -> None:
    (home / "policy.json").write_text(json.dumps(document))
    quiet(lambda: policy.check(reference.parse("a.example/team/app")))


@given(st.text(max_size=200) | st.text('Bearer realm="x",=\\ ', max_size=60))
def test_challenges(header: str) -> None:
    for found in challenge.parse_challenges(header):
        assert found.scheme == found.scheme.lower()


ARCHIVE = tar(
    directory("dir"),
    member("dir/file", b"content" * 100, pax_headers={"mtime": "1.5", "SCHILY.xattr.user.x": "y"}),
    symlink("link", "dir/file"),
    hardlink("hard", "dir/file"),
    member("n" * 150, b"x"),
    member("dir/.wh.gone"),
)


@given(st.lists(st.tuples(st.integers(0, len(ARCHIVE) - 1), st.integers(0, 255)), max_size=6), st.integers(1, 5000))
def test_every_byte_of_an_archive_is_kept_or_handed_out(changes: list[tuple[int, int]], chunk: int) -> None:
    """What the record of a layer relies on, whatever the archive says."""
    data = bytearray(ARCHIVE)
    for position, value in changes:
        data[position] = value
    chunks = iter([bytes(data[start : start + chunk]) for start in range(0, len(data), chunk)])
    seen = bytearray()
    stream = TarStream(lambda: next(chunks, b""), keep=seen.extend)
    try:
        for number, _ in enumerate(stream):
            while number % 2 and (piece := stream.piece()):
                seen.extend(piece)
    except StorageError:
        assert data.startswith(bytes(seen))
    else:
        assert seen == data

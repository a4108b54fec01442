"""``search``: a registry with Docker's search, one with a catalog only, and the tags of an image."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.registry import PlainRegistry
from support.rogue_registry import RogueRegistry
from support.secure_registry import PASSWORD, USER, SecureRegistry, TokenService

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with PlainRegistry(folder) as server:
        source = busybox.write_layout(folder / "image")
        for name in ("team/box:1", "team/box:2", "other/box:1", "else:1"):
            server.push(source, name)
        yield server


def search(rpod: Rpod, *args: str) -> list[str]:
    return [line.rstrip() for line in rpod.ok("search", "--tls-verify=false", *args).splitlines()]


def test_a_catalog(rpod: Rpod, registry: PlainRegistry) -> None:
    host = registry.address
    assert search(rpod, f"{host}/box") == [
        "NAME" + " " * (len(host) + 8) + "DESCRIPTION",
        f"{host}/other/box",
        f"{host}/team/box",
    ]
    assert len(search(rpod, "--format", "{{.Name}}", f"{host}/")) == 3
    assert len(search(rpod, "--limit", "1", "--format", "{{.Name}}", f"{host}/")) == 1
    assert search(rpod, "--format", "{{.Name}}", f"{host}/absent") == []
    assert sorted(search(rpod, "--list-tags", "--format", "{{.Name}}:{{.Tag}}", f"{host}/team/box")) == [
        f"{host}/team/box:1",
        f"{host}/team/box:2",
    ]


def test_dockers_search(fresh_rpod: Rpod, registry: PlainRegistry) -> None:
    """The two registries of short names; the description is cut, escapes do not reach the terminal."""
    results = [
        {"name": "team/box", "description": "b" * 50, "star_count": 7, "is_official": False},
        {"name": "box", "description": "\x1b[31mred", "star_count": 900, "is_official": True},
    ]
    with RogueRegistry() as rogue:
        rogue.routes["/v1/search"] = (200, {}, json.dumps({"results": results}).encode())
        fresh_rpod.configure(
            f'[registries]\nsearch = ["{rogue.address}", "{registry.address}"]\n'
            f'insecure = ["{rogue.address}", "{registry.address}"]\n'
        )
        lines = fresh_rpod.ok("search", "box").splitlines()
        assert len(lines) == 5
        assert "b" * 44 + "..." in lines[1]
        assert "\x1b" not in fresh_rpod.ok("search", "box")
        compatible = fresh_rpod.ok("search", "--compatible", "--filter", "stars=8", "box").splitlines()
        assert compatible[0].split() == ["NAME", "DESCRIPTION", "STARS", "OFFICIAL", "AUTOMATED"]
        assert compatible[1].split()[-2:] == ["900", "[OK]"]
        found = json.loads(fresh_rpod.ok("search", "--format", "json", "--filter", "is-official", "box"))
        assert [(hit["Index"], hit["Stars"]) for hit in found] == [(rogue.address, 900)]
        rogue.routes["/v1/search"] = (200, {}, b"{}")
        done = fresh_rpod("search", "box")
        assert done.code == 0
        assert "gave no list" in done.err


def test_a_catalog_behind_a_token(rpod: Rpod, tmp_path: Path) -> None:
    with TokenService(tmp_path / "tokens") as tokens, SecureRegistry(tmp_path / "registry", tokens=tokens) as server:
        search(rpod, "--creds", f"{USER}:{PASSWORD}", f"{server.address}/")
        assert tokens.asked[-1]["scope"] == ["registry:catalog:*"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--limit", "-1", "x"], "--limit"),
        (["--filter", "stars=many", "x"], "stars is a number"),
        (["--filter", f"stars={'9' * 5000}", "x"], "stars is a number"),
        (["--filter", "colour=red", "x"], "there is no such filter"),
        (["--list-tags", "--filter", "stars=1", "a.example/x"], "not for --list-tags"),
        (["127.0.0.1:1/x"], "cannot be reached"),
        ([""], "cannot be searched for"),
    ],
)
def test_what_makes_no_sense(rpod: Rpod, args: list[str], message: str) -> None:
    assert message in rpod.fails("search", *args)

"""Registries as ``registries.conf`` and ``policy.json`` have them: mirrors that fail over, short names, blocks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.registry import free_port
from support.rogue_registry import Handler, RogueRegistry, digest_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Rpod


@pytest.fixture
def home() -> Iterator[RogueRegistry]:
    with RogueRegistry() as server:
        server.image("team/app", "1")
        yield server


@pytest.fixture
def mirror() -> Iterator[RogueRegistry]:
    with RogueRegistry() as server:
        yield server


def configure(rpod: Rpod, text: str, name: str = "registries.conf") -> None:
    path = rpod.home / ".config" / "containers" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def entry(prefix: str, location: str, *mirrors: str) -> str:
    text = f'[[registry]]\nprefix = "{prefix}"\nlocation = "{location}"\ninsecure = true\n'
    return text + "".join(f'[[registry.mirror]]\nlocation = "{each}"\ninsecure = true\n' for each in mirrors)


def test_the_mirror_serves_and_the_name_stays(fresh_rpod: Rpod, home: RogueRegistry, mirror: RogueRegistry) -> None:
    mirror.image("copy/app", "1")
    configure(fresh_rpod, entry("corp.example/team", f"{home.address}/team", f"{mirror.address}/copy"))
    fresh_rpod.ok("pull", "-q", "corp.example/team/app:1")
    assert fresh_rpod.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == "corp.example/team/app:1"
    assert home.requests == []


def test_mirrors_fail_over(fresh_rpod: Rpod, home: RogueRegistry, mirror: RogueRegistry) -> None:
    """One is not there, one has other bytes than it should, one has only the manifest; the registry has it all."""
    parts = mirror.image("half/app", "1")
    del mirror.routes[f"/v2/half/app/blobs/{digest_of(parts.layer)}"]
    mirror.image("wrong/app", "1")
    mirror.routes[f"/v2/wrong/app/blobs/{digest_of(parts.layer)}"] = (200, {}, bytes(len(parts.layer)))
    places = [f"127.0.0.1:{free_port()}", f"{mirror.address}/wrong", f"{mirror.address}/half"]
    configure(fresh_rpod, entry("corp.example/team", f"{home.address}/team", *places))
    done = fresh_rpod("pull", "-q", "--retry", "0", "corp.example/team/app:1")
    assert done.code == 0, done
    assert done.err.count("the mirror 127.0.0.1") == 3
    assert fresh_rpod.leftovers() == []


def test_a_password_on_the_command_line_is_for_the_registry_alone(
    fresh_rpod: Rpod, home: RogueRegistry, mirror: RogueRegistry
) -> None:
    def asks(handler: Handler) -> None:
        handler.answer(401, {"WWW-Authenticate": 'Basic realm="x"'}, b"")

    mirror.routes["/v2/team/app/manifests/1"] = asks
    configure(fresh_rpod, entry("corp.example/team", f"{home.address}/team", f"{mirror.address}/team"))
    fresh_rpod.ok("pull", "-q", "--creds", "anna:secret", "corp.example/team/app:1")
    assert all("Authorization" not in headers for _, _, headers in mirror.requests)


def test_short_names_and_blocks(fresh_rpod: Rpod, home: RogueRegistry) -> None:
    host = home.address
    text = f'unqualified-search-registries = ["{host}/team"]\n[aliases]\nnick = "{host}/team/app"\n'
    configure(fresh_rpod, text + f'[[registry]]\nlocation = "{host}"\ninsecure = true\n')
    configure(fresh_rpod, "", "empty.conf")
    fresh_rpod.ok("pull", "-q", "nick:1")
    asked = len(home.requests)
    fresh_rpod.ok("create", "--name", "by-alias", "nick:1")  # which pulls only what is missing
    assert fresh_rpod.ok("ps", "-a", "--format", "{{.Image}}") == f"{host}/team/app:1"
    fresh_rpod.ok("rm", "by-alias")
    fresh_rpod.fails("image", "exists", "nick:2", code=1)
    assert len(home.requests) == asked
    fresh_rpod.ok("pull", "-q", "app:1")
    assert fresh_rpod.ok("images", "--format", "{{.Repository}}") == f"{host}/team/app"
    configure(fresh_rpod, f'[[registry]]\nlocation = "{host}"\nblocked = true\n')
    assert "blocks" in fresh_rpod.fails("pull", f"{host}/team/app:1")
    configure(fresh_rpod, "[[registry]]\n")
    assert "registries.conf: a [[registry]]" in fresh_rpod.fails("pull", f"{host}/team/app:1")


def test_the_policy_decides_before_anything_is_asked(fresh_rpod: Rpod, home: RogueRegistry) -> None:
    policy = {"default": [{"type": "reject"}], "transports": {"docker": {}}}
    configure(fresh_rpod, json.dumps(policy), "policy.json")
    pull = ("pull", "-q", "--tls-verify=false", f"{home.address}/team/app:1")
    assert "the policy rejects" in fresh_rpod.fails(*pull)
    assert home.requests == []
    policy["transports"] = {"docker": {home.address: [{"type": "insecureAcceptAnything"}]}}
    configure(fresh_rpod, json.dumps(policy), "policy.json")
    fresh_rpod.ok(*pull)


def test_every_tag(fresh_rpod: Rpod, home: RogueRegistry) -> None:
    """The list comes in pages."""
    home.image("team/app", "2")
    pages = {"": ["1"], "last=1": ["2"]}

    def listed(handler: Handler) -> None:
        query = handler.path.partition("?")[2]
        link = {} if "last" in query else {"Link": '</v2/team/app/tags/list?last=1>; rel="next"'}
        handler.answer(200, link, json.dumps({"tags": pages["last=1" if "last" in query else ""]}).encode())

    home.routes["/v2/team/app/tags/list"] = listed
    fresh_rpod.ok("pull", "-q", "--all-tags", "--tls-verify=false", f"{home.address}/team/app")
    assert sorted(fresh_rpod.ok("images", "--format", "{{.Tag}}").split()) == ["1", "2"]


def test_a_proxy_that_nobody_listens_at(fresh_rpod: Rpod) -> None:
    env = {"https_proxy": f"http://127.0.0.1:{free_port()}", "no_proxy": ""}
    done = fresh_rpod("pull", "-q", "--retry", "0", "corp.invalid/team/app:1", env=env)
    assert done.code == 125 and "the proxy for corp.invalid:443 cannot be used: connection refused\n" in done.err

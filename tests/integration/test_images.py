"""``images``, ``rmi``, ``tag`` and ``untag``: names, and what goes when they are taken away."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support.archives import member, tar

if TYPE_CHECKING:
    from support.shell import Rpod


@pytest.fixture
def stored(fresh_rpod: Rpod) -> str:
    """The id of an image that is called a:1 and b:2."""
    ident = fresh_rpod.ok("import", "-q", "-", "a:1", stdin=tar(member("f", b"1")))
    fresh_rpod.ok("tag", "a:1", "b:2")
    return ident


def test_rmi_of_what_is_not_there(fresh_rpod: Rpod, stored: str) -> None:
    """Podman and Docker end with 0 for --force."""
    rpod = fresh_rpod
    assert "absent: no such image" in rpod.fails("rmi", "absent", code=1)
    assert rpod.ok("rmi", "--ignore", "absent") == ""
    said = rpod.ok("rmi", "--force", "absent", "a:1", "sha256:" + 64 * "0")
    assert said == "Untagged: localhost/a:1"
    assert "is not the name of an image" in rpod.fails("rmi", "--force", "bad//name")
    assert rpod.ok("rmi", "-f", "b:2").splitlines() == ["Untagged: localhost/b:2", f"Deleted: {stored}"]
    assert rpod.ok("rmi", "--all") == rpod.ok("rmi", "--all", "--force") == ""


def test_rmi_takes_names_first(fresh_rpod: Rpod, stored: str) -> None:
    rpod = fresh_rpod
    rpod.ok("create", "--name", "c", "a:1", "x")
    assert "has several names: localhost/a:1, localhost/b:2" in rpod.fails("rmi", stored[:12], code=2)
    assert rpod.ok("rmi", "b:2") == "Untagged: localhost/b:2"
    assert "in use by container c" in rpod.fails("rmi", "a:1", code=2)
    assert rpod.ok("rmi", "-f", stored[:12]).splitlines() == ["Untagged: localhost/a:1", f"Deleted: {stored}"]
    assert rpod.ok("ps", "-aq") == rpod.ok("images", "-q") == ""
    assert list((rpod.data / "layers").iterdir()) == []


def test_who_loses_a_name_stays_without_one(fresh_rpod: Rpod, stored: str) -> None:
    rpod = fresh_rpod
    newer = rpod.ok("import", "-q", "-", "a:1", stdin=tar(member("f", b"2")))
    rpod.ok("untag", "b:2", "b:2")
    rows = rpod.ok("images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
    assert sorted(rows) == [f"<none>:<none> sha256:{stored}", f"localhost/a:1 sha256:{newer}"]
    assert rpod.ok("images", "-q", "--no-trunc", "--filter", "dangling=true") == f"sha256:{stored}"
    assert rpod.ok("image", "prune", "--force") == stored
    assert "has no such name" in rpod.fails("untag", "a:1", "b:2")


def test_what_images_share(fresh_rpod: Rpod, stored: str) -> None:
    rpod = fresh_rpod
    form = "{{.Repository}} {{.SharedSize}}"
    assert sorted(rpod.ok("images", "--format", form).splitlines()) == ["localhost/a 0", "localhost/b 0"]
    rpod.ok("create", "--name", "c", "a:1", "x")
    rpod.ok("commit", "-q", "c", "above:1")
    rows = {row["Repository"]: row for row in json.loads(rpod.ok("images", "--format", "json"))}
    below = rows["localhost/a"]
    assert below["SharedSize"] == below["Size"] > 0
    assert rows["localhost/above"]["SharedSize"] == below["Size"] < rows["localhost/above"]["Size"]
    for record in (rpod.data / "layers").glob("*/layer.json"):
        record.write_text("{")
    assert len(json.loads(rpod.ok("images", "--format", "json"))) == 3

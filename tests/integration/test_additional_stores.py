"""``storage.additional``: images and layers of another store, which is only read."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.archives import member, tar
from support.shell import Rpod

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "localhost/shared:1"


def state(folder: Path) -> dict[str, int]:
    """Everything under a directory with its time of change."""
    return {str(path): os.lstat(path).st_ctime_ns for path in folder.rglob("*")}


@pytest.fixture
def other(fresh_rpod: Rpod, tmp_path: Path) -> Iterator[Rpod]:
    """Another store with a busybox, which ``fresh_rpod`` reads."""
    found = Rpod(tmp_path / "other", fresh_rpod.runtime / "other")
    found.runtime.mkdir(parents=True, mode=0o700)
    busybox.write_layout(tmp_path / "image", tag="shared:1")
    found.ok("load", "-q", "-i", str(tmp_path / "image"))
    fresh_rpod.configure(f'[storage]\nadditional = ["{found.data}"]\n')
    yield found
    found.remove_containers()
    found.ok("system", "reset", "--force")


def test_images_of_another_store_serve_and_stay_as_they_are(fresh_rpod: Rpod, other: Rpod) -> None:
    rpod, before = fresh_rpod, state(other.data)
    (shown,) = json.loads(rpod.ok("images", "--format", "json"))
    assert shown["ReadOnly"] is True and shown["Names"] == [NAME]
    assert rpod.ok("images", "-q", "--filter", "readonly=false") == ""
    assert rpod.ok("run", "--rm", "shared:1", "cat", "/var/www/index.html").startswith("<h1>")
    rpod.ok("run", "--name", "c", "shared:1", "sh", "-c", "echo new >/file")
    assert "A /file" in rpod.ok("diff", "c").splitlines()
    rpod.ok("commit", "-q", "c", "mine")
    assert rpod.ok("run", "--rm", "mine", "cat", "/file") == "new"
    assert len(list((rpod.data / "layers").iterdir())) == 1, "the base stays where it is"
    assert rpod.ok("image", "inspect", "-f", "{{.RepoTags}}", "shared:1") == f"[{NAME}]"
    for words in (["rmi", "-f", "shared:1"], ["tag", "shared:1", "x"], ["untag", "shared:1"]):
        assert "only read" in rpod.fails(*words), words
    assert rpod.ok("ps", "-aq") != "", "rmi --force has left its container alone"
    assert rpod.ok("system", "check") == ""
    rpod.ok("system", "prune", "-af")
    assert rpod.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == NAME
    assert state(other.data) == before


def test_layers_that_another_store_has_are_not_stored_again(fresh_rpod: Rpod, other: Rpod, tmp_path: Path) -> None:
    other.ok("create", "--name", "c", "shared:1", "x")
    other.ok("commit", "-q", "c", "child")
    other.ok("save", "-q", "-o", str(tmp_path / "child.tar"), "child")
    other.ok("rmi", "child")
    fresh_rpod.ok("load", "-q", "-i", str(tmp_path / "child.tar"))
    assert len(list((fresh_rpod.data / "layers").iterdir())) == 1
    assert fresh_rpod.ok("run", "--rm", "child", "echo", "works") == "works"


def test_a_store_that_is_gone_says_so_and_stops_nothing(fresh_rpod: Rpod, other: Rpod) -> None:
    fresh_rpod("import", "-q", "-", "own", stdin=tar(member("f", b"1")))
    shutil.move(other.data, other.data.with_name("away"))
    done = fresh_rpod("images", "-q")
    assert done.code == 0 and len(done.out.split()) == 1 and "left out" in done.err
    assert "no such image" in fresh_rpod.fails("run", "--pull", "never", "localhost/shared:1")
    shutil.move(other.data.with_name("away"), other.data)


def test_paths_are_absolute(fresh_rpod: Rpod) -> None:
    fresh_rpod.configure('[storage]\nadditional = ["images"]\n')
    assert "must be absolute paths, not 'images'" in fresh_rpod.fails("images")

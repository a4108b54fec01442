"""A disk that fills up while an image arrives."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.archives import member, tar
from support.leaks import Leaks
from support.rogue_registry import RogueRegistry
from support.serving import serve
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def registry() -> Iterator[RogueRegistry]:
    with RogueRegistry() as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    """A small disk, of the size that the test's parameter says."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare(1) is missing")
    small = Disk(tmp_path / "home", request.param)
    leaks = Leaks(small.rpod)
    yield small
    small.close()
    leaks.assert_none()


def used_kib(disk: Disk) -> int:
    return int(disk.ok("df -k --output=used $DISK | tail -1"))


@pytest.mark.parametrize(("disk", "layer_bytes"), [("16m", 6 << 20), ("300m", 110 << 20)], indirect=["disk"])
def test_a_disk_that_fills_up_while_an_image_arrives(disk: Disk, registry: RogueRegistry, layer_bytes: int) -> None:
    """It holds the image's first layer, not all three."""
    trees = [tar(member(f"big{n}", os.urandom(layer_bytes))) for n in range(3)]
    big = serve(registry, "large", trees)
    little = serve(registry, "little", [tar(member("file", b"1"))])
    disk.ok(f"$RPOD pull -q --tls-verify=false {little}")
    before = used_kib(disk)
    code, out = disk.do(f"$RPOD pull -q --tls-verify=false {big}")
    assert code == 125 and "no space left on device" in out and "hint:" in out, out
    assert used_kib(disk) <= before + 100, "the room is back"
    assert disk.ok("$RPOD images -q | wc -l").strip() == "1"
    assert disk.ok("$RPOD system check") == ""
    disk.ok(f"$RPOD pull -q --tls-verify=false {serve(registry, 'other', trees[:1])}")


@pytest.mark.parametrize("disk", ["16m"], indirect=True)
def test_everything_can_be_removed_from_a_full_disk(disk: Disk, registry: RogueRegistry) -> None:
    names = [serve(registry, f"n{n}", [tar(member("file", os.urandom(300_000)))]) for n in range(3)]
    for name in names:
        disk.ok(f"$RPOD pull -q --tls-verify=false {name}")
    disk.ok(f"$RPOD create --name c {names[0]} x")
    disk.ok("$RPOD volume create v")
    disk.fill(0)
    disk.ok(f"$RPOD rmi {names[2]}")
    disk.fill(0)
    disk.ok("$RPOD rm c")
    disk.fill(0)
    disk.ok("$RPOD image prune -af")
    disk.fill(0)
    disk.ok("$RPOD system prune -af --volumes")
    assert disk.ok("$RPOD images -q; $RPOD ps -aq; $RPOD volume ls -q") == ""
    disk.do("rm -f $DISK/filler*")
    assert disk.ok("$RPOD system check") == ""

"""A full disk: nothing half-made stays, what runs can be stopped, and everything can be removed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from support.leaks import Leaks
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk with the built-in image on it."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare(1) is missing")
    small = Disk(tmp_path / "home", "12m")
    leaks = Leaks(small.rpod)
    small.ok("$RPOD run --rm hello")
    yield small
    small.do("rm -f $DISK/filler*")
    for ident in small.ok("$RPOD ps -aq").split():
        small.ok(f"$RPOD rm -f -t 0 {ident}")
    assert (
        small.ok(
            "ls $DISK/data/rpod/containers $DISK/data/rpod/names $DISK/data/rpod/staging | grep -v :; true"
        ).strip()
        == ""
    )
    small.close()
    leaks.assert_none()


def test_run_on_a_disk_that_fills_up_at_each_step(disk: Disk) -> None:
    codes = set()
    for free_kib in (0, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 96):
        disk.fill(free_kib)
        code, out = disk.do("$RPOD run --rm --network none hello")
        assert code in (0, 125), (free_kib, out)
        if code:
            assert "no space left" in out, (free_kib, out)
            assert "hint:" in out, (free_kib, out)
        codes.add(code)
        code, out = disk.do("$RPOD ps -aq")
        assert (code, out) == (0, ""), (free_kib, out)
    assert codes == {0, 125}


def test_pull_of_the_built_in_image_on_a_full_disk(tmp_path: Path) -> None:
    small = Disk(tmp_path / "home", "12m")
    for free_kib in (0, 16, 40):
        small.fill(free_kib)
        code, out = small.do("$RPOD run --rm hello")
        assert code == 125, (free_kib, out)
        assert "no space left" in out, (free_kib, out)
    small.ok("rm -f $DISK/filler*")
    assert "Hello" in small.ok("$RPOD run --rm hello")
    small.close()


def test_stop_and_rm_on_a_full_disk(disk: Disk) -> None:
    """What helps to make room must not need any."""
    waits = '--entrypoint \'["/hello","pause"]\' hello'
    for name in ("one", "two", "three"):
        disk.ok(f"$RPOD run -d --network none --name {name} {waits}")
    disk.fill(0)
    assert "one" in disk.ok("$RPOD ps")
    disk.ok("$RPOD stop -t 1 one")
    disk.ok("$RPOD kill two")
    disk.ok("$RPOD rm -f -t 0 three")
    code, out = disk.do("$RPOD ps -a --format '{{.Names}} {{.State}} {{.ExitCode}}'")
    assert code == 0, out
    assert set(out.splitlines()) == {"one exited 0", "two exited 137"}, "also the exit codes have survived"
    disk.fill(0)
    disk.ok("$RPOD rm one")
    disk.ok("$RPOD rm -f two")
    disk.fill(0)
    disk.ok("$RPOD system prune --force")
    disk.ok("$RPOD rmi hello")

"""pull and prune killed at system calls, and a disk that fills up while an image arrives."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.archives import member, tar
from support.leaks import Leaks
from support.rogue_registry import CONFIG, LAYER, Parts, RogueRegistry, descriptor, digest_of
from support.shell import program, wait_for
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod

CALLS = ["rename", "fsync", "mkdir", "openat", "write", "unlink,unlinkat", "symlink"]
# Early, in the middle and late of what the verb does of each; a run that has fewer of them ends the sweep.
NUMBERS = (1, 2, 4, 7, 12, 40, 150)
_BIG_BYTES = 6 << 20


def serve(registry: RogueRegistry, name: str, trees: list[bytes]) -> str:
    """An image of these layers, uncompressed; its name."""
    config = Parts(rootfs={"type": "layers", "diff_ids": list(map(digest_of, trees))}).config
    for blob in (*trees, config):
        registry.blob(name, blob)
    layers = [descriptor(LAYER.removesuffix("+gzip"), tree) for tree in trees]
    registry.manifest(name, "1", {**Parts().manifest, "config": descriptor(CONFIG, config), "layers": layers})
    return f"{registry.address}/{name}:1"


@pytest.fixture(scope="module")
def registry() -> Iterator[RogueRegistry]:
    with RogueRegistry() as server:
        yield server


@pytest.mark.parametrize("verb", ["pull", "prune"])
@pytest.mark.parametrize("syscall", CALLS)
def test_killed_at_a_system_call(fresh_rpod: Rpod, registry: RogueRegistry, verb: str, syscall: str) -> None:
    """Whatever stands after it is whole or swept; ``system check`` says so, and the next try works."""
    rpod = fresh_rpod
    small = [tar(*(member(f"l{n}/f{i}", bytes(900)) for i in range(20))) for n in range(3)]
    name = serve(registry, "small", small)
    pull = ["pull", "-q", "--tls-verify=false", name]
    arguments = {"pull": pull, "prune": ["system", "prune", "-af"]}[verb]
    for number in NUMBERS:
        if verb == "pull":
            rpod("rmi", "-f", name)
        else:
            rpod.ok(*pull)
            rpod.ok("create", "--name", "ended", name, "x")
        inject = ["-f", "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={number}"]
        argv = ["strace", "-qq", "-o", "/dev/null", *inject, *program(), *arguments]
        done = subprocess.run(argv, env=rpod.env, capture_output=True, timeout=60, check=False)
        wait_for(lambda: rpod.processes() == [], what="the end of the workers")
        mended = rpod("system", "check", "--repair")
        assert mended.code == 0 and "Traceback" not in mended.err, (number, mended)
        assert rpod.ok("system", "check") == "", number
        rpod.remove_containers()
        if done.returncode == 0:
            break
    rpod.ok(*pull)
    rpod.ok("system", "prune", "-af")
    assert rpod.ok("images", "-q") == "" and rpod.ok("system", "check") == "" and rpod.leftovers() == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A disk that holds the image's first layer, not both."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare(1) is missing")
    small = Disk(tmp_path / "home", "16m")
    leaks = Leaks(small.rpod)
    yield small
    small.close()
    leaks.assert_none()


def used_kib(disk: Disk) -> int:
    return int(disk.ok("df -k --output=used $DISK | tail -1"))


def test_a_disk_that_fills_up_while_an_image_arrives(disk: Disk, registry: RogueRegistry) -> None:
    trees = [tar(member(f"big{n}", os.urandom(_BIG_BYTES))) for n in range(3)]
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

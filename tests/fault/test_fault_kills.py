"""pull, load, commit, rmi and prune killed at their system calls: two hundred kills, and the store is sound after each.

The calls of a verb are counted first, by process, so that the kills are spread evenly from its first to its last
and every one of them strikes.
"""

from __future__ import annotations

import re
import shutil
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from support.archives import member, tar
from support.leaks import Leaks
from support.rogue_registry import RogueRegistry
from support.serving import serve
from support.shell import wait_for
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERBS = ("pull", "load", "commit", "rmi", "prune")
CALLS = ("openat", "write", "close", "mkdir,mkdirat", "rename,renameat", "unlink,unlinkat", "fsync,syncfs", "symlink")
KILLS = 6  # of each call in each verb, where it has as many


def traced(disk: Disk, options: str, words: str) -> str:
    """Run rpod under strace and return what that wrote; it waits for the last child."""
    disk.do(f"strace -f -q -o $DISK/trace {options} $RPOD {words}")
    wait_for(lambda: disk.rpod.processes() == [], what="the end of the workers")
    return disk.ok("cat $DISK/trace")


def spread(most: int) -> list[int]:
    """Up to KILLS numbers from 1 to ``most``, the first and the last among them."""
    if most <= KILLS:
        return list(range(1, most + 1))
    return [1 + (most - 1) * step // (KILLS - 1) for step in range(KILLS)]


@pytest.fixture(scope="module")
def registry() -> Iterator[RogueRegistry]:
    with RogueRegistry() as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """rpod as root of a namespace: newuidmap, which gains nothing under strace, is not needed there."""
    for name in ("strace", "unshare"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is missing")
    small = Disk(tmp_path / "home", "64m")
    leaks = Leaks(small.rpod)
    yield small
    small.close()
    leaks.assert_none()


class Stage:
    """What is there before a verb, and the verb's words."""

    def __init__(self, disk: Disk, registry: RogueRegistry) -> None:
        self._disk = disk
        trees = [tar(*(member(f"l{n}/f{i}", bytes(900)) for i in range(20))) for n in range(3)]
        self._name = serve(registry, "small", trees)
        self.words = {
            "pull": f"pull -q --tls-verify=false {self._name}",
            "load": "load -q -i $DISK/image.tar",
            "commit": "commit -q c new",
            "rmi": f"rmi -f {self._name}",
            "prune": "system prune -af",
        }
        disk.ok(f"$RPOD {self.words['pull']}")
        disk.ok(f"$RPOD save -q -o $DISK/image.tar {self._name}")

    def before(self, verb: str) -> None:
        """Make it so that the verb has all its work to do."""
        self._disk.do(f"$RPOD rm -fa; $RPOD rmi -f {self._name} new")
        if verb in ("commit", "rmi", "prune"):
            self._disk.ok(f"$RPOD {self.words['load']}")
        if verb in ("commit", "prune"):
            self._disk.ok(f"$RPOD create --name c {self._name} x")
        if verb == "commit":
            self._disk.ok("$RPOD cp $DISK/image.tar c:/new")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("syscall", CALLS)
def test_killed_at_a_system_call(disk: Disk, registry: RogueRegistry, verb: str, syscall: str) -> None:
    """What stands after it is whole, and what does not count is harmless: ``system check`` says so before a repair."""
    stage = Stage(disk, registry)
    words = stage.words[verb]
    for _ in range(2):  # the first one fills the caches
        stage.before(verb)
        calls = traced(disk, f"-e trace={syscall}", words)
    for call in syscall.split(","):
        by_process = Counter(re.findall(rf"^(\d+) +{call}\(", calls, re.MULTILINE))
        numbers = spread(max(by_process.values(), default=0))
        struck = 0
        for number in numbers:
            stage.before(verb)
            said = traced(disk, f"-e trace={call} -e inject={call}:signal=KILL:when={number}", words)
            struck += "killed by SIGKILL" in said
            left = disk.ok("$RPOD system check").splitlines()
            assert all(line.endswith("(harmless)") for line in left), (call, number, left)
            disk.ok("$RPOD system check --repair")
            assert disk.ok("$RPOD system check") == "", (call, number)
        # How threads share the work differs a little from run to run.
        assert struck >= len(numbers) - 1, (call, numbers)
    stage.before(verb)
    disk.ok(f"$RPOD {words}")
    disk.ok("$RPOD rm -fa; $RPOD system prune -af")
    assert disk.ok("$RPOD images -q; $RPOD system check; ls $DISK/data/rpod/staging") == ""

"""A full disk: nothing half-made stays, what runs can be stopped, and everything can be removed.

rpod runs as root of a user namespace of this user's, on a small tmpfs that only exists there. The
newuidmap of that namespace is given ranges by a file bound over /etc/subuid.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.leaks import Leaks
from support.shell import Rpod, program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Reads commands from stdin, one a line, and ends every answer with a line of its own.
SHELL = """
set -u
mount -t tmpfs -o size=$SIZE,mode=0700 tmpfs "$DISK"
printf 'root:1:65535\\n' > "$DISK/ids"
mount --bind "$DISK/ids" /etc/subuid
mount --bind "$DISK/ids" /etc/subgid
mkdir -p "$DISK/run" && chmod 700 "$DISK/run"
echo "=== 0"
while read -r line; do
    eval "$line" 2>&1 < /dev/null
    echo "=== $?"
done
"""


class Disk:
    """A shell in a namespace with a small disk; ``do`` runs a line there and returns its code and words."""

    def __init__(self, home: Path, size: str) -> None:
        disk = home / "disk"
        disk.mkdir(parents=True)
        self.rpod = Rpod(disk, disk / "run")
        unshare = ["unshare", "--mount", "--map-root-user", "--map-auto", "bash", "-c", SHELL]
        env = {**self.rpod.env, "DISK": str(disk), "SIZE": size, "RPOD": " ".join(program())}
        self._shell = subprocess.Popen(unshare, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> tuple[int, str]:
        assert self._shell.stdout is not None
        lines: list[str] = []
        for line in self._shell.stdout:
            mark, _, code = line.rstrip("\n").rpartition("=== ")
            if line.startswith("=== ") or mark:
                return int(code), "".join([*lines, mark])
            lines.append(line)
        raise AssertionError("".join(lines))

    def do(self, line: str) -> tuple[int, str]:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()
        code, out = self._answer()
        assert "Traceback" not in out, out
        assert "bug in rpod" not in out, out
        return code, out

    def ok(self, line: str) -> str:
        code, out = self.do(line)
        assert code == 0, out
        return out

    def fill(self, free_kib: int) -> None:
        """Leave ``free_kib`` KiB."""
        self.do("rm -f $DISK/filler*")
        self.do("dd if=/dev/zero of=$DISK/filler bs=4k 2>/dev/null")
        if free_kib:
            self.do(f"truncate -s -{free_kib}k $DISK/filler")

    def close(self) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(20)


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
    code, out = disk.do("$RPOD ps -a --format '{{.Names}} {{.State}}'")
    assert code == 0, out
    assert {line.split()[0] for line in out.splitlines()} == {"one", "two"}
    assert "running" not in out
    disk.fill(0)
    disk.ok("$RPOD rm one")
    disk.ok("$RPOD rm -f two")
    disk.fill(0)
    disk.ok("$RPOD system prune --force")
    disk.ok("$RPOD rmi hello")

"""load, commit and rmi killed at a system call: what is left is swept or mended, and the next try works."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support.archives import member, tar
from support.shell import program, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

CALLS = ["rename", "fsync", "mkdir"]


@pytest.fixture
def archive(fresh_rpod: Rpod, tmp_path: Path) -> Path:
    """A docker-archive of two layers, and the image's container ``c``."""
    root = tar(*(member(f"d{i % 5}/f{i}", bytes(2000)) for i in range(50)))
    fresh_rpod("import", "-q", "-", "base", stdin=root)
    fresh_rpod.ok("create", "--name", "c", "base", "x")
    fresh_rpod.ok("commit", "-q", "c", "two")
    fresh_rpod.ok("save", "-q", "-o", str(tmp_path / "two.tar"), "two")
    return tmp_path / "two.tar"


@pytest.mark.parametrize("syscall", CALLS)
@pytest.mark.parametrize("verb", ["load", "commit", "rmi"])
def test_killed_at_a_system_call(fresh_rpod: Rpod, archive: Path, verb: str, syscall: str) -> None:
    rpod = fresh_rpod
    arguments = {"load": ["load", "-i", str(archive)], "commit": ["commit", "c", "new"], "rmi": ["rmi", "-f", "two"]}[
        verb
    ]
    for number in (1, 3, 6):
        if verb == "load":
            rpod("rmi", "two")
        else:
            rpod.ok("load", "-q", "-i", str(archive))
        inject = ["-f", "-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={number}"]
        argv = ["strace", "-qq", "-o", "/dev/null", *inject, *program(), *arguments]
        done = subprocess.run(argv, env=rpod.env, capture_output=True, timeout=60, check=False)
        wait_for(lambda: rpod.processes() == [], what="the end of the workers")
        assert rpod("system", "check", "--repair").code == 0
        assert rpod.ok("system", "check") == ""
        if done.returncode == 0:
            break  # it has fewer of these calls
    rpod.ok("load", "-q", "-i", str(archive))
    assert rpod.ok(*arguments) != ""
    assert rpod.ok("system", "check") == ""

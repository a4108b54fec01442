"""Fifty containers at once."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.shell import Rpod

COUNT = 50
AT_ONCE = 10


@pytest.mark.slow
def test_fifty_at_once(rpod: Rpod, image: str) -> None:
    names = [f"c{number:02}" for number in range(COUNT)]
    waiting = list(names)
    running: list[subprocess.Popen[bytes]] = []
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            name = waiting.pop()
            running.append(rpod.start("run", "-d", "--name", name, image, "sleep", "600", stdout=subprocess.DEVNULL))
        assert running.pop(0).wait(60) == 0
    rows = rpod.ok("ps", "--format", "{{.Names}} {{.State}} {{.Pid}}").splitlines()
    assert sorted(row.split()[0] for row in rows) == names
    assert {row.split()[1] for row in rows} == {"running"}
    assert len({row.split()[2] for row in rows}) == COUNT
    assert len(rpod.ok("kill", "--all").split()) == COUNT
    assert rpod.ok("wait", *names, timeout_s=60).split() == ["137"] * COUNT
    assert len(rpod.ok("rm", "--all", timeout_s=60).split()) == COUNT
    assert rpod.ok("ps", "-aq") == ""

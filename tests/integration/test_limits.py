"""Limits: those of the process everywhere, those of cgroups where the controllers are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.shell import Rpod

CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()


def test_ulimits(rpod: Rpod, image: str) -> None:
    script = "ulimit -Sn; ulimit -Hn; ulimit -c"
    words = ("--ulimit", "nofile=100:200", "--ulimit", "core=0")
    assert rpod.ok("run", "--rm", *words, image, "sh", "-c", script).split() == ["100", "200", "0"]
    assert "PATIENCE" in rpod.fails("run", "--rm", "--ulimit", "patience=1", image, "true")


@pytest.mark.parametrize(
    ("option", "value", "controller"),
    [
        ("--memory", "64m", "memory"),
        ("--cpus", "0.5", "cpu"),
        ("--cpu-shares", "512", "cpu"),
        ("--cpuset-cpus", "0", "cpuset"),
        ("--pids-limit", "50", "pids"),
    ],
)
def test_a_limit_holds_or_its_missing_controller_is_named(
    rpod: Rpod, image: str, option: str, value: str, controller: str
) -> None:
    done = rpod("run", "--rm", option, value, image, "true")
    if controller in CONTROLLERS:
        assert done.code == 0, done
        return
    assert done.code == 125
    assert f"{option} needs the cgroup controller '{controller}'" in done.err, done
    assert "hint" in done.err


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--memory", "lots"),
        ("--memory", "1k"),
        ("--cpus", "none"),
        ("--cpus", "-1"),
        ("--cpuset-cpus", "a-b"),
        ("--pids-limit", "few"),
        ("--cpu-shares", "1"),
    ],
)
def test_limits_that_make_no_sense(rpod: Rpod, image: str, option: str, value: str) -> None:
    assert option in rpod.fails("run", "--rm", option, value, image, "true")


def test_every_container_has_a_cgroup_of_its_own(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "one", image, "sleep", "60")
    path = Path(rpod.ok("inspect", "-f", "{{.State.CgroupPath}}", "one"))
    pid = rpod.ok("inspect", "-f", "{{.State.Pid}}", "one")
    assert pid in (path / "cgroup.procs").read_text().split()
    assert "0::/" in rpod.ok("exec", "one", "cat", "/proc/self/cgroup").splitlines()
    rpod.ok("rm", "-f", "-t", "0", "one")
    assert not path.exists()

"""update: other limits for a container that is there. Which limits can be shown depends on the controllers here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from support.shell import Rpod

CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
CASES = [
    ("--pids-limit", "50", "pids", "pids.max", "50", ".HostConfig.PidsLimit"),
    ("--cpus", "0.5", "cpu", "cpu.max", "50000 100000", ".HostConfig.CpuQuota"),
    ("--cpu-shares", "512", "cpu", "cpu.weight", "20", ".HostConfig.CpuShares"),
    ("--cpuset-cpus", "0", "cpuset", "cpuset.cpus", "0", ".HostConfig.CpusetCpus"),
    ("--memory", "64m", "memory", "memory.max", "67108864", ".HostConfig.Memory"),
    ("--memory-reservation", "32m", "memory", "memory.low", "33554432", ".HostConfig.MemoryReservation"),
    ("--blkio-weight", "500", "io", "io.weight", "default 4950", ".HostConfig.BlkioWeight"),
]


def cgroup(rpod: Rpod, name: str) -> Path:
    return Path("/sys/fs/cgroup" + rpod.ok("inspect", "-f", "{{.State.CgroupPath}}", name))


def spec(rpod: Rpod, name: str) -> str:
    return Path(rpod.ok("inspect", "-f", "{{.OCIConfigPath}}", name)).read_text()


def live(rpod: Rpod, image: str, *options: str) -> None:
    rpod.ok("run", "-d", "--name", "live", *options, image, "sleep", "1000")


def test_a_limit_holds_at_once_and_at_the_next_start(rpod: Rpod, image: str) -> None:
    live(rpod, image)
    assert rpod.ok("update", "--cgroup-conf", "cgroup.max.descendants=7", "live") == "live"
    assert (cgroup(rpod, "live") / "cgroup.max.descendants").read_text() == "7\n"
    rpod.ok("restart", "-t", "0", "live")
    assert (cgroup(rpod, "live") / "cgroup.max.descendants").read_text() == "7\n"
    rpod.ok("stop", "-t", "0", "live")
    rpod.ok("update", "--cgroup-conf", "cgroup.max.descendants=8", "live")
    rpod.ok("start", "live")
    assert (cgroup(rpod, "live") / "cgroup.max.descendants").read_text() == "8\n"


@pytest.mark.parametrize(("option", "value", "controller", "file", "text", "field"), CASES)
def test_every_limit_holds_or_its_missing_controller_is_named(
    rpod: Rpod, image: str, option: str, value: str, controller: str, file: str, text: str, field: str
) -> None:
    live(rpod, image, "--cgroup-conf", "cgroup.max.depth=5")
    before = spec(rpod, "live")
    done = rpod("update", "--cgroup-conf", "cgroup.max.depth=6", option, value, "live")
    if controller in CONTROLLERS:
        assert done.code == 0, done
        assert (cgroup(rpod, "live") / file).read_text().strip() == text
        assert spec(rpod, "live") != before
        return
    assert done.code == 125
    assert f"{option} needs the cgroup controller {controller!r}" in done.err
    assert "hint" in done.err
    assert (cgroup(rpod, "live") / "cgroup.max.depth").read_text() == "5\n", "nothing else was changed"
    assert spec(rpod, "live") == before
    rpod.ok("stop", "-t", "0", "live")
    assert controller in rpod.fails("update", option, value, "live")
    assert spec(rpod, "live") == before


def test_all_or_nothing(rpod: Rpod, image: str) -> None:
    live(rpod, image, "--cgroup-conf", "cgroup.max.depth=5")
    before = spec(rpod, "live")
    words = ("--cgroup-conf", "cgroup.max.depth=6", "--cgroup-conf", "cgroup.max.descendants=many")
    assert "descendants" in rpod.fails("update", *words, "live")
    assert (cgroup(rpod, "live") / "cgroup.max.depth").read_text() == "5\n"
    assert spec(rpod, "live") == before
    rpod.ok("update", "--cgroup-conf", "cgroup.max.depth=6", "live")


def test_restart_policy_and_variables(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "env", "-e", "A=1", "-e", "B=2", image, "sh", "-c", "echo $A $B $C")
    rpod.ok("update", "--restart", "on-failure:3", "-e", "C=3", "-e", "A=9", "--unsetenv", "B", "env")
    policy = json.loads(rpod.ok("inspect", "-f", "{{json .HostConfig.RestartPolicy}}", "env"))
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert rpod.ok("start", "-a", "env") == "9 3"
    rpod.ok("create", "--rm", "--name", "brief", image, "true")
    assert "--rm" in rpod.fails("update", "--restart", "always", "brief")


def test_what_makes_no_sense(rpod: Rpod, image: str) -> None:
    live(rpod, image)
    assert "nothing to update" in rpod.fails("update", "live")
    assert "--memory" in rpod.fails("update", "--memory", "lots", "live")
    assert "--restart" in rpod.fails("update", "--restart", "sometimes", "live")
    assert "nobody" in rpod.fails("update", "--restart", "no", "nobody")
    rpod.ok("kill", "live")
    wait_for(lambda: rpod.ok("ps", "-q") == "")
    rpod.ok("update", "--restart", "no", "live")

"""Limits: those of the process everywhere, those of cgroups where the controllers are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rootless.kernel import cgroup2

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


def test_best_effort_starts_without_what_is_not_delegated_and_says_so(rpod: Rpod, image: str) -> None:
    words = ("--limits", "best-effort", "--cgroups", "disabled", "--memory", "64m", "--cpuset-cpus", "0")
    done = rpod("run", "-d", "--name", "box", *words, image, "sleep", "1000")
    assert done.code == 0, done
    assert "--memory does not hold: the cgroup controller 'memory' is not delegated" in done.err
    assert "--cpuset-cpus does not hold" in done.err
    rpod.ok("exec", "box", "true")
    again = rpod("restart", "-t", "0", "box")
    assert again.code == 0, again
    strict = rpod.fails("run", "--rm", *words[2:], image, "true")
    assert "--limits best-effort starts it without" in strict
    assert "enforce or best-effort" in rpod.fails("run", "--rm", "--limits", "some", image, "true")


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
    path = Path("/sys/fs/cgroup" + rpod.ok("inspect", "-f", "{{.State.CgroupPath}}", "one"))
    pid = rpod.ok("inspect", "-f", "{{.State.Pid}}", "one")
    assert pid in (path / "cgroup.procs").read_text().split()
    assert "0::/" in rpod.ok("exec", "one", "cat", "/proc/self/cgroup").splitlines()
    rpod.ok("rm", "-f", "-t", "0", "one")
    assert not path.exists()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--memory-reservation", "64m"), "--memory-reservation needs the cgroup controller 'memory'"),
        (("--cpu-period", "50000"), "--cpu-period needs the cgroup controller 'cpu'"),
        (("--cpu-quota", "50000"), "needs the cgroup controller 'cpu'"),
        (("--cpuset-mems", "0"), "--cpuset-mems needs the cgroup controller 'cpuset'"),
        (("--blkio-weight", "500"), "--blkio-weight needs the cgroup controller 'io'"),
        (("--cgroup-conf", "memory.high=1073741824"), "--cgroup-conf memory.high needs the cgroup controller 'memory'"),
    ],
)
def test_rare_limits_hold_or_name_their_controller(rpod: Rpod, image: str, words: tuple[str, str], named: str) -> None:
    done = rpod("run", "--rm", *words, image, "true")
    if named.split("'")[1] in CONTROLLERS:
        assert done.code == 0, done
    else:
        assert done.code == 125, done
        assert named in done.err, done


def test_a_file_of_the_cgroup_itself_needs_no_controller(rpod: Rpod, image: str) -> None:
    words = ("--cgroup-conf", "cgroup.max.depth=7")
    script = "cat /sys/fs/cgroup/cgroup.max.depth"
    assert rpod.ok("run", "--rm", *words, image, "sh", "-c", script) == "7"


def test_a_value_that_the_kernel_refuses_is_named(rpod: Rpod, image: str) -> None:
    said = rpod.fails("run", "--rm", "--cgroup-conf", "cgroup.max.depth=deep", image, "true")
    assert "--cgroup-conf cgroup.max.depth cannot be set" in said
    assert rpod.ok("ps", "-aq") == ""


def test_cgroups_modes(rpod: Rpod, image: str) -> None:
    words = ("run", "-d", "--name", "bare", "--cgroups", "disabled", image, "sleep", "60")
    rpod.ok(*words)
    assert rpod.ok("inspect", "-f", "{{.State.CgroupPath}}", "bare") == ""
    rpod.ok("rm", "-f", "-t", "0", "bare")
    assert "--memory" in rpod.fails("run", "--rm", "--cgroups", "disabled", "--memory", "64m", image, "true")
    assert rpod.ok("run", "--rm", "--cgroups", "no-conmon", image, "echo", "hi") == "hi"


def test_a_cgroup_that_is_not_delegated_is_said(rpod: Rpod, image: str) -> None:
    processes = Path(cgroup2.own_path(), "cgroup.procs")
    processes.chmod(0o444)
    try:
        said = rpod.fails("run", "--rm", "--cgroups", "no-conmon", image, "true")
    finally:
        processes.chmod(0o644)
    assert "is not delegated to the user" in said
    assert "systemd-run --user --scope" in said
    assert rpod.leftovers() == []


def test_split_moves_only_what_is_ours(rpod: Rpod, image: str) -> None:
    done = rpod("run", "-d", "--name", "half", "--cgroups", "split", image, "sleep", "60")
    assert done.code == 0, done
    path = Path("/sys/fs/cgroup" + rpod.ok("inspect", "-f", "{{.State.CgroupPath}}", "half"))
    monitor = rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", "half")
    assert monitor in (path.parent / "supervisor" / "cgroup.procs").read_text().split()
    rpod.ok("rm", "-f", "-t", "0", "half")
    assert not path.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--cpus", "1", "--cpu-quota", "1000"),
        ("--cpu-period", "1"),
        ("--cpuset-mems", "x"),
        ("--blkio-weight", "5"),
        ("--blkio-weight-device", "/dev/null:100"),
        ("--device-read-bps", "/dev/null:1mb"),
        ("--device-read-bps", "/no/such:1mb"),
        ("--device-write-iops", "/dev/null"),
        ("--cgroup-conf", "../x=1"),
        ("--memory-reservation", "1g", "--memory", "64m"),
        ("--cgroups", "sometimes"),
        ("--cgroups", "split", "--cgroup-parent", "x"),
    ],
)
def test_more_limits_that_make_no_sense(rpod: Rpod, image: str, words: tuple[str, ...]) -> None:
    assert words[0] in rpod.fails("run", "--rm", *words, image, "true")

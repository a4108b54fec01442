"""``--restart``: containers that are started again, later each time, without daemon and systemd."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from support.shell import Rpod


def status(rpod: Rpod, name: str) -> str:
    return rpod.ok("inspect", "--format", "{{.State.Status}}", name)


def count(rpod: Rpod, name: str) -> int:
    return int(rpod.ok("inspect", "--format", "{{.RestartCount}}", name))


@pytest.fixture
def waiting(rpod: Rpod, image: str) -> str:
    """A container that has ended often enough to wait some seconds for its next start."""
    rpod.ok("run", "-d", "--name", "again", "--restart", "always", image, "sh", "-c", "echo run; exit 3")
    wait_for(lambda: len(rpod.ok("logs", "again").split()) > 5, timeout_s=30)
    wait_for(lambda: status(rpod, "again") == "restarting")
    return "again"


def test_policies(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "twice", "--restart", "on-failure:2", image, "sh", "-c", "echo run; exit 3")
    wait_for(lambda: (count(rpod, "twice"), status(rpod, "twice")) == (2, "exited"))
    assert rpod.ok("logs", "twice").split() == ["run"] * 3
    rpod.ok("run", "-d", "--name", "fine", "--restart", "on-failure", image, "true")
    assert rpod.ok("wait", "fine") == "0"
    wait_for(lambda: status(rpod, "fine") == "exited")
    assert count(rpod, "fine") == 0
    rpod.ok("run", "-d", "--name", "ever", "--restart", "unless-stopped", image, "sleep", "0.1")
    wait_for(lambda: count(rpod, "ever") >= 1)
    rpod.ok("stop", "-t", "1", "ever")
    assert status(rpod, "ever") == "exited"
    assert "--rm and --restart" in rpod.fails("run", "--rm", "--restart", "always", image, "true")


def test_what_waits_is_shown_and_costs_no_interpreter(rpod: Rpod, waiting: str) -> None:
    assert rpod.ok("ps", "--format", "{{.Status}}").startswith("Restarting (3) ")
    assert rpod.ok("ps", "-q", "--filter", "status=restarting")
    assert rpod.ok("inspect", "--format", "{{.State.Restarting}} {{.State.ExitCode}}", waiting) == "true 3"
    pid = rpod.ok("ps", "-aq", "--no-trunc")
    names = [
        (entry / "comm").read_text().strip()
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and pid.encode() in _command_line(entry)
    ]
    assert names == ["rpod-monitor"]
    for words in (("exec", waiting, "true"), ("pause", waiting)):
        said = rpod.fails(*words)
        assert "restarting" in said and f"rpod wait --condition running {waiting}" in said
    assert "restarting" in rpod.fails("rm", waiting, code=2)
    assert rpod.ok("wait", waiting) == "3"


def _command_line(entry: Path) -> bytes:
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("verb", [["stop"], ["kill"], ["kill", "-s", "TERM"]])
def test_whoever_stops_it_ends_the_waiting(rpod: Rpod, waiting: str, verb: list[str]) -> None:
    before = count(rpod, waiting)
    began = time.monotonic()
    rpod.ok(*verb, waiting)
    assert time.monotonic() - began < 8
    assert (status(rpod, waiting), count(rpod, waiting)) == ("exited", before)
    assert rpod.processes() == []
    assert rpod.ok("inspect", "--format", "{{.State.ExitCode}}", waiting) == "3"


def test_what_waits_is_killed(rpod: Rpod, waiting: str) -> None:
    subprocess.run(["kill", "-9", str(_waiting_pid(rpod))], check=True)
    wait_for(lambda: status(rpod, waiting) == "exited")
    rpod.ok("start", waiting)
    rpod.ok("rm", "-f", "-t", "0", waiting)


def _waiting_pid(rpod: Rpod) -> int:
    ident = rpod.ok("ps", "-aq", "--no-trunc").encode()
    return next(int(e.name) for e in Path("/proc").iterdir() if e.name.isdecimal() and ident in _command_line(e))


def test_rm_force_and_start_end_the_waiting(rpod: Rpod, waiting: str) -> None:
    rpod.ok("start", waiting)
    assert count(rpod, waiting) == 0, "a start by hand begins anew"
    rpod.ok("rm", "-f", waiting)
    assert rpod.leftovers() == []


def test_the_foreground_ends_with_the_first_run(rpod: Rpod, image: str) -> None:
    done = rpod("run", "--name", "fore", "--restart", "on-failure:1", image, "sh", "-c", "echo run; exit 4")
    assert (done.code, done.out) == (4, "run\n")
    wait_for(lambda: rpod.ok("logs", "fore").split() == ["run"] * 2)


def test_logs_are_followed_over_starts(rpod: Rpod, image: str) -> None:
    rpod.ok(
        "run", "-d", "--name", "talk", "--restart", "on-failure:2", image, "sh", "-c", "echo run; sleep 0.3; exit 1"
    )
    assert rpod.ok("logs", "-f", "talk").split() == ["run"] * 3


def test_a_start_that_fails_is_tried_again(rpod: Rpod, image: str, tmp_path: Path) -> None:
    source = tmp_path / "data"
    source.mkdir()
    script = "sleep 0.3; exit 1"
    rpod.ok("run", "-d", "--name", "web", "--restart", "always", "-v", f"{source}:/data", image, "sh", "-c", script)
    source.rmdir()
    wait_for(lambda: str(source) in rpod.ok("inspect", "--format", "{{.State.Error}}", "web"), timeout_s=20)
    source.mkdir()
    wait_for(lambda: status(rpod, "web") == "running", timeout_s=30)
    assert rpod.ok("inspect", "--format", "{{.State.Error}}", "web") == ""


def test_a_program_killed_by_hand_stays_down(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "down", "--restart", "always", image, "sleep", "1000")
    rpod.ok("kill", "down")
    wait_for(lambda: status(rpod, "down") == "exited")
    rpod.ok("start", "down")
    end(rpod, "down")
    wait_for(lambda: (count(rpod, "down"), status(rpod, "down")) == (1, "running"))


def end(rpod: Rpod, name: str) -> None:
    """Kill the program behind the engine's back: no policy takes that for a stop."""
    subprocess.run(["kill", "-9", rpod.ok("inspect", "--format", "{{.State.Pid}}", name)], check=True)


@pytest.mark.parametrize("detach", [("-d",), ()])
def test_a_policy_that_came_later(rpod: Rpod, image: str, detach: tuple[str, ...]) -> None:
    process = rpod.start("run", *detach, "--name", "late", image, "sleep", "1000")
    wait_for(lambda: rpod("inspect", "--format", "{{.State.Status}}", "late").out == "running\n")
    rpod.ok("update", "--restart", "on-failure:1", "late")
    end(rpod, "late")
    wait_for(lambda: (count(rpod, "late"), status(rpod, "late")) == (1, "running"))
    assert process.wait(20) == (0 if detach else 137)
    end(rpod, "late")
    wait_for(lambda: status(rpod, "late") == "exited")


def test_stop_all_means_what_waits_for_its_next_start_too(rpod: Rpod, waiting: str) -> None:
    assert rpod.ok("wait", "--condition", "restarting", waiting) == "-1"
    ident = rpod.ok("inspect", "-f", "{{.Id}}", waiting)
    assert rpod.ok("stop", "--all", "-t", "1").split() == [ident]
    assert status(rpod, waiting) == "exited"

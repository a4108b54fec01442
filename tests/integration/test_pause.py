"""pause and unpause, and what the other verbs do to a container that stands still."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
import time
from typing import TYPE_CHECKING

import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from support.shell import Rpod

COUNT = (
    "sh",
    "-c",
    "trap 'exit 5' TERM; n=0; while :; do n=$((n+1)); echo $n >/next; mv /next /count; sleep 0.01; done",
)


@pytest.fixture
def paused(rpod: Rpod, image: str) -> str:
    """A paused container that counts in /count as long as it runs, and ends with 5 at SIGTERM."""
    rpod.ok("run", "-d", "--name", "still", image, *COUNT)
    wait_for(lambda: count(rpod) > 0)
    assert rpod.ok("pause", "still") == "still"
    return "still"


def count(rpod: Rpod) -> int:
    done = rpod("cp", "still:/count", "-")
    if done.code:
        return 0
    with tarfile.open(fileobj=io.BytesIO(done.raw)) as archive:
        file = archive.extractfile("count")
        assert file is not None
        return int(file.read() or b"0")


def status(rpod: Rpod, name: str = "still") -> str:
    return rpod.ok("inspect", "-f", "{{.State.Status}} {{.State.Running}} {{.State.Paused}}", name)


def test_a_paused_program_stands_still_and_goes_on(rpod: Rpod, paused: str) -> None:
    before = count(rpod)
    time.sleep(0.2)
    assert count(rpod) == before > 0
    assert status(rpod) == "paused false true"
    assert rpod.ok("ps", "--format", "{{.Status}}") == "Paused"
    assert [row["State"] for row in json.loads(rpod.ok("ps", "--format", "json"))] == ["paused"]
    assert rpod.ok("ps", "-q", "--filter", "status=paused") != ""
    assert rpod.ok("unpause", paused) == paused
    assert status(rpod) == "running true false"
    wait_for(lambda: count(rpod) > before, what="the program going on")


def test_verbs_that_need_it_to_move_refuse(rpod: Rpod, paused: str) -> None:
    for args in (("pause", paused), ("exec", paused, "true"), ("attach", paused), ("start", paused)):
        message = rpod.fails(*args)
        assert "paused" in message
        assert f"rpod unpause {paused}" in message, message
    assert "paused" in rpod.fails("rm", paused, code=2)
    assert status(rpod) == "paused false true"


def test_unpause_what_is_not_paused(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "idle", image, "true")
    assert "idle is created, not paused" in rpod.fails("unpause", "idle")
    assert "idle is created" in rpod.fails("pause", "idle")
    assert "nobody" in rpod.fails("pause", "nobody")


def test_stop_lets_it_go_on_to_end_by_itself(rpod: Rpod, paused: str) -> None:
    assert rpod.ok("stop", paused) == paused
    assert rpod.ok("inspect", "-f", "{{.State.ExitCode}}", paused) == "5"


def test_restart_starts_it_unpaused(rpod: Rpod, paused: str) -> None:
    rpod.ok("restart", paused)
    assert status(rpod) == "running true false"


def test_kill_and_rm_end_it_where_it_stands(rpod: Rpod, paused: str, image: str) -> None:
    rpod.ok("kill", paused)
    assert rpod.ok("wait", paused) == "137"
    rpod.ok("run", "-d", "--name", "other", image, "sleep", "1000")
    rpod.ok("pause", "other")
    rpod.ok("kill", "-s", "TERM", "other")
    assert status(rpod, "other") == "paused false true", "a signal is kept for it"
    rpod.ok("rm", "-f", "-t", "0", "other")
    assert rpod("container", "inspect", "other").code == 125


def test_top_and_rename_do_not_mind(rpod: Rpod, paused: str) -> None:
    assert "while" in rpod.ok("top", paused)
    rpod.ok("rename", paused, "moved")
    rpod.ok("unpause", "moved")


def test_several_at_once(rpod: Rpod, image: str) -> None:
    idents = {
        name: rpod.ok("run", "-d", "--name", name, "--label", f"tier={tier}", image, "sleep", "1000")
        for name, tier in (("a", "front"), ("b", "front"), ("c", "back"))
    }
    rpod.ok("create", "--name", "d", "--label", "tier=front", image, "true")
    front = {idents["a"], idents["b"]}
    assert set(rpod.ok("pause", "--filter", "label=tier=front").split()) == front
    assert rpod.ok("pause", "--all").split() == [idents["c"]]
    assert rpod.ok("unpause", "--filter", "name=a", "a", "c").split() == [idents["a"]]
    assert set(rpod.ok("unpause", "-a").split()) == {idents["b"], idents["c"]}
    assert rpod.ok("ps", "-q", "--filter", "status=paused") == ""
    assert rpod.ok("stop", "-t", "0", "--filter", "label=tier=back").split() == [idents["c"]]
    assert set(rpod.ok("kill", "--filter", "label=tier=front").split()) == front
    wait_for(lambda: rpod.ok("ps", "-q") == "")
    assert set(rpod.ok("start", "--filter", "label=tier=front", "a").split()) == {idents["a"]}
    assert rpod.ok("restart", "-t", "0", "--filter", "name=^a$").split() == [idents["a"]]
    assert set(rpod.ok("rm", "-f", "-t", "0", "--filter", "label=tier").split()) >= {*front, idents["c"]}
    assert rpod.ok("ps", "-aq") == ""


def test_without_a_cgroup_it_is_refused(rpod: Rpod, image: str) -> None:
    rpod.configure('[engine]\ncgroup_manager = "none"\n')
    try:
        rpod.ok("run", "-d", "--name", "bare", image, "sleep", "1000")
        assert "no cgroup of its own" in rpod.fails("pause", "bare")
    finally:
        (rpod.home / "config" / "rpod" / "containers.toml").unlink()


def test_a_stopped_monitor_does_not_hold_up_rm(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "held", image, "sleep", "1000")
    os.kill(int(rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", "held")), signal.SIGSTOP)
    removing = rpod.start("rm", "-f", "-t", "0", "held", stdout=subprocess.PIPE)
    assert removing.communicate(timeout=8)[0] == b"held\n", "well before the 10 s after which a monitor is killed"

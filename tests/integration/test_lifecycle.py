"""create, start, stop, restart, kill, rm, rename and container prune, as a user types them."""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING

import pytest
from support.shell import SERVE, serve, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod


def status(rpod: Rpod, name: str) -> str:
    return rpod.ok("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name)


def test_the_whole_life(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("create", "--name", "life", image, *SERVE)
    assert len(ident) == 64
    assert status(rpod, "life") == "created 0"
    assert rpod.ok("ps", "-q") == ""
    assert rpod.ok("start", "life") == "life"
    assert status(rpod, "life") == "running 0"
    assert rpod.ok("ps", "-q") == ident[:12]
    wait_for(lambda: rpod.ok("logs", "life") == "up")
    assert rpod.ok("stop", "life") == "life"
    assert status(rpod, "life") == "exited 5"
    assert rpod.ok("start", ident[:6]) == ident[:6]
    assert rpod.ok("restart", "-t", "1", "life") == "life"
    assert status(rpod, "life") == "running 0"
    assert rpod.ok("kill", "life") == "life"
    assert rpod.ok("wait", "life") == "137"
    assert rpod.ok("rm", "life") == "life"
    assert rpod.ok("ps", "-aq") == ""


def test_what_a_container_wrote_survives_a_restart(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "keeps", image, "sh", "-c", "echo x >>/count; wc -l </count")
    assert [rpod.ok("start", "-a", "keeps").strip() for _ in range(3)] == ["1", "2", "3"]


def test_start_attached_gives_the_exit_code_and_takes_input(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "-i", "--name", "in", image, "sh", "-c", "read line; echo got $line; exit 6")
    done = rpod("start", "-ai", "in", stdin=b"words\n")
    assert (done.out, done.code) == ("got words\n", 6)


def test_a_start_that_fails_leaves_what_was(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    mount = f"{tmp_path}/gone:/gone"
    rpod.ok("create", "--name", "new", "-v", mount, image, "true")
    assert rpod("run", "--name", "old", "-v", mount, image, "sh", "-c", "exit 3").code == 3
    (tmp_path / "gone").rmdir()
    finished = rpod.ok("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "old")
    for name in ("new", "old"):
        assert "gone" in rpod.fails("start", name)
    assert status(rpod, "new") == "created 0"
    assert status(rpod, "old") == "exited 3"
    assert rpod.ok("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "old") == finished
    (tmp_path / "gone").mkdir()
    assert rpod("start", "-a", "old").code == 3


def test_a_stop_that_kills_says_so_and_one_that_waits_does_not_kill(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "deaf", image, "sleep", "1000")
    done = rpod("stop", "-t", "1", "deaf")
    assert (done.code, done.out) == (0, "deaf\n")
    assert "deaf did not end within 1 s of the stop signal: it is killed" in done.err
    rpod.ok("run", "-d", "--name", "slow", image, "sh", "-c", "trap 'sleep 2; exit 5' TERM; sleep 1000 & wait")
    rpod.fails("stop", "-t", "-2", "slow")
    done = rpod("stop", "-t", "-1", "slow")
    assert (done.out, done.err) == ("slow\n", "")
    assert rpod.ok("inspect", "-f", "{{.State.ExitCode}}", "slow") == "5"
    assert rpod("stop", "-t", "0", "deaf").err == ""


def test_starting_and_stopping_twice_is_harmless(rpod: Rpod, image: str) -> None:
    serve(rpod, image, "--name", "twice")
    rpod.ok("start", "twice")
    assert rpod.ok("stop", "twice") == rpod.ok("stop", "twice") == "twice"
    assert status(rpod, "twice") == "exited 5"


def test_verbs_on_the_wrong_state(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "idle", image, "true")
    assert "idle" in rpod.fails("kill", "idle")
    assert "idle" in rpod.fails("exec", "idle", "true")
    assert "idle" in rpod.fails("top", "idle")
    assert "idle" in rpod.fails("attach", "idle")
    serve(rpod, image, "--name", "busy")
    message = rpod.fails("rm", "busy", code=2)
    assert "running" in message
    assert "rm -f" in message
    assert status(rpod, "busy") == "running 0"
    assert rpod.ok("rm", "-f", "-t", "0", "busy") == "busy"


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "wait", "logs", "inspect", "top", "port"])
def test_a_container_that_is_not_there(rpod: Rpod, verb: str) -> None:
    message = rpod.fails(verb, "nobody")
    assert "nobody" in message
    assert len(message.splitlines()) <= 2


def test_remove_what_is_not_there(rpod: Rpod) -> None:
    assert "nobody" in rpod.fails("rm", "nobody", code=1)
    rpod.ok("rm", "-f", "nobody")
    rpod.ok("rm", "--ignore", "nobody")


def test_what_shares_namespaces_holds_a_container(rpod: Rpod, image: str) -> None:
    owner = rpod.ok("run", "-d", "--name", "owner", image, "sleep", "1000")
    user = rpod.ok("run", "-d", "--name", "user", "--network", "container:owner", image, "sleep", "1000")
    message = rpod.fails("rm", "-f", "-t", "0", "owner")
    assert "user depends on it" in message
    assert "--depend" in message
    assert rpod.ok("rm", "-f", "-t", "0", "--depend", "owner").split() == [user, "owner"]
    owner = rpod.ok("create", "--name", "owner", image, "true")
    user = rpod.ok("create", "--name", "user", "--ipc", "container:owner", image, "true")
    assert rpod.ok("rm", "-a").split() == [user, owner]
    rpod.ok("create", "--name", "owner", image, "true")
    rpod.ok("create", "--name", "user", "--ipc", "container:owner", image, "true")
    ident = rpod.ok("inspect", "-f", "{{.Id}}", "owner")
    assert len(list((rpod.data / "containers" / ident / "dependents").iterdir())) == 1
    rpod.ok("rm", "user")
    assert list((rpod.data / "containers" / ident / "dependents").iterdir()) == []
    rpod.ok("rm", "owner")


def test_container_exists(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("create", "--name", "here", image, "true")
    for word in ("here", ident, ident[:4]):
        assert rpod("container", "exists", word).code == 0
    gone = rpod("container", "exists", "nobody")
    assert (gone.code, gone.out, gone.err) == (1, "", "")


def test_container_prune(rpod: Rpod, image: str) -> None:
    made = rpod.ok("create", "--name", "made", "--label", "keep", image, "true")
    assert rpod("run", "--name", "ended", image, "true").code == 0
    ended = rpod.ok("inspect", "-f", "{{.Id}}", "ended")
    serve(rpod, image, "--name", "busy")
    asked = rpod("container", "prune", stdin=b"n\n")
    assert "WARNING" in asked.out
    assert len(rpod.ok("ps", "-aq").split()) == 3
    assert rpod.ok("container", "prune", "-f", "--filter", "label!=keep").split() == [ended]
    assert rpod("container", "prune", stdin=b"y\n").out.split()[-1] == made
    assert rpod.ok("ps", "-a", "--format", "{{.Names}}") == "busy"
    assert "colour" in rpod.fails("container", "prune", "-f", "--filter", "colour=red")


def test_container_cleanup(rpod: Rpod, image: str) -> None:
    assert rpod("run", "--name", "ended", image, "sh", "-c", "exit 3").code == 3
    assert rpod.ok("container", "cleanup", "ended") == "ended"
    assert status(rpod, "ended") == "exited 3"
    serve(rpod, image, "--name", "busy")
    assert "busy is running" in rpod.fails("container", "cleanup", "busy")
    assert len(rpod.ok("container", "cleanup", "--all").split()) == 1
    rpod.ok("container", "cleanup", "--rm", "ended")
    assert rpod("container", "exists", "ended").code == 1


def test_start_attached_to_what_runs_joins_it(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "joined", image, "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 7")
    joined = rpod.start("start", "-a", "joined")
    time.sleep(0.2)
    assert joined.poll() is None
    rpod.ok("exec", "joined", "touch", "/go")
    assert joined.wait(20) == 7


def test_kill_sends_any_signal(rpod: Rpod, image: str) -> None:
    script = "trap 'echo usr1' USR1; echo up; while :; do sleep 0.1; done"
    rpod.ok("run", "-d", "--name", "ears", image, "sh", "-c", script)
    wait_for(lambda: "up" in rpod.ok("logs", "ears"))
    for name in ("USR1", "SIGUSR1", "10"):
        rpod.ok("kill", "-s", name, "ears")
    wait_for(lambda: "usr1" in rpod.ok("logs", "ears"))
    assert status(rpod, "ears") == "running 0"
    assert "LOUD" in rpod.fails("kill", "-s", "LOUD", "ears")


def test_a_container_that_is_being_stopped(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "deaf", image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    stopping = rpod.start("stop", "-t", "60", "deaf")
    assert rpod.ok("wait", "--condition", "stopping", "deaf") == "-1"
    assert rpod.ok("ps", "--format", "{{.Status}}") == "Stopping"
    assert rpod.ok("ps", "-q", "--filter", "status=stopping") != ""
    assert "being stopped" in rpod.fails("start", "deaf")
    assert "deaf is stopping" in rpod.fails("pause", "deaf")
    assert "deaf is stopping" in rpod.fails("rm", "deaf", code=2)
    rpod.ok("exec", "deaf", "true")
    stopping.terminate()
    stopping.wait()
    assert status(rpod, "deaf") == "running 0", "whoever wanted to stop it is gone"
    rpod.ok("kill", "deaf")


def test_rename(rpod: Rpod, image: str) -> None:
    ident = serve(rpod, image, "--name", "before")
    rpod.ok("create", "--name", "taken", image, "true")
    rpod.ok("rename", "before", "after")
    assert rpod.ok("inspect", "--format", "{{.Id}} {{.Name}}", "after") == f"{ident} after"
    assert "before" in rpod.fails("inspect", "before")
    assert "taken" in rpod.fails("rename", "after", "taken")
    assert rpod.ok("rename", "after", "after") == ""
    assert rpod.ok("inspect", "--format", "{{.Id}}", "after") == ident
    assert "../x" in rpod.fails("rename", "after", "../x")
    assert rpod.ok("stop", "after") == "after"


def test_all_at_once(rpod: Rpod, image: str) -> None:
    for name in ("x", "y", "z"):
        serve(rpod, image, "--name", name)
    assert len(rpod.ok("stop", "--all", "-t", "2").split()) == 3
    assert rpod.ok("ps", "-q") == ""
    rpod.ok("start", "--all")
    assert len(rpod.ok("ps", "-q").split()) == 3
    assert len(rpod.ok("rm", "-fa", "-t", "0").split()) == 3
    assert rpod.ok("ps", "-aq") == ""


def test_a_start_right_after_an_attach(rpod: Rpod, image: str) -> None:
    """Whoever was attached hears of the end when the container can be started again, however long its network takes."""
    ident = rpod.ok("create", "--name", "box", "--network", "slirp4netns", image, "sh", "-c", "echo again")
    rpod.ok("init", "box")
    state = json.loads((rpod.data / "containers" / ident / "state.json").read_text())
    os.kill(state["helpers"][0][0], signal.SIGSTOP)  # so the monitor has to kill it, two seconds after the end
    assert rpod.ok("start", "-a", "box") == "again"
    rpod.ok("init", "box")

"""wait: for the end, for conditions, for what is not started yet, and for what is removed."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

from support.shell import serve, wait_for

if TYPE_CHECKING:
    from support.shell import Rpod


def has_open(pid: int, name: str) -> bool:
    """Whether a process has a file of that name open."""
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}").endswith(f"/{name}") for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def test_wait_for_several_and_for_conditions(rpod: Rpod, image: str) -> None:
    for name, code in (("three", "3"), ("four", "4")):
        rpod.ok("run", "-d", "--name", name, image, "sh", "-c", f"sleep 0.3; exit {code}")
    assert rpod.ok("wait", "three", "four").split() == ["3", "4"]
    rpod.ok("create", "--name", "later", image, "sleep", "60")
    waiting = rpod.start("wait", "--condition", "running", "later", stdout=subprocess.PIPE)
    rpod.ok("start", "later")
    assert waiting.communicate(timeout=20)[0].strip() == b"-1"
    assert waiting.returncode == 0


def test_wait_tells_the_code_of_what_is_removed_at_its_end(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("run", "-d", "--rm", image, "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 9")
    gone = rpod.start("wait", "--condition", "removed", ident, stdout=subprocess.PIPE)
    waiting = rpod.start("wait", ident, stdout=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    time.sleep(0.5)  # for the other one, which began earlier and is seen by nothing
    rpod.ok("exec", ident, "touch", "/go")
    assert waiting.communicate(timeout=20)[0] == b"9\n"
    assert gone.communicate(timeout=20)[0] == b"-1\n"
    rpod.ok("run", "-d", "--name", "killed", image, "sleep", "1000")
    waiting = rpod.start("wait", "killed", stdout=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    rpod.ok("rm", "-f", "-t", "0", "killed")
    assert waiting.communicate(timeout=20)[0] == b"137\n"


def test_wait_from_before_the_start(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--rm", "--name", "early", image, "sh", "-c", "exit 4")
    waiting = rpod.start("wait", "early", stdout=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    rpod.ok("start", "early")
    assert waiting.communicate(timeout=20)[0] == b"4\n"
    rpod.ok("create", "--name", "never", image, "true")
    waiting = rpod.start("wait", "never", stderr=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    rpod.ok("rm", "never")
    assert b"no such container" in waiting.communicate(timeout=20)[1]
    assert waiting.returncode == 125


def test_wait_for_the_first(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "slow", image, "sleep", "1000")
    rpod.ok("run", "-d", "--name", "quick", image, "sh", "-c", "sleep 0.2; exit 6")
    assert rpod.ok("wait", "--return-on-first", "slow", "quick") == "6"
    assert rpod.ok("wait", "--condition", "stopping,running", "slow") == "-1"
    assert "asleep" in rpod.fails("wait", "--condition", "asleep", "slow")


def test_wait_for_health(rpod: Rpod, image: str) -> None:
    check = ("--health-cmd", "test -e /fine", "--health-interval", "1s", "--health-retries", "1")
    rpod.ok("run", "-d", "--name", "ill", *check, image, "sleep", "1000")
    assert rpod.ok("wait", "--condition", "unhealthy", "ill") == "-1"
    rpod.ok("exec", "ill", "touch", "/fine")
    assert rpod.ok("wait", "--condition", "healthy,exited", "ill") == "-1"


def test_wait_sees_the_end_that_comes(rpod: Rpod, image: str) -> None:
    ident = serve(rpod, image)
    waiting = rpod.start("wait", ident, stdout=subprocess.PIPE)
    time.sleep(0.3)
    assert waiting.poll() is None
    rpod.ok("stop", ident)
    assert waiting.communicate(timeout=20)[0] == b"5\n"

"""Terminals: ``run -it``, ``exec -it`` and ``attach`` in front of a real pseudo-terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import threading
import time
from typing import TYPE_CHECKING

import pytest
from support.shell import Pty, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Rpod

DETACH = "\x10\x11"  # ctrl-p,ctrl-q


def test_a_shell_in_a_terminal(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--rm", image, "sh") as pty:
        pty.expect("# ")
        pty.type("tty; stty size; echo $TERM\r")
        shown = pty.expect("xterm")
        assert "/dev/pts/0" in shown
        assert "24 80" in shown
        assert pty.attributes() != pty.before, "the user's terminal is raw meanwhile"
        pty.type("exit 7\r")
        assert pty.wait() == 7
        assert pty.attributes() == pty.before, "and as it was afterwards"


def test_the_window_follows_the_users(rpod: Rpod, image: str) -> None:
    script = "trap 'stty size' WINCH; echo up; while :; do read x; done"
    with Pty(rpod, "run", "-it", "--rm", image, "sh", "-c", script) as pty:
        pty.expect("up")
        pty.resize(50, 132)
        pty.expect("50 132")
        pty.type("\x10\x11")
        assert pty.wait() == 0


def test_ctrl_c_interrupts_the_program_and_not_rpod(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--rm", image, "sh") as pty:
        pty.expect("# ")
        pty.type("sleep 100; echo was $?\r")
        pty.expect("sleep 100")
        wait_for(lambda: "sleep 100" in rpod("top", "-l", "args").out, what="the program")
        pty.type("\x03")
        pty.expect("# ")
        pty.type("echo al''ive\r")
        pty.expect("alive")
        pty.expect("# ")  # only then does the shell read keys again
        pty.type("\x04")
        assert pty.wait() in (0, 130)


def test_detach_and_attach(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--name", "desk", image, "sh") as pty:
        pty.expect("# ")
        pty.type("X=kept\r")
        pty.expect("# ")
        pty.type(DETACH)
        assert pty.wait() == 0
        assert pty.attributes() == pty.before
    assert rpod.ok("inspect", "-f", "{{.State.Status}}", "desk") == "running"
    with Pty(rpod, "attach", "desk", rows=30, columns=100) as pty:
        pty.type("echo $X; stty size\r")
        pty.expect("kept")
        pty.expect("30 100")
        pty.type("exit 3\r")
        assert pty.wait() == 3
        assert pty.attributes() == pty.before
    assert rpod.ok("wait", "desk") == "3"


@pytest.mark.parametrize(("keys", "typed"), [("ctrl-x", "\x18"), ("q,u", "qu")])
def test_other_detach_keys(rpod: Rpod, image: str, keys: str, typed: str) -> None:
    with Pty(rpod, "run", "-it", "--detach-keys", keys, image, "cat") as pty:
        pty.type("line\r")
        pty.expect("line\r\nline")
        pty.type(typed)
        assert pty.wait() == 0
    assert len(rpod.ok("ps", "-q").split()) == 1


def test_no_detach_keys(rpod: Rpod, image: str) -> None:
    script = "stty raw; echo ready; od -tx1 -N2; echo end"
    with Pty(rpod, "run", "-it", "--rm", "--detach-keys", "", image, "sh", "-c", script) as pty:
        pty.expect("ready")
        pty.type(DETACH)
        pty.expect("10 11")
        pty.expect("end")
        assert pty.wait() == 0
    assert "--detach-keys" in rpod.fails("run", "-it", "--detach-keys", "alt-x", image, "true")


def test_exec_in_a_terminal(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "box", image, "sleep", "300")
    with Pty(rpod, "exec", "-it", "box", "sh", rows=40, columns=90) as pty:
        pty.expect("# ")
        pty.type("tty; stty size\r")
        assert re.search(r"/dev/pts/\d+", pty.expect("40 90"))
        pty.resize(41, 91)
        pty.type("sleep 1; stty size\r")
        pty.expect("41 91")
        pty.type("sleep 100\r")
        wait_for(lambda: "sleep 100" in rpod("top", "box", "args").out)
        pty.type("\x03")
        pty.expect("# ")
        pty.type("exit 9\r")
        assert pty.wait() == 9
        assert pty.attributes() == pty.before
    assert rpod.ok("inspect", "-f", "{{.State.Status}}", "box") == "running"


def test_a_full_screen_program(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--rm", image, "vi", "/file") as pty:
        pty.expect("[23;1H~")  # it knows the window's size from the start: tildes down to the last line but one
        pty.expect("- /file")
        pty.type("ihello from vi")
        pty.expect("vi")
        pty.type("\x1b")
        pty.expect("- /file")
        pty.type(":wq\r")
        assert pty.wait() == 0
        assert pty.attributes() == pty.before


def test_two_users_see_the_same(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-dit", "--name", "shared", image, "cat")
    with Pty(rpod, "attach", "shared") as one, Pty(rpod, "attach", "shared") as two:
        wait_for(lambda: one.attributes() != one.before and two.attributes() != two.before)
        one.type("from one\r")
        two.expect("from one")
        two.type("from two\r")
        one.expect("from two")
        one.type(DETACH)
        assert one.wait() == 0
        two.type("\x04")
        assert two.wait() == 0


def test_the_terminal_is_restored_when_the_container_is_killed(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--name", "victim", image, "sh") as pty:
        pty.expect("# ")
        rpod.ok("kill", "victim")
        assert pty.wait() == 137
        assert pty.attributes() == pty.before


def test_a_terminal_without_a_users_terminal(rpod: Rpod, image: str) -> None:
    assert rpod("run", "--rm", "-t", image, "sh", "-c", "tty; echo err >&2").out == "/dev/pts/0\r\nerr\r\n"


@contextlib.contextmanager
def _held_behind(rpod: Rpod, name: str) -> Iterator[None]:
    """Its monitor's lock goes to this process at the monitor's end, and half a second later to nobody.

    The kernel closes a killed process's descriptors one by one: the sockets may go long before the lock.
    """
    ident = rpod.ok("inspect", "-f", "{{.Id}}", name)

    def hold() -> None:
        with (rpod.runtime / "rpod/containers" / ident / "alive.lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            time.sleep(0.5)

    holder = threading.Thread(target=hold)
    holder.start()
    yield
    holder.join()


def test_the_terminal_is_restored_when_the_monitor_is_killed(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--name", "victim", image, "sh") as pty:
        pty.expect("# ")
        monitor = int(rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", "victim"))
        with _held_behind(rpod, "victim"):
            os.kill(monitor, signal.SIGKILL)
            assert pty.wait() == 137
        assert pty.attributes() == pty.before


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_terminal_is_restored_when_the_client_is_ended(rpod: Rpod, image: str, number: int) -> None:
    with Pty(rpod, "run", "-it", "--name", "stays", image, "sh") as pty:
        pty.expect("# ")
        pty.process.send_signal(number)
        assert pty.wait() == 128 + number
        assert pty.attributes() == pty.before
    assert rpod.ok("inspect", "-f", "{{.State.Status}}", "stays") == "running"


def test_who_was_stopped_is_raw_again(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--rm", image, "sh") as pty:
        pty.expect("# ")
        raw = pty.attributes()
        pty.process.send_signal(signal.SIGSTOP)
        pty.set_attributes(pty.before)  # as a shell does for its prompt
        pty.resize(33, 99)
        pty.process.send_signal(signal.SIGCONT)
        wait_for(lambda: pty.attributes() == raw)
        pty.type("stty size\r")
        pty.expect("33 99")
        pty.type("exit\r")
        assert pty.wait() == 0
        assert pty.attributes() == pty.before


def test_job_control_inside(rpod: Rpod, image: str) -> None:
    with Pty(rpod, "run", "-it", "--rm", image, "sh") as pty:
        pty.expect("# ")
        pty.type("sleep 1000\r")
        wait_for(lambda: "sleep 1000" in rpod("top", "-l", "args").out)
        pty.type("\x1a")
        pty.expect("Stopped")
        pty.type("bg; jobs\r")
        pty.expect("Running")
        pty.expect("# ")
        pty.type("fg\r")
        pty.expect("fg\r\nsleep 1000")
        pty.type("\x03")
        pty.expect("# ")
        pty.type("exit 4\r")
        assert pty.wait() == 4


def test_input_that_is_no_terminal_is_said(rpod: Rpod, image: str) -> None:
    done = rpod("run", "-it", "--rm", image, "cat", stdin=b"typed\n")
    assert done.code == 0
    assert done.out.count("typed") == 2, "echoed, and printed"
    assert "standard input is no terminal" in done.err
    assert rpod("run", "-i", "--rm", image, "cat", stdin=b"typed\n").err == ""

"""Signals to the client of a foreground container: 128+n, and the terminal as it was."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import termios
import time
from typing import TYPE_CHECKING

import pytest
from support.shell import program, wait_for

if TYPE_CHECKING:
    from support.shell import Rpod


class Terminal:
    """A pseudo-terminal, and a command that has it as its own."""

    def __init__(self, rpod: Rpod, *argv: str) -> None:
        self.master, self.slave = pty.openpty()
        self.before = termios.tcgetattr(self.slave)
        self.client = subprocess.Popen(
            ["setsid", "--ctty", "--wait", *program(), *argv],
            env=rpod.env, stdin=self.slave, stdout=self.slave, stderr=self.slave,
        )  # fmt: skip

    def read_until(self, word: bytes, timeout_s: float = 10) -> bytes:
        out = b""
        deadline = time.monotonic() + timeout_s
        while word not in out:
            assert time.monotonic() < deadline, out
            if select.select([self.master], [], [], 0.1)[0]:
                out += os.read(self.master, 65536)
        return out

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
@pytest.mark.parametrize("verb", ["run", "attach", "exec"])
def test_a_signal_restores_the_terminal(checked: Rpod, image: str, verb: str, number: signal.Signals) -> None:
    script = "echo ready; exec sleep 1000"
    if verb == "run":
        terminal = Terminal(checked, "run", "--rm", "-it", "--name", "web", image, "sh", "-c", script)
    else:
        again = "while :; do echo ready; sleep 0.1; done"
        checked.ok("run", "-d", "-it", "--name", "web", image, "sh", "-c", again)
        argv = ["attach", "web"] if verb == "attach" else ["exec", "-it", "web", "sh", "-c", script]
        terminal = Terminal(checked, *argv)
    terminal.read_until(b"ready")
    wait_for(lambda: not termios.tcgetattr(terminal.slave)[3] & termios.ECHO, 5, "raw mode")
    terminal.client.send_signal(number)  # setsid(1) has become the client: it forks only if it leads a group
    terminal.client.wait(15)
    assert termios.tcgetattr(terminal.slave) == terminal.before
    assert terminal.client.returncode in (128 + number, -number), terminal.client.returncode
    terminal.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_reaches_the_program(checked: Rpod, image: str, number: signal.Signals) -> None:
    script = f"trap 'exit 77' {number.value}; echo ready; while :; do sleep 0.05; done"
    client = checked.start("run", "--rm", image, "sh", "-c", script, stdout=subprocess.PIPE)
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(number)
    assert client.wait(15) == 77
    client.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_without_proxy_the_client_ends_and_the_program_goes_on(
    checked: Rpod, image: str, number: signal.Signals
) -> None:
    script = "echo ready; sleep 1000"
    argv = ["run", "--name", "web", "--sig-proxy=false", image, "sh", "-c", script]
    client = checked.start(*argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(number)
    assert client.wait(15) in (128 + number, -number)
    client.stdout.close()
    assert checked.ok("ps", "--format", "{{.Names}}") == "web"


@pytest.mark.parametrize("delay_ms", [60, 80, 100, 120, 200])
def test_an_interrupt_while_it_starts(checked: Rpod, image: str, delay_ms: int) -> None:
    client = checked.start("run", "--rm", image, "sleep", "0.2", stderr=subprocess.PIPE)
    time.sleep(delay_ms / 1000)
    client.send_signal(signal.SIGINT)
    _, err = client.communicate(timeout=20)
    assert b"Traceback" not in err
    assert client.returncode in (0, 130, -2), (client.returncode, err)
    wait_for(lambda: not checked.ok("ps", "-aq"), 10, "the end")

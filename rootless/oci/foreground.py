"""``run`` and ``exec`` without --detach: this process stays with the program, and ends as it does."""

from __future__ import annotations

import _signal
import os

from rootless.kernel import process, spawn

# Not passed on: what cannot be caught, what concerns only this process, and its own faults.
_KEPT = frozenset((4, 5, 7, 8, 9, 11, 13, 17, 18, 19, 20, 21, 22, 23, 28, 31))


def pass_signals(pid: int) -> None:
    """From here on the signals of this process go to ``pid``: before it starts, so that none is lost."""
    pidfd = os.pidfd_open(pid)
    for number in set(range(1, 32)) - _KEPT:
        _signal.signal(number, lambda received, _: process.send(pidfd, received))


def stay(pid: int, master: int) -> int:
    """Wait for a child; its terminal is ours meanwhile. The code as a shell says it."""
    return spawn.wait(pid) if master < 0 else _pass_terminal(pid, master)


def _pass_terminal(pid: int, master: int) -> int:
    from rootless.engine.exec import Program
    from rootless.engine.session import Session

    program = Program(pid, [master, master, -1])
    program.plain_output = True
    return Session(program, stdin=True, tty=True, detach_keys="", sig_proxy=True).run()

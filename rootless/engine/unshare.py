"""``rpod unshare``: a program as root of the user namespace that rpod's files are stored under."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

from rootless.errors import ProgramNotFoundError, UsageError, os_reason
from rootless.kernel import files, spawn, syscalls, userns
from rootless.storage import drivers

if TYPE_CHECKING:
    from types import FrameType

_FORWARDED = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)  # the terminal sends them to the program, too


def unshare(argv: list[str]) -> int:
    """Run ``argv`` (default: $SHELL) in a new user and mount namespace with the default map.

    Returns the program's exit code (128+n for signal n), 126 when it cannot be executed.
    Raises ProgramNotFoundError (127), or LaunchError when there is no namespace to be had.
    """
    if argv and not argv[0]:
        raise UsageError("the program to run has an empty name", "rpod unshare PROGRAM ARGS…")
    program = argv or [os.environ.get("SHELL") or "/bin/sh"]
    path = _find(program[0])

    def work() -> None:
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and exec would keep that
            signal.signal(number, signal.SIG_DFL)
        try:
            os.execv(path, program)
        except OSError as error:
            sys.stderr.write(f"rpod: error: {program[0]}: {os_reason(error)}\n")
            sys.stderr.flush()
            os._exit(126)

    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    pid = userns.fork_inside(work)

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    before = {number: signal.signal(number, forward) for number in _FORWARDED}
    before |= {number: signal.signal(number, signal.SIG_IGN) for number in _FROM_TERMINAL}
    try:
        return spawn.wait(pid)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end_helpers()


def _end_helpers() -> None:
    """End what ``rpod mount`` left there with fuse-overlayfs: it would keep the namespace for ever."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            text = files.read_file(f"/proc/{name}/stat").decode("utf-8", "replace")
            command, _, rest = text.rpartition(")")
            if command.endswith(f"({drivers.FUSE}") and int(rest.split()[1]) == os.getpid():
                os.kill(int(name), signal.SIGTERM)


def _find(name: str) -> str:
    """The program's path: found on PATH here, because the namespace shares our file system."""
    path = spawn.which(name)
    if path is None and not os.path.exists(name):
        raise ProgramNotFoundError(f"{name}: program not found")
    return path or name

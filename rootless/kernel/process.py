"""Processes by pid without mistaking one for another."""

from __future__ import annotations

import _signal
import os

_MAX_FD = 0x7FFFFFFF  # os.closerange is one close_range(2), however far it goes


def start_ticks(pid: int) -> int:
    """When the process started, in clock ticks since boot (proc(5), field 22 of stat); 0 if it is gone."""
    try:
        fd = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    except OSError:
        return 0
    try:
        data = os.read(fd, 4096)
    except OSError:
        return 0
    finally:
        os.close(fd)
    # The program's name, in parentheses, may hold anything; the fields after it are numbers.
    fields = data[data.rindex(b")") + 2 :].split()
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def open_pidfd(pid: int, ticks: int) -> int:
    """A pidfd of the process ``pid`` that started at ``ticks``; -1 if that one is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return -1
    if start_ticks(pid) != ticks:
        os.close(fd)
        return -1
    return fd


def send(pidfd: int, signal: int) -> bool:
    """Send a signal; False if the process is gone."""
    try:
        _signal.pidfd_send_signal(pidfd, signal)
    except ProcessLookupError:
        return False
    return True


def kill(pid: int, ticks: int, signal: int = 9) -> bool:
    """Send a signal to exactly that process; False if it is gone."""
    fd = open_pidfd(pid, ticks)
    if fd < 0:
        return False
    try:
        return send(fd, signal)
    finally:
        os.close(fd)


def in_namespace_of(pid: int) -> list[int]:
    """The pids in the pid namespace of ``pid``, another user's left out; ``pid`` alone where it shares ours."""
    wanted = _pid_namespace(pid)
    if wanted in ("", _pid_namespace("self")):
        return [pid]
    return sorted(int(name) for name in os.listdir("/proc") if name.isdecimal() and _pid_namespace(name) == wanted)


def _pid_namespace(pid: int | str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""  # another user's, or gone


def wait_gone(pidfd: int, timeout_s: float) -> bool:
    """Wait until a process has ended; False after ``timeout_s`` seconds, which are without end below 0."""
    import select

    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(int(timeout_s * 1000) if timeout_s >= 0 else None))


def close_all_but(kept: tuple[int, ...]) -> None:
    """Close every descriptor from 3 on but ``kept``: for a child that was forked by a process with threads."""
    first = 3
    for fd in sorted(kept):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, _MAX_FD)

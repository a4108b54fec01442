"""``wait``: block until containers have ended, or reached another state."""

from __future__ import annotations

import os
import time

from rootless.errors import NotFoundError, UsageError
from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container

# What may be asked for, and the status that is meant: Podman's words beside Docker's.
_STATUS_OF = {
    "configured": "created",
    "created": "created",
    "initialized": "initialized",
    "running": "running",
    "paused": "paused",
    "stopping": "stopping",
    "stopped": "exited",
    "exited": "exited",
    "not-running": "exited",
    "restarting": "restarting",
    "removing": "removing",
    "removed": "removing",
    "healthy": "healthy",
    "unhealthy": "unhealthy",
}
_HEALTH = frozenset(("healthy", "unhealthy"))
_NO_CODE = -1
_KILLED = 137
_PAUSE_S = 0.02


def wait(container: Container, conditions: list[str], interval_s: float) -> int:
    """Wait for one of ``conditions`` (default: exited) and return the exit code, -1 where there is none.

    The end is waited for at the monitor's lock, at no cost; other states are looked at every ``interval_s``.
    Raises NotFoundError when it is removed without having been in one of them.
    """
    wanted = statuses(conditions)
    if wanted == {"exited"}:
        return _wait_for_end(container, interval_s)
    while (code := reached(container, wanted)) is None:
        time.sleep(interval_s)
    return code


def wait_first(containers: list[Container], conditions: list[str], interval_s: float) -> int:
    """Wait until one of the containers is in one of ``conditions``; returns as ``wait`` does for that one."""
    wanted = statuses(conditions)
    while True:
        for container in containers:
            code = reached(container, wanted)
            if code is not None:
                return code
        time.sleep(interval_s)


def statuses(conditions: list[str]) -> set[str]:
    """The statuses that ``conditions`` mean. Raises UsageError for a word that is none."""
    for name in conditions:
        if name not in _STATUS_OF:
            raise UsageError(f"--condition {name}: unknown state", ", ".join(sorted(_STATUS_OF)))
    return {_STATUS_OF[name] for name in conditions} or {"exited"}


def reached(container: Container, wanted: set[str]) -> int | None:
    """The code to tell if the container is in one of the ``wanted`` statuses, else None."""
    state = container.state()
    if not container.exists():
        if "removing" in wanted:
            return _NO_CODE
        raise _removed(container)
    if state.status not in wanted:
        health = _HEALTH & wanted and state.running and container.record.health
        return _NO_CODE if health and _health(container) in wanted else None
    return state.exit_code if state.status == "exited" else _NO_CODE


def _health(container: Container) -> str:
    from rootless.state import health

    return health.status_of(container)


def _wait_for_end(container: Container, interval_s: float) -> int:
    note = -1
    try:
        while True:
            if note < 0:
                note = _open_note(container)
            state = container.state()
            if state.status in ("exited", "restarting"):
                return state.exit_code
            if container.record.restart == "no":
                _await_lock(container, interval_s)
            if not container.exists():
                return _noted_code(container, note, ran=state.running)
            if container.state().status != "exited":
                time.sleep(_PAUSE_S)  # created and not started, or between two starts
    finally:
        if note >= 0:
            os.close(note)


def _await_lock(container: Container, interval_s: float) -> None:
    """Wait until nobody holds its alive lock."""
    while container.lost_lock():
        time.sleep(interval_s)
    try:
        lock = files.Lock.acquire(container.alive_path, shared=True, create=False)
    except FileNotFoundError:
        return  # never started in this boot, or just removed
    assert lock is not None
    lock.release()


def _open_note(container: Container) -> int:
    """The alive lock's file, into which the monitor writes the exit code; -1 where there is none yet.

    Held open, it tells the code also when the container is removed right behind its end.
    """
    try:
        return os.open(container.alive_path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1


def _noted_code(container: Container, note: int, *, ran: bool) -> int:
    text = os.pread(note, 16, 0).decode("ascii", "replace").strip() if note >= 0 else ""
    if text.isdecimal():
        return int(text)
    if ran:
        return _KILLED  # its monitor was killed, which kills the program
    raise _removed(container)


def _removed(container: Container) -> NotFoundError:
    return NotFoundError(f"no such container: {container.id[:12]} (it was removed)", "rpod ps -a")

"""``wait``: until a container is in a state."""

from __future__ import annotations

import time

from rootless.errors import NotFoundError, UsageError
from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container

_CONDITIONS = frozenset(("created", "initialized", "running", "paused", "exited", "stopped", "removing"))


def wait(container: Container, conditions: list[str], interval_s: float) -> int:
    """Wait for one of ``conditions`` (default: exited) and return the exit code, -1 where there is none.

    The end is waited for at the monitor's lock, at no cost; other states are looked at every ``interval_s``.
    """
    wanted = {"exited" if name == "stopped" else name for name in conditions} or {"exited"}
    for name in wanted - _CONDITIONS:
        raise UsageError(f"--condition {name}: unknown state", ", ".join(sorted(_CONDITIONS)))
    if wanted == {"exited"}:
        return _wait_for_end(container)
    while container.state().status not in wanted:
        time.sleep(interval_s)
    return container.state().exit_code if "exited" in wanted else -1


def _wait_for_end(container: Container) -> int:
    state = container.state()
    if not state.running and state.exit is not None:
        return state.exit_code
    while True:
        while container.lost_lock():
            time.sleep(0.05)
        try:
            lock = files.Lock.acquire(container.alive_path, shared=True, create=False)
        except FileNotFoundError:
            return state.exit_code  # removed right after its end
        assert lock is not None
        lock.release()
        try:
            state = container.state()
        except NotFoundError:
            return -1
        if state.exit is not None and not state.running:
            return state.exit_code
        time.sleep(0.02)  # created and not started, or between two starts

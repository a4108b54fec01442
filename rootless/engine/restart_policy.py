"""``--restart``: whether and when a container that has ended is started again, without daemon and systemd.

The alive lock goes from the monitor to this cleanup, to a monitor that only waits, and to the next
launcher, always in the same process: nobody else can start the container in between, and whoever
stops it ends that process. The rules are Docker's (moby, restartmanager): the first delay is 100 ms, each
further one twice as long up to a minute, and after ten seconds of running it begins anew.
"""

from __future__ import annotations

import os
import time

from rootless import log
from rootless.engine import facts, start
from rootless.errors import RpodError, os_reason
from rootless.runtime import program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from rootless.kernel import files
    from rootless.state.container import Container
    from rootless.state.record import ContainerRecord, ExitRecord, RunRecord

_FIRST_DELAY_MS = 100
_LONGEST_DELAY_MS = 60_000
_LONG_RUN_NS = 10_000_000_000
_MS = 1_000_000
_LOCK_FD = 3  # where monitor and cleanup have it


def wanted(record: ContainerRecord, run: RunRecord, end: ExitRecord) -> bool:
    """Whether the policy wants another start after this end."""
    if run.stopped_by_user:
        return False
    if record.restart == "on-failure":
        return end.code != 0 and (not record.restart_max or run.restarts < record.restart_max)
    return record.restart in ("always", "unless-stopped")


def next_delay_ms(run: RunRecord, end: ExitRecord) -> int:
    """How long to wait after this end."""
    if not run.restart_delay_ms or end.finished_ns - run.started_ns >= _LONG_RUN_NS:
        return _FIRST_DELAY_MS
    return min(2 * run.restart_delay_ms, _LONGEST_DELAY_MS)


def go_on(container: Container, alive: files.Lock) -> None:
    """After an end: become what waits for the next start, if the policy wants one."""
    with container.lock():
        run, end = container.run_record(), container.last_exit()
        if run is None or end is None or not wanted(container.record, run, end):
            return
        delay_ms = next_delay_ms(run, end)
        _plan(container, run, delay_ms)
    _wait(container, alive, delay_ms)


def start_again(container: Container, alive: files.Lock) -> None:
    """Start it; whoever stopped or removed it meanwhile has won. A start that fails is tried again, later."""
    with container.lock():
        run, end = container.run_record(), container.last_exit()
        if run is None or run.stopped_by_user:
            return
        try:
            start.launch_container(container, alive, restarted=run)
            return
        except RpodError as error:
            log.debug(f"{container.name} is not started again: {error.message}")
            run.error = error.message
        run.restarts += 1
        run.restart_at_ns = 0
        again = container.take_alive()
        if again is None or end is None or not wanted(container.record, run, end):
            container.save_run(run)
            return
        delay_ms = min(2 * run.restart_delay_ms, _LONGEST_DELAY_MS)
        _plan(container, run, delay_ms)
    _wait(container, again, delay_ms)


def _plan(container: Container, run: RunRecord, delay_ms: int) -> None:
    run.restart_delay_ms = delay_ms
    run.restart_at_ns = time.time_ns() + delay_ms * _MS
    try:
        container.save_run(run)
    except OSError as error:
        # On a full disk it is started again all the same, only `ps` does not say what it waits for.
        log.debug(f"the next start of {container.name} cannot be recorded: {os_reason(error)}")


def _wait(container: Container, alive: files.Lock, delay_ms: int) -> NoReturn:
    """Become a monitor without a container, which costs 50 KiB where an interpreter costs 10 MiB."""
    monitor = program.helper("rpod-monitor")
    if alive.fd != _LOCK_FD:
        os.dup2(alive.fd, _LOCK_FD)
    os.set_inheritable(_LOCK_FD, True)
    lock = str(_LOCK_FD)
    argv = [monitor, "--wait-ms", str(delay_ms), "--lock", lock, "--keep-lock", "1", "--"]
    argv += [*facts.command("cleanup", container.id), "--lock", lock, "--restart"]
    os.execve(monitor, argv, dict(os.environ))

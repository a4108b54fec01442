"""``stop``, ``kill`` and ``restart``: signals to a program that cannot be mistaken for another."""

from __future__ import annotations

import _socket
import os
import select
import time

from rootless import log
from rootless.engine import client, values
from rootless.errors import LaunchError, RpodError, StateError, StorageError, os_reason
from rootless.kernel import cgroup2, files, process
from rootless.state import events
from rootless.state.container import Container, not_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.record import RunRecord

_SIGKILL, _SIGCONT = 9, 18
_SOON_S = 0.5
_END_WAIT_S = 10.0


def stop(container: Container, timeout_s: int | None) -> None:
    """Send the stop signal, after ``timeout_s`` seconds (-1: never) SIGKILL, and wait for the end.

    Stopping what does not run is no error.
    """
    timeout = container.record.stop_timeout_s if timeout_s is None else values.stop_time(timeout_s, "--time")
    if container.state().waits:
        timeout = 0  # there is no program yet that a signal could ask
    mark_stopped(container)
    try:
        pidfd = container.init_pidfd()
    except StateError:
        run = container.run_record()
        if run is None:
            _kill_unrecorded(container)
        elif run.restart_at_ns:
            _kill_waiting(run)
        wait_end(container)
        return
    try:
        ended = timeout != 0 and _asked_to_end(container, pidfd, timeout)
        if not ended:
            if timeout:
                log.warn(f"{container.name} did not end within {timeout} s of the stop signal: it is killed")
            process.send(pidfd, _SIGKILL)
    finally:
        os.close(pidfd)
    wait_end(container)
    events.of_container(container.record, "stop")


def _asked_to_end(container: Container, pidfd: int, timeout_s: int) -> bool:
    """Send the stop signal; whether the program ended in time. So long its state is "stopping"."""
    paused = container.state().status == "paused"
    process.send(pidfd, container.record.stop_signal)
    stopping = files.Lock.acquire(container.stop_path, wait=False)
    try:
        if paused:
            from rootless.engine import pause

            pause.thaw(container)
        return process.wait_gone(pidfd, timeout_s)
    finally:
        if stopping:
            stopping.release()


def _kill_unrecorded(container: Container) -> None:
    """Kill a monitor whose state.json is damaged: its attach socket says who listens there (unix(7), SO_PEERCRED)."""
    try:
        with_monitor = client.connect(container)
    except LaunchError:
        return  # nothing runs, or it is still being launched
    pid = int.from_bytes(with_monitor.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)[:4], "little")
    words = files.read_file(f"/proc/{pid}/cmdline").decode("utf-8", "surrogateescape").split("\0")
    process.kill(pid, process.start_ticks(pid))
    if "--cgroup" in words:
        cgroup2.remove(words[words.index("--cgroup") + 1])
    with_monitor.close()


def mark_stopped(container: Container) -> None:
    """Write down that the user wants it stopped, so that no restart policy starts it again."""
    try:
        policy = container.record.restart
    except StorageError:
        policy = "no"  # a damaged one: what starts again reads it, too, and cannot
    if policy == "no":
        _mark_stopped(container, policy)
        return
    with container.lock():
        _mark_stopped(container, policy)


def _mark_stopped(container: Container, policy: str) -> None:
    run = container.run_record()
    if run is None or run.stopped_by_user:
        return
    run.stopped_by_user = True
    try:
        container.save_run(run)
    except OSError as error:
        # On a full disk, too, a container must be stoppable; only a restart policy would have read this.
        if policy != "no":
            log.warn(f"{container.name} may be restarted: its state cannot be written ({os_reason(error)})")


def _kill_waiting(run: RunRecord) -> None:
    """End what waits between two starts: the same process as the monitor before it."""
    process.kill(run.monitor_pid, run.monitor_ticks)


def end_waiting(container: Container) -> bool:
    """End a wait for the next start; False where there is none, for it has just been started."""
    with container.lock():
        run = container.run_record()
        if run is not None and run.restart_at_ns and container.is_alive():
            _kill_waiting(run)
            wait_end(container)
            return True
    return False


def wait_end(container: Container) -> None:
    """Wait until the monitor has recorded the end and let go of the lock.

    A monitor that was stopped is woken, one that hangs is killed: its death frees the lock and takes the
    program along.
    """
    lock = _take_with_patience(container, _SOON_S)
    for signal in (_SIGCONT, _SIGKILL):
        if lock is not None:
            break
        run = container.run_record()
        if run is not None:
            process.kill(run.monitor_pid, run.monitor_ticks, signal)
        lock = _take_with_patience(container, _END_WAIT_S)
    if lock is None:
        raise RpodError(f"container {container.name} does not end", "rpod ps -a; ps -ef | grep rpod-monitor")
    lock.release()


def _take_with_patience(container: Container, patience_s: float) -> files.Lock | None:
    deadline = time.monotonic() + patience_s
    delay = 0.001
    while True:
        try:
            lock = None if container.lost_lock() else files.Lock.acquire(container.alive_path, wait=False, create=False)
        except FileNotFoundError:
            return files.Lock("", -1)  # removed meanwhile
        if lock is not None or time.monotonic() > deadline:
            return lock
        select.select([], [], [], delay)
        delay = min(delay * 1.5, 0.02)


def kill(container: Container, signal: str) -> None:
    """Send any signal to the program."""
    number = values.signal_number(signal)
    if not container.is_alive() or container.state().waits:
        raise not_running(container)
    if number == _SIGKILL:
        mark_stopped(container)
    try:
        pidfd = container.init_pidfd()
    except StateError:
        if end_waiting(container):
            return
        pidfd = container.init_pidfd()  # its policy was just starting it again, and has done that now
    try:
        if not process.send(pidfd, number):
            raise not_running(container)
    finally:
        os.close(pidfd)
    events.of_container(container.record, "kill")


def restart(container: Container, timeout_s: int | None) -> None:
    """Stop if it runs, then start."""
    from rootless.engine import start

    stop(container, timeout_s)
    alive = container.take_alive()
    if alive is None:
        raise StateError(f"container {container.name} was started by somebody else meanwhile")
    start.launch_container(container, alive)
    events.of_container(container.record, "restart")

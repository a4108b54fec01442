"""Health checks: one run, and what follows from it. The clock is the monitor's (``helpers/check.c``)."""

from __future__ import annotations

import os
import select
import time

from rootless import log
from rootless.engine import exec as exec_engine
from rootless.engine import facts
from rootless.engine.options import ExecOptions
from rootless.errors import RpodError, StateError
from rootless.kernel import files, process, spawn
from rootless.runtime import join
from rootless.runtime.streams import Streams
from rootless.state import events
from rootless.state import health as records
from rootless.state.container import not_running, paused
from rootless.state.health import HEALTHY, UNHEALTHY, Health, Healthcheck

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container
    from rootless.state.record import RunRecord

_OUTPUT_MAX = 1 << 20
_TIMED_OUT = -1  # as Docker's and Podman's logs have it
_NS_PER_MS = 1_000_000
_MS_PER_S = 1000


class Outcome:
    """One check that has been made."""

    __slots__ = ("code", "end_ns", "output", "start_ns")

    def __init__(self, start_ns: int, code: int, output: str) -> None:
        self.start_ns = start_ns
        self.end_ns = time.time_ns()
        self.code = code
        self.output = output


def run(container: Container) -> bool:
    """``healthcheck run``: whether the check succeeds. Raises StateError where there is none, or nothing runs."""
    check = records.check_of(container)
    if check is None:
        raise StateError(f"container {container.name} has no health check", "rpod run --health-cmd COMMAND …")
    state = container.state()
    if state.status == "paused":
        raise paused(container)  # a program that does not move is neither healthy nor ill
    if not state.running:
        raise not_running(container)
    with _lock(container, wait=True) or files.Lock("", -1):
        outcome = _perform(container, check.test, check.timeout_ms)
        _count(container, check, outcome)
    return outcome.code == 0


def tick(container: Container) -> int:
    """What the monitor runs when a check is due; the milliseconds until the next one, 0 for never."""
    check = records.check_of(container)
    state = container.state()
    if check is None or state.run is None:
        return 0
    health = records.read(container)
    startup = bool(check.startup_test) and not health.startup_done
    lock = _lock(container, wait=False)
    if lock is not None and state.status == "running":
        with lock:
            if startup:
                _startup(container, check, _perform(container, check.startup_test, check.startup_timeout_ms))
            else:
                _count(container, check, _perform(container, check.test, check.timeout_ms))
    startup = startup and not records.read(container).startup_done
    return check.startup_interval_ms if startup else check.interval_ms


def _lock(container: Container, *, wait: bool) -> files.Lock | None:
    """One check at a time; None where another one goes on."""
    return files.Lock.acquire(f"{container.run_directory}/health.lock", wait=wait)


def _perform(container: Container, test: list[str], timeout_ms: int) -> Outcome:
    """Run ``test`` inside; a program that cannot be started has failed like one that ran."""
    began_ns = time.time_ns()
    options = ExecOptions()
    options.command = ["/bin/sh", "-c", *test[1:]] if test[0] == "CMD-SHELL" else test[1:]
    try:
        plan = exec_engine.prepare(container, options)
        streams = Streams.pipes(stdin=False)
        try:
            joined = join.start_program(plan, streams)
        finally:
            os.close(plan.init_pidfd)
    except RpodError as error:
        return Outcome(began_ns, error.code, error.message)
    code, output = _watch(joined.pid, streams.outside[1:], timeout_ms)
    if code == _TIMED_OUT:
        output = "\n".join([*output.splitlines(), f"the check took longer than {timeout_ms / _MS_PER_S:g} s"])
    return Outcome(began_ns, code, output)


def _watch(pid: int, outputs: list[int], timeout_ms: int) -> tuple[int, str]:
    """Collect what the program prints until it ends; one that takes too long is killed with its process group."""
    deadline = time.monotonic() + timeout_ms / _MS_PER_S
    pidfd = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (pidfd, *outputs):
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    data = bytearray()
    ended = False
    while not ended:
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            os.killpg(pid, 9)  # it leads a session of its own
            break
        for fd, _ in poll.poll(left_s * _MS_PER_S):
            ended = ended or fd == pidfd
            if fd != pidfd and not _collect(fd, data):
                poll.unregister(fd)
    for fd in outputs:
        while _collect(fd, data):
            pass
        os.close(fd)
    os.close(pidfd)
    code = spawn.wait(pid)
    return code if ended else _TIMED_OUT, data.decode("utf-8", "replace")


def _collect(fd: int, data: bytearray) -> bool:
    """Take what ``fd`` has; False when there is nothing now."""
    try:
        chunk = os.read(fd, 65536)
    except OSError:
        return False
    if len(data) < _OUTPUT_MAX:
        data += chunk
    return bool(chunk)


def _count(container: Container, check: Healthcheck, outcome: Outcome) -> None:
    """Draw the conclusions of a check (Podman's: only what comes after the start period counts as failing)."""
    state = container.state()
    if state.run is None or not state.running or state.run.started_ns > outcome.start_ns:
        return  # it has ended, or is another run already
    health = records.read(container)
    before = health.status
    if outcome.code == 0:
        health.status, health.failing_streak = HEALTHY, 0
    elif outcome.start_ns - state.run.started_ns >= check.start_period_ms * _NS_PER_MS:
        health.failing_streak += 1
        if health.failing_streak >= check.retries:
            health.status = UNHEALTHY
    _log(check, health, outcome)
    _save(container, health)
    events.of_container(container.record, "health_status", HealthStatus=health.status)
    if health.status == HEALTHY != before and container.record.sdnotify == "healthy":
        from rootless.engine import service_manager

        service_manager.tell("READY=1")
    if health.status == UNHEALTHY != before:
        _act(container, check.on_failure, state.run)


def _startup(container: Container, check: Healthcheck, outcome: Outcome) -> None:
    """The startup check decides only when the real one begins, or that the start has to be tried again."""
    state = container.state()
    if state.run is None or not state.running:
        return
    health = records.read(container)
    succeeded = outcome.code == 0
    last = health.log[-1]["code"] == 0 if health.log else succeeded
    health.startup_streak = health.startup_streak + 1 if last == succeeded else 1
    health.startup_done = succeeded and health.startup_streak >= check.startup_success
    _log(check, health, outcome)
    _save(container, health)
    if not succeeded and check.startup_retries and health.startup_streak >= check.startup_retries:
        _act(container, "restart", state.run)


def _log(check: Healthcheck, health: Health, outcome: Outcome) -> None:
    output = outcome.output[: check.log_size] if check.log_size else outcome.output
    entry: dict[str, object] = {
        "start_ns": outcome.start_ns,
        "end_ns": outcome.end_ns,
        "code": outcome.code,
        "output": output,
    }
    health.log = [*health.log, entry][-check.log_count :]


def _save(container: Container, health: Health) -> None:
    try:
        records.write(container, health)
    except OSError as error:
        log.warn(f"the health of {container.name} cannot be recorded: {error.strerror}")


def _act(container: Container, action: str, run: RunRecord) -> None:
    """--health-on-failure. A restart policy answers a kill, not a stop."""
    if action == "kill":
        process.kill(run.pid, run.start_ticks)
    elif action in ("restart", "stop"):
        # A process of its own: this one is ended by the monitor as soon as the program has ended.
        null = os.open("/dev/null", os.O_RDWR)
        argv = facts.command(action, container.id)
        spawn.start(argv, fds={0: null, 1: null, 2: null}, env=dict(os.environ))

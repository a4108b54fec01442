"""What happens to a container after ``create`` (runtime.md, "Operations")."""

from __future__ import annotations

import os

from rootless.engine.values import signal_number
from rootless.errors import LaunchError, LimitError, NotFoundError, RpodError, StateError
from rootless.kernel import cgroup2, files, process, unix
from rootless.oci.create import run_late
from rootless.oci.store import Container
from rootless.runtime import init, messages
from rootless.runtime.hooks import Hooks

_KILL = 9
_END_WAIT_S = 10.0


def start(container: Container) -> None:
    """Open the gate. Returns when the program runs; raises why it does not."""
    with container.lock():
        container.demand("start", "created")
        hooks = hooks_of(container)
        channel = messages.Channel(unix.connect(container.gate))
        os.unlink(container.gate)
        channel.send("go")
        message = channel.receive()
        if message.kind == "errno":
            number = message.values["errno"]
            assert isinstance(number, int)
            raise init.explain_exec(_program(container), number)
        channel.close()
        run_late(hooks, "poststart")


def document(container: Container) -> dict[str, object]:
    """The container's config.json."""
    found = files.read_json(f"{container.directory}/config.json")
    assert isinstance(found, dict)
    return found


def hooks_of(container: Container) -> Hooks:
    """The container's hooks, which are told its state."""
    value = document(container).get("hooks") or {}
    assert isinstance(value, dict)
    return Hooks(value, container.hook_state())


def _program(container: Container) -> str:
    described = document(container)["process"]
    assert isinstance(described, dict)
    return str(described["args"][0])


def kill(container: Container, signal: str, *, everything: bool) -> None:
    """Send a signal to init, or to every process of the container."""
    number = 0 if signal == "0" else signal_number(signal)  # 0 only asks whether it could be sent
    if everything:
        _kill_all(container, number)
        return
    container.demand("kill", "created", "running", "paused")
    pidfd = container.pidfd()
    if pidfd < 0 or not process.send(pidfd, number):
        raise StateError(f"cannot kill container {container.ident!r}: it is stopped")
    os.close(pidfd)


def _kill_all(container: Container, number: int) -> None:
    """Processes of a container are those of its cgroup; without one, the kernel ends them with init."""
    path = container.state.cgroup
    if not path:
        pidfd = container.pidfd()
        if pidfd >= 0:
            process.send(pidfd, number)
        return
    if number == _KILL:
        cgroup2.kill(path)
        return
    for pid in processes(container):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def processes(container: Container) -> list[int]:
    """The pids of the container's processes: of its cgroup and those below, else init's alone and its namespace's."""
    if container.state.cgroup:
        return cgroup2.processes(container.state.cgroup)
    return process.in_namespace_of(container.state.pid) if container.alive() else []


def delete(root: str, ident: str, *, force: bool) -> None:
    """Remove what ``create`` made. ``force`` kills first, and a container that is not there is no error then."""
    try:
        container = Container.find(root, ident)
    except (NotFoundError, StateError):
        if not force:
            raise
        _remove_remains(Container(root, ident))
        return
    with container.lock():
        if force:
            end(container)
        else:
            container.demand("delete", "stopped")
        hooks = hooks_of(container)
        cgroup2.remove(container.state.cgroup)
        container.remove()
    run_late(hooks, "poststop")


def _remove_remains(container: Container) -> None:
    """The directory of a ``create`` that was killed, or whose state was damaged."""
    if os.path.isdir(container.directory):
        container.remove()


def end(container: Container) -> None:
    """Kill everything in the container and wait until init is gone. LaunchError if the kernel does not let go."""
    pidfd = container.pidfd()
    if pidfd < 0:
        return
    if container.state.cgroup:
        cgroup2.kill(container.state.cgroup)
    process.send(pidfd, _KILL)
    gone = process.wait_gone(pidfd, _END_WAIT_S)
    os.close(pidfd)
    if not gone:
        raise LaunchError(f"container {container.ident!r} does not end", "a process hangs in the kernel: dmesg")


def freeze(container: Container, *, frozen: bool) -> None:
    """Pause or resume."""
    verb, allowed = ("pause", ("running", "created")) if frozen else ("resume", ("paused",))
    container.demand(verb, *allowed)
    try:
        cgroup2.freeze(container.state.cgroup, frozen)
    except LimitError as error:
        raise RpodError(f"cannot {verb} container {container.ident!r}: {error.message}", error.hint) from error

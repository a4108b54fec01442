"""``init``: everything of a container is set up, and its program waits for ``start``."""

from __future__ import annotations

import os
import time

from rootless.engine import client, facts, start
from rootless.errors import StateError
from rootless.kernel import unix
from rootless.runtime import init, messages
from rootless.state import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container


def initialize(container: Container) -> None:
    """Launch a container that does not run up to the exec of its program.

    Its monitor, network, mounts and limits are there then; until ``start`` its first process is the
    engine's own, which waits at a socket.
    """
    alive = container.take_alive()
    if alive is None:
        status = container.state().status
        verb = "start" if status == "initialized" else "stop"
        raise StateError(
            f"container {container.name} is {status}: it is set up already", f"rpod {verb} {container.name}"
        )
    start.launch_container(container, alive, gate=True)


def begin(container: Container, *, attach: bool, stdin: bool, detach_keys: str | None, sig_proxy: bool) -> int:
    """Start the program that waits; with ``attach`` stay with it and return its exit code."""
    if not attach:
        _open_gate(container)
        return 0
    return client.attach(
        container,
        detach_keys=detach_keys,
        no_stdin=not stdin,
        sig_proxy=sig_proxy,
        begin=lambda: _open_gate(container),
    )


def _open_gate(container: Container) -> None:
    """Returns when the program runs. Raises why it does not: then the container has ended."""
    with container.lock():
        run = container.run_record()
        try:
            channel = messages.Channel(unix.connect(container.gate_path))
            os.unlink(container.gate_path)
        except OSError:
            raise StateError(f"container {container.name} was started or ended meanwhile", "rpod ps -a") from None
        assert run is not None
        run.started_ns = time.time_ns()
        container.save_run(run)
        channel.send("go")
        message = channel.receive()
        channel.close()
    if message.kind == "errno":
        number = message.values["errno"]
        assert isinstance(number, int)
        raise init.explain_exec(facts.read_spec(container).process.args[0], number)
    events.of_container(container.record, "start")

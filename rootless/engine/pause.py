"""``pause`` and ``unpause``: every process of a container stops where it is, and goes on, by the cgroup freezer."""

from __future__ import annotations

from rootless.errors import LimitError, StateError, os_reason
from rootless.kernel import cgroup2
from rootless.state import events
from rootless.state.container import how_it_runs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container


def pause(container: Container) -> None:
    """Freeze a running container. StateError in any other state, LimitError where it has no cgroup."""
    with container.lock():
        state = container.state()
        if state.status != "running":
            raise StateError(
                f"container {container.name} is {state.status}: only a running one can be paused",
                _hint(container.name, state.status),
            )
        _freeze(container, frozen=True)


def _hint(name: str, status: str) -> str:
    if status == "paused":
        return f"rpod unpause {name}"
    return f"rpod wait {name}" if status == "stopping" else how_it_runs(name, status)


def unpause(container: Container) -> None:
    """Let a paused container go on. StateError in any other state."""
    with container.lock():
        state = container.state()
        if state.status != "paused":
            raise StateError(
                f"container {container.name} is {state.status}, not paused", "rpod ps --filter status=paused"
            )
        _freeze(container, frozen=False)


def thaw(container: Container) -> None:
    """Let a paused container that was sent a signal go on: frozen, it takes none but SIGKILL."""
    _freeze(container, frozen=False)


def _freeze(container: Container, *, frozen: bool) -> None:
    run = container.run_record()
    verb = "paused" if frozen else "unpaused"
    try:
        cgroup2.freeze(run.cgroup if run else "", frozen)
    except FileNotFoundError:
        pass  # it ended just now, and its cgroup with it
    except LimitError as error:
        raise LimitError(f"container {container.name} cannot be {verb}: {error.message}", error.hint) from error
    except OSError as error:
        raise StateError(f"container {container.name} cannot be {verb}: {os_reason(error)}") from error
    events.of_container(container.record, "pause" if frozen else "unpause")

"""``rename``: give a container another name."""

from __future__ import annotations

from rootless.state import events
from rootless.state.containers import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container


def rename(container: Container, name: str) -> None:
    """Rename. ConflictError if the name is taken, UsageError if it cannot be one."""
    with container.lock():
        before = container.name
        Containers().rename(container, name)
    if name != before:
        events.of_container(container.record, "rename")

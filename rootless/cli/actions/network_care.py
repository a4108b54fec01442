"""The answer to the monitor about a container's network."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import one


def mend(*, container: str, lifelines: list[str]) -> int:
    """Answer the monitor."""
    from rootless.engine import network_care

    started = network_care.mend(one(container), [int(fd) for fd in lifelines])
    output.emit(" ".join(map(str, started)))
    return 0

"""``healthcheck run``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import one


def run(*, container: str) -> int:
    """Check a container's health; returns 1 when it is not well."""
    from rootless.engine import health

    if health.run(one(container)):
        return 0
    output.emit("unhealthy")
    return 1


def tick(*, container: str) -> int:
    """Answer the monitor."""
    from rootless.engine import health

    output.emit(str(health.tick(one(container))))
    return 0

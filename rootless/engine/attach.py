"""``attach``: become a client of a running container."""

from __future__ import annotations

from rootless.engine import client
from rootless.state.container import Container, not_running, paused


def attach(container: Container, *, detach_keys: str | None, no_stdin: bool, sig_proxy: bool) -> int:
    """Stay with a running container to its end; returns its exit code, 0 when the user detached."""
    state = container.state()
    if state.status == "paused":
        raise paused(container)
    if not state.running:
        raise not_running(container)
    return client.attach(container, detach_keys=detach_keys, no_stdin=no_stdin, sig_proxy=sig_proxy)

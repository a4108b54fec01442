"""``run`` and ``start`` in the foreground: the command stays with the container, as its monitor's first client."""

from __future__ import annotations

import _socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.state.container import Container

STREAMS = frozenset(("stdin", "stdout", "stderr"))


def load() -> None:
    """Import what comes after the launch, for which this process only waits: done before it, that takes 1 ms more."""
    from rootless.engine import cleanup, client  # noqa: F401


def run_attached(
    container: Container,
    launch: Callable[[int], object],
    *,
    stdin: bool,
    detach_keys: str | None,
    sig_proxy: bool,
    streams: frozenset[str] = STREAMS,
) -> int:
    """Launch with this process as the monitor's first client, stay to the end and clean up.

    Only output of ``streams`` is shown. Returns the program's exit code, or 0 when the user detached.
    """
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    launch(theirs.fileno())
    theirs.close()
    from rootless.engine import client, session

    # Where a restart policy decides, the monitor goes on: this command ends with the program's first end, as Podman's.
    peer = client.Monitor(container, ours, take_over=container.record.restart == "no", streams=streams)
    tty = container.record.tty
    proxied = sig_proxy and not tty
    code = session.Session(peer, stdin=stdin, tty=tty, detach_keys=detach_keys, sig_proxy=proxied).run()
    if code == session.DETACHED:
        return 0
    if peer.took_over:
        from rootless.engine import cleanup

        cleanup.after_exit(container)
    return code

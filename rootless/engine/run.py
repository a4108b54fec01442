"""``run``: create, start, and in the foreground stay with the container to its end."""

from __future__ import annotations

from rootless.engine import client, create, remove, start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.options import RunOptions
    from rootless.state.containers import NewContainer


def run(options: RunOptions, announce: Callable[[str], None]) -> int:
    """Run a new container. Returns the program's exit code, or 0 for -d after ``announce(id)``."""
    new = create.prepare(options)
    container = new.container
    try:
        if options.detach:
            start.launch_container(container, new.lock, preserve_fds=options.preserve_fds)
            announce(container.id)
            return 0
        return client.run_attached(
            container,
            lambda fd: start.launch_container(container, new.lock, client_fd=fd, preserve_fds=options.preserve_fds),
            stdin=container.record.open_stdin,
            detach_keys=options.detach_keys,
            sig_proxy=options.sig_proxy,
        )
    except BaseException:
        _forget_failed(new)
        raise


def _forget_failed(new: NewContainer) -> None:
    """A --rm container that did not start is removed; another stays for a look at it, as with Podman."""
    if new.container.record.auto_remove and not new.container.is_alive():
        remove.delete(new.container, volumes=True)

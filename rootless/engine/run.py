"""``run``: create, start, and in the foreground stay with the container to its end."""

from __future__ import annotations

from rootless.engine import create, foreground, start, values
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.options import RunOptions
    from rootless.state.containers import NewContainer


def run(options: RunOptions, announce: Callable[[str], None]) -> int:
    """Run a new container. Returns the program's exit code, or 0 for -d after ``announce(id)``."""
    streams = _attached(options)
    preserved = _preserved(options)
    new = create.prepare(options)
    container = new.container

    def launch(client_fd: int) -> object:
        return start.launch_container(
            container,
            new.lock,
            client_fd=client_fd,
            preserve_fds=options.preserve_fds,
            preserved=preserved,
            spec=new.spec,
        )

    try:
        if options.detach:
            launch(-1)
            announce(container.id)
            return 0
        return foreground.run_attached(
            container,
            launch,
            stdin=container.record.open_stdin and "stdin" in streams,
            streams=streams,
            detach_keys=options.detach_keys,
            sig_proxy=options.sig_proxy,
        )
    except BaseException:
        _forget_failed(new)
        raise


def _attached(options: RunOptions) -> frozenset[str]:
    """The streams that the user stays with. Raises UsageError."""
    if not options.attach:
        return foreground.STREAMS
    streams = frozenset(word.lower() for text in options.attach for word in text.split(","))
    if options.detach:
        raise UsageError("--attach and --detach exclude each other")
    if unknown := sorted(streams - foreground.STREAMS):
        raise UsageError(f"--attach {unknown[0]}: there is no such stream", "stdin, stdout or stderr")
    return streams


def _preserved(options: RunOptions) -> list[int]:
    """The descriptors of --preserve-fd; they and those of --preserve-fds must be open. Raises UsageError."""
    values.check_descriptors(range(3, 3 + options.preserve_fds), "--preserve-fds")
    words = [word for text in options.preserve_fd for word in text.split(",")]
    found = [values.integer(word, "--preserve-fd", low=3, high=1 << 20) for word in words]
    values.check_descriptors(found, "--preserve-fd")
    return found


def _forget_failed(new: NewContainer) -> None:
    """A --rm container that did not start is removed; another stays for a look at it, as with Podman."""
    if new.container.record.auto_remove and not new.container.is_alive():
        from rootless.engine import remove

        remove.delete(new.container, volumes=True)

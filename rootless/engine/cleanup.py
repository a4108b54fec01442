"""After the end of a container: free what it held, remove it (--rm), or start it again (--restart)."""

from __future__ import annotations

import time

from rootless.engine import reconcile, remove
from rootless.errors import NotFoundError, RpodError, StateError
from rootless.kernel import files
from rootless.state.containers import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container

_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 60.0


def cleanup(ident: str) -> int:
    """The command that a monitor becomes when nobody else cleans up.

    Returns what systemd shall take for the exit code of a service whose main process the monitor is: the
    program's, and 0 if the user stopped it, for that is no failure.
    """
    try:
        container = Containers().resolve(ident)
        state = container.state()
        after_exit(container)
    except NotFoundError:
        return 0  # somebody was faster
    stopped = state.exit is None or (state.run is not None and state.run.stopped_by_user)
    return 0 if stopped or state.exit is None else state.exit.code


def after_exit(container: Container) -> None:
    """Tidy up behind a program that has ended."""
    record = container.record
    if container.is_alive():
        return  # started again already
    if record.auto_remove:
        remove.delete(container, volumes=True)
        return
    reconcile.release(container)
    if _wants_restart(container):
        _restart(container)


def by_hand(container: Container, *, rm: bool, rmi: bool) -> None:
    """``container cleanup``: free what an ended container holds; then remove it, and its image."""
    if container.is_alive():
        raise StateError(
            f"container {container.name} is {container.state().status}: there is nothing to clean up",
            f"rpod stop {container.name}",
        )
    image_id = container.record.image_id
    reconcile.release(container)
    if rm:
        remove.remove(container, force=False, volumes=True, timeout_s=None)
    if rmi:
        from rootless.engine import images

        images.remove_images([image_id], force=False)


def _wants_restart(container: Container) -> bool:
    record, state = container.record, container.state()
    if state.run is None or state.run.stopped_by_user or state.exit is None:
        return False
    if record.restart == "on-failure":
        return state.exit.code != 0 and (not record.restart_max or state.run.restarts < record.restart_max)
    return record.restart in ("always", "unless-stopped")


def _restart(container: Container) -> None:
    """Start it again, later each time; whoever stops or removes it meanwhile wins."""
    from rootless.engine import start

    run = container.run_record()
    assert run is not None
    time.sleep(min(_FIRST_DELAY_S * 2**run.restarts, _LONGEST_DELAY_S))
    with container.lock():
        run = container.run_record()
        alive = None if run is None or run.stopped_by_user else container.take_alive()
        if run is None or alive is None:
            return
        try:
            start.launch_container(container, alive, restarts=run.restarts + 1)
        except RpodError as error:
            files.write_atomic(f"{container.directory}/error", error.message.encode(), sync=False)

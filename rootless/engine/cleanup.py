"""After the end of a container: free what it held, then remove it (--rm) or start it again (--restart)."""

from __future__ import annotations

from rootless.engine import reconcile, remove
from rootless.errors import NotFoundError, StateError
from rootless.kernel import files
from rootless.state import events
from rootless.state.containers import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container


def cleanup(ident: str, lock_fd: int, *, restart: bool) -> int:
    """The command that a monitor becomes when nobody else cleans up; ``lock_fd`` is the alive lock, -1 without one.

    With ``restart`` it is what waited between two starts, and the time has come.

    Returns what systemd shall take for the exit code of a service whose main process the monitor is: the
    program's, and 0 if the user stopped it, for that is no failure.
    """
    try:
        container = Containers().resolve(ident)
        run, end = container.run_record(), container.last_exit()
        if lock_fd < 0:
            after_exit(container)
            if not container.record.auto_remove and container.record.restart != "no":
                _follow_policy(container, container.take_alive())  # `update` gave it one while it was running
        elif restart:
            _start_again(container, files.Lock(container.alive_path, lock_fd))
        else:
            reconcile.release(container)
            events.of_container(container.record, "cleanup")
            _follow_policy(container, files.Lock(container.alive_path, lock_fd))
    except NotFoundError:
        return 0  # somebody was faster
    stopped = run is not None and run.stopped_by_user
    return 0 if end is None or stopped else end.code


def _follow_policy(container: Container, alive: files.Lock | None) -> None:
    from rootless.engine import restart_policy

    if alive is not None:
        with alive:
            restart_policy.go_on(container, alive)


def _start_again(container: Container, alive: files.Lock) -> None:
    from rootless.engine import restart_policy

    with alive:
        restart_policy.start_again(container, alive)


def after_exit(container: Container) -> None:
    """Tidy up behind a program that has ended; whoever has started or removed the container since then has done it."""
    if container.is_alive():
        return
    if container.record.auto_remove:
        remove.delete(container, volumes=True)
        return
    try:
        if reconcile.release_unless_started(container):
            events.of_container(container.record, "cleanup")
    except NotFoundError:
        pass


def by_hand(container: Container, *, rm: bool, rmi: bool) -> None:
    """``container cleanup``: free what an ended container holds; then remove it, and its image."""
    if container.state().waits:
        from rootless.engine import stop

        stop.stop(container, 0)
        reconcile.release(container)  # as long as the record of this run names its cgroup
        container.forget_exit()
        container.put_back(None, None)  # as if it had never been set up
    image_id = container.record.image_id
    if not reconcile.release_unless_started(container):
        raise StateError(
            f"container {container.name} is {container.state().status}: there is nothing to clean up",
            f"rpod stop {container.name}",
        )
    events.of_container(container.record, "cleanup")
    if rm:
        remove.remove(container, force=False, volumes=True, timeout_s=None)
    if rmi:
        from rootless.engine import images

        images.remove_images([image_id], force=False)

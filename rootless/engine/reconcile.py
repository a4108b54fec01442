"""What a container left when it ended, and what a killed process could not tidy away."""

from __future__ import annotations

import os

from rootless import paths
from rootless.errors import NotFoundError
from rootless.kernel import cgroup2, files, process, userns
from rootless.state import events
from rootless.state.containers import Containers
from rootless.storage.staging import Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.state.container import Container, State
    from rootless.state.record import RunRecord


def release(container: Container) -> None:
    """Free what the last run held: surviving processes, the cgroup, the sockets. The container is not alive."""
    run = container.run_record()
    if run is not None and run.boot_id == paths.boot_id():
        _end_survivors(run)
        cgroup2.remove(run.cgroup)
    if os.path.exists(f"{container.directory}/runtime"):
        from rootless.engine import other_runtime

        other_runtime.forget(container)
    for name in ("attach", "gate", "slirp.sock"):
        try:
            os.unlink(f"{container.run_directory}/{name}")
        except FileNotFoundError:
            pass


def release_unless_started(container: Container) -> bool:
    """``release`` after an end; False, and nothing done, where somebody starts the container again already."""
    with container.release_lock():
        if container.is_alive():
            return False
        release(container)
    return True


def _end_survivors(run: RunRecord) -> None:
    """A monitor that was killed takes the program along (PR_SET_PDEATHSIG), unless the program undid that."""
    process.kill(run.pid, run.start_ticks)
    for pid, ticks in run.helpers:
        process.kill(pid, ticks)
    if run.cgroup:
        cgroup2.kill(run.cgroup)


def living(store: Containers) -> Iterator[tuple[Container, State]]:
    """Every container with its state, after finishing what a killed process could not.

    A --rm container that ended unseen is removed; an end that no monitor wrote down is written
    down, and what the dead monitor held is freed.
    """
    for container in store.all():
        state = container.state()
        if state.status in ("created", "exited") and not container.is_alive():
            if container.record.auto_remove:
                _remove_unseen(container)
                continue
            if state.run is not None and container.exit_record() is None:
                _finish(container, state)
        yield container, state


def _finish(container: Container, state: State) -> None:
    """An end that nobody wrote down: of a program, or of a launcher before there was one."""
    try:
        lock = container.take_alive()
    except NotFoundError:
        return
    if lock is None:
        return  # somebody starts it right now
    with lock:
        release(container)
        if state.exit is not None:
            container.save_exit(state.exit)
            events.of_container(container.record, "died", exit_code=state.exit.code)
        else:
            files.remove_tree(f"{container.directory}/state.json")


def _remove_unseen(container: Container) -> None:
    from rootless.engine import remove

    try:
        remove.delete(container, volumes=True)
    except NotFoundError:
        pass  # somebody was faster


def sweep() -> None:
    """Finish what killed commands left: half-made containers, --rm containers that ended unseen, staging."""
    store = Containers()
    for container in store.unfinished():
        release(container)
        userns.remove_tree_inside(container.directory)
        files.remove_tree(container.run_directory)
    store.drop_stale_names()
    for _ in living(store):
        pass
    Staging(store.data_dir).sweep()

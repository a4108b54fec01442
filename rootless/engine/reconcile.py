"""What a container left when it ended, and what a killed process could not tidy away."""

from __future__ import annotations

import os

from rootless import paths
from rootless.kernel import files, process
from rootless.runtime import cgroup
from rootless.state.containers import Container, Containers
from rootless.state.record import RunRecord
from rootless.storage.staging import Staging



def release(container: Container) -> None:
    """Free what the last run held: surviving processes, the cgroup, the sockets. The container is not alive."""
    run = container.run_record()
    if run is not None and run.boot_id == paths.boot_id():
        _end_survivors(run)
        cgroup.remove(run.cgroup)
    for name in ("attach", "slirp.sock"):
        try:
            os.unlink(f"{container.run_directory}/{name}")
        except FileNotFoundError:
            pass


def _end_survivors(run: RunRecord) -> None:
    """A monitor that was killed takes the program along (PR_SET_PDEATHSIG); a program may undo that."""
    process.kill(run.pid, run.start_ticks)
    if run.cgroup:
        cgroup.kill(run.cgroup)


def clear_last_run(container: Container) -> None:
    """Before a start: the last end is over, its record and what it left go away."""
    release(container)
    try:
        os.unlink(f"{container.directory}/exit.json")
    except FileNotFoundError:
        pass


def sweep() -> None:
    """Finish what killed commands left: half-made containers, --rm containers that ended unseen, staging."""
    store = Containers()
    for container in store.unfinished():
        files.remove_tree(container.directory)
        files.remove_tree(container.run_directory)
    for container in store.all():
        if container.record.auto_remove and not container.is_alive():
            from rootless.engine import remove

            remove.delete(container, volumes=True)
    Staging(store.data_dir).sweep()

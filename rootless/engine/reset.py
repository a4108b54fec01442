"""``system reset``: everything that rpod has stored goes; the user's configuration stays."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.engine import remove
from rootless.errors import NotFoundError, RpodError, StorageError, os_reason
from rootless.kernel import process, userns
from rootless.state.containers import Containers

if TYPE_CHECKING:
    from rootless.state.container import Container
    from rootless.state.record import RunRecord

_CLEANUP_S = 10.0


def reset() -> list[str]:
    """Remove every container, then all directories of rpod; returns those. Raises StorageError.

    A container that cannot be stopped is told of, and keeps everything from being removed.
    """
    store = Containers()
    runs = [run for ident in store.ids() if (run := _last_run(store.by_id(ident)))]
    for ident in store.ids():
        try:
            remove.remove(store.by_id(ident), force=True, volumes=True, timeout_s=0, depend=True)
        except NotFoundError:
            continue  # it has gone with what it depended on
        except RpodError as error:
            log.warn(error.message)
    if left := [ident[:12] for ident in store.ids() if store.by_id(ident).is_alive()]:
        raise StorageError(f"these containers could not be stopped: {', '.join(left)}", "rpod kill, then try again")
    _await_cleanups(runs)
    gone = []
    for path in (paths.data(), paths.data_home(), paths.state(), paths.cache(), paths.runtime()):
        if os.path.exists(path):
            try:
                userns.remove_tree_inside(path)
            except OSError as error:
                raise StorageError(f"{path} cannot be removed: {os_reason(error)}") from error
            gone.append(path)
    return gone


def _last_run(container: Container) -> RunRecord | None:
    try:
        return container.run_record()
    except StorageError:
        return None  # whatever stands there goes, too


def _await_cleanups(runs: list[RunRecord]) -> None:
    """Wait until the monitors have ended: each is now an ``rpod cleanup``, which writes its code to the cache."""
    for run in runs:
        pidfd = process.open_pidfd(run.monitor_pid, run.monitor_ticks)
        if pidfd >= 0:
            process.wait_gone(pidfd, _CLEANUP_S)
            os.close(pidfd)

"""``system reset``: everything that rpod has stored goes; the user's configuration stays."""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.engine import remove
from rootless.errors import RpodError, StorageError, os_reason
from rootless.kernel import userns
from rootless.state.containers import Containers


def reset() -> list[str]:
    """Remove every container, then all directories of rpod; returns those. Raises StorageError.

    A container that cannot be stopped is told of, and keeps everything from being removed.
    """
    store = Containers()
    for ident in store.ids():
        try:
            remove.remove(store.by_id(ident), force=True, volumes=True, timeout_s=0, depend=True)
        except RpodError as error:
            log.warn(error.message)
    if left := [ident[:12] for ident in store.ids() if store.by_id(ident).is_alive()]:
        raise StorageError(f"these containers could not be stopped: {', '.join(left)}", "rpod kill, then try again")
    gone = []
    for path in (paths.data(), paths.data_home(), paths.state(), paths.cache(), paths.runtime()):
        if os.path.exists(path):
            try:
                userns.remove_tree_inside(path)
            except OSError as error:
                raise StorageError(f"{path} cannot be removed: {os_reason(error)}") from error
            gone.append(path)
    return gone

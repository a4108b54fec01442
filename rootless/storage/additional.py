"""Further stores of this user that are only read: ``storage.additional``, each the data directory of an rpod.

Their images are found after the store's own, and their layers are used where they are. What was
found is kept for the process: nothing is asked unless the own store does not have something.
"""

from __future__ import annotations

import os

from rootless import config, log
from rootless.errors import os_reason

_found: list[str] | None = None


def folders() -> list[str]:
    """The data directories that can be used; the others are warned about once a process."""
    global _found
    if _found is None:
        _found = [path for path in config.load().storage.additional if _usable(path)]
    return _found


def _usable(path: str) -> bool:
    try:
        owner = os.stat(path).st_uid
        os.listdir(f"{path}/images")
    except OSError as error:
        log.warn(f"storage.additional is left out: {os_reason(error)}")
        return False
    if owner != os.geteuid():
        log.warn(f"storage.additional is left out: {path} belongs to user {owner}, whose files nobody here could read")
        return False
    return True

"""Warnings that each user gets once, not at every command: a file in the cache says which were shown."""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.kernel import files


def first(name: str) -> bool:
    """Whether it is the first time that this is asked for ``name``."""
    path = f"{paths.cache()}/{name}"
    if os.path.exists(path):
        return False
    files.make_private(paths.cache())
    files.write_atomic(path, b"", sync=False)
    return True


def warn(name: str, text: str) -> None:
    """Say ``text``, unless it was said before under ``name``."""
    if first(name):
        log.warn(text)

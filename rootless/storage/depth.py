"""How deep the trees of containers and archives may be, which others fill.

A walk holds a descriptor and a few frames of the stack for every level. What is deeper than
this is not a program's data but an attempt on both.
"""

from __future__ import annotations

from rootless.errors import StorageError
from rootless.storage.tarheader import shown

MAX_DEPTH = 200


def check(where: bytes, depth: int) -> None:
    """StorageError when ``where`` lies more than MAX_DEPTH directories below the root of its tree."""
    if depth > MAX_DEPTH:
        raise StorageError(f"{shown(where)} is nested deeper than {MAX_DEPTH} directories")

"""The names of the image in the package: asked by every ``run``, which needs no more of ``builtin``."""

from __future__ import annotations

NAME = "localhost/rpod/hello:latest"
SHORT = ("hello", "hello:latest")
_NAMES = (*SHORT, "rpod/hello", "rpod/hello:latest", "localhost/rpod/hello", NAME)


def is_name(name: str) -> bool:
    """Whether ``name`` may mean the built-in image."""
    return name in _NAMES

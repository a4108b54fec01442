"""Pull and push of a real Debian beside Podman, from and to registries on loopback."""

from __future__ import annotations

import contextlib
import itertools
from typing import TYPE_CHECKING

from cases import Case
from support import debian
from support.registry import PlainRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Engine

PULL, PUSH = "pull, Debian", "push, Debian"
_MOST_RUNS = 5


def write_image(folder: Path, registry: PlainRegistry) -> str:
    """Put the image into a registry; its full name."""
    return registry.push(debian.write_layout(folder / "debian"), "debian:latest")


class _Empty:
    """A registry without anything, another one for each turn."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._running = stack.enter_context(contextlib.ExitStack())
        self.address = ""

    def renew(self) -> None:
        """Start one, and end the one before."""
        self._running.close()
        server = self._running.enter_context(PlainRegistry(self._folder / f"empty{next(self._numbers)}"))
        self.address = server.address


def cases(folder: Path, stack: contextlib.ExitStack) -> list[Case]:
    """What is measured; ``stack`` ends the registries."""
    empty = _Empty(folder, stack)

    def remove(engine: Engine, image: str) -> None:
        engine.output("rmi", "-f", image)

    def push(engine: Engine, image: str) -> None:
        engine.run("push", "--quiet", "--tls-verify=false", image, f"{empty.address}/debian:latest")

    return [
        Case(PULL, 0.35, lambda engine, image: engine.pull(image), before=remove, most_runs=_MOST_RUNS),
        Case(PUSH, 0.5, push, before=lambda *_: empty.renew(), most_runs=_MOST_RUNS),
    ]

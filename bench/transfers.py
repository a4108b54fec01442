"""Pull and push of a real Debian beside Podman, from and to registries on loopback."""

from __future__ import annotations

import contextlib
import itertools
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from cases import Case
from support import debian
from support.registry import PlainRegistry

from rootless.kernel import userns

if TYPE_CHECKING:
    from peers import Engine

PULL, PUSH = "pull, Debian", "push, Debian"
_MOST_RUNS = 5


def write_image(folder: Path, registry: PlainRegistry) -> str:
    """Put the image into a registry; its full name."""
    return registry.push(debian.write_layout(folder / "debian"), "debian:latest")


class _Stores:
    """An engine with an empty store for each pull.

    A first pull is what users wait for; and what was just removed slows ext4 down for seconds, which has to look
    at the inodes that were freed before it makes new ones.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._numbers = itertools.count()
        self._engine: Engine | None = None

    def renew(self, engine: Engine, _: str) -> None:
        """Make the next one; its store goes when the bench ends."""
        folder = self._folder / f"store{next(self._numbers)}"
        runtime = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR"))))
        self._stack.callback(userns.remove_tree_inside, str(folder))
        self._engine = peers.MAKERS[engine.name](folder, runtime / "r", "overlay")

    def pull(self, _: Engine, image: str) -> None:
        """Pull into it."""
        assert self._engine is not None
        self._engine.pull(image)


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
    empty, stores = _Empty(folder, stack), _Stores(folder, stack)

    def push(engine: Engine, image: str) -> None:
        engine.run("push", "--quiet", "--tls-verify=false", image, f"{empty.address}/debian:latest")

    return [
        Case(PULL, 0.35, stores.pull, before=stores.renew, most_runs=_MOST_RUNS),
        Case(PUSH, 1.0, push, before=lambda *_: empty.renew(), most_runs=_MOST_RUNS),
    ]

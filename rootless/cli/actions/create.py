"""``create``, ``run`` and ``exec``."""

from __future__ import annotations

from rootless.engine.options import ContainerOptions, ExecOptions, RunOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def _announce(ident: str) -> None:
    print(ident, flush=True)


def create(**values: Any) -> int:
    """Make a container and print its id."""
    from rootless.engine import create as engine

    _announce(engine.create(ContainerOptions(values)))
    return 0


def run(**values: Any) -> int:
    """Run a new container; returns the program's exit code."""
    from rootless.engine import run as engine

    return engine.run(RunOptions(values), _announce)


def exec_(*, words: list[str], latest: bool, **values: Any) -> int:
    """Run a program in a running container; returns its exit code."""
    from rootless.cli.actions import names
    from rootless.engine import exec as engine

    container, command = names.first(words, latest)
    return engine.exec_(container, ExecOptions({**values, "command": command}))

"""``init``, and what stands only under the noun ``container``: ``exists prune cleanup``."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Latest, Names, Pruning


@command(
    "container exists", runs="container:exists", examples=["rpod container exists web || rpod run -d --name web nginx"]
)
class Exists:
    """Status 0 if the container is there, 1 if not."""

    container: Annotated[str, argument("CONTAINER")]


@command(
    "init",
    "container init",
    runs="container:init",
    examples=["rpod init web && rpod start web", "rpod init --all"],
)
class Init:
    """Set containers up, all but their program, which start begins then without delay."""

    containers: Names = []
    all: Annotated[bool, option("--all", "-a", text="Every container that does not run.")] = False
    latest: Latest = False


@command(
    "container prune",
    runs="container:prune",
    examples=["rpod container prune", "rpod container prune -f --filter until=24h"],
)
class Prune(Pruning):
    """Remove all containers that do not run."""


@command(
    "container cleanup",
    runs="container:cleanup",
    examples=["rpod container cleanup web", "rpod container cleanup --all"],
)
class Cleanup:
    """Free what ended containers still hold, as rpod does by itself after their end."""

    containers: Names = []
    all: Annotated[bool, option("--all", "-a", text="Every container that does not run.")] = False
    latest: Latest = False
    rm: Annotated[bool, option("--rm", text="Remove the container, too.")] = False
    rmi: Annotated[bool, option("--rmi", text="Remove the container and its image, too.")] = False

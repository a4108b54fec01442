"""``stats``: what goes on."""

# ruff: noqa: TC001  (Typer reads the annotations when it runs)
from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import command, option
from rootless.cli.options import Format, Latest, Names, NoTruncation


@command(
    "stats",
    "container stats",
    runs="stats:stats",
    examples=[
        "rpod stats",
        "rpod stats --no-stream web db",
        "rpod stats --no-stream --format 'table {{.Name}}\\t{{.MemUsage}}'",
    ],
)
class Stats:
    """Show how much processor, memory, network and disk containers use.

    Where the memory controller is not delegated to the user, the memory is that of the processes added up, with a ~
    before it: what they share counts several times.
    """

    containers: Names = []
    all: Annotated[bool, option("--all", "-a", text="Also those that do not run.")] = False
    format: Format = ""
    interval: Annotated[int, option("--interval", "-i", metavar="SECONDS", text="How often to look (5).")] = 5
    latest: Latest = False
    no_reset: Annotated[bool, option("--no-reset", text="Print below what was there, also on a terminal.")] = False
    no_stream: Annotated[bool, option("--no-stream", text="Once, and no more.")] = False
    no_trunc: NoTruncation = False

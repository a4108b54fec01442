"""``stats events``: what goes on."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import command, option
from rootless.cli.options import Format, Latest, Names, NoTruncation, Since, Until


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


@command(
    "events",
    "system events",
    runs="events:events",
    examples=[
        "rpod events",
        "rpod events --since 10m --stream=false",
        "rpod events --filter container=web --filter event=died --format '{{.Time}} {{.ContainerExitCode}}'",
    ],
)
class Events:
    """Print what happens to containers, images and volumes, as it happens.

    Filters: container, event, image, label, type and volume; values of one key are alternatives.
    """

    filter: Annotated[list[str], option("--filter", "-f", metavar="KEY=VALUE", text="Only what fits.")] = []
    format: Format = ""
    no_trunc: Annotated[bool, option("--no-trunc", text="Show ids in full (true).")] = True
    since: Since = ""
    stream: Annotated[bool, option("--stream", text="Go on with what comes (true).")] = True
    until: Until = ""

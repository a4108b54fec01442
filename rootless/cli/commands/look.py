"""``ps inspect top port``: what there is."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Filters, Format, Latest, NoTruncation, Quiet, ShortFormat

Size = Annotated[bool, option("--size", "-s", text="How much each has written (slow).")]


@command(
    "ps",
    "container ps",
    runs="look:ps",
    aliases=("container ls", "container list", "ls", "list"),
    examples=[
        "rpod ps -a",
        "rpod ps --filter status=exited --filter label=app=web",
        "rpod ps --format '{{.Names}}: {{.Status}}'",
        "rpod ps --format 'table {{.ID}}\\t{{.Ports}}'",
    ],
)
class Ps:
    """List the running containers."""

    all: Annotated[bool, option("--all", "-a", text="Also those that do not run.")] = False
    filter: Filters = []
    format: Format = ""
    last: Annotated[int, option("--last", "-n", metavar="N", text="The N that were created last, in any state.")] = 0
    latest: Latest = False
    no_trunc: NoTruncation = False
    noheading: Annotated[bool, option("--noheading", text="Leave the headings out.")] = False
    quiet: Quiet = False
    size: Size = False
    sort: Annotated[
        str,
        option("--sort", metavar="KEY", text="command, created, id, image, names, runningfor, size or status."),
    ] = "created"
    sync: Annotated[bool, option("--sync", text="As with Podman; what is shown is always in step.")] = False


class Inspection:
    """What inspect and container inspect share."""

    names: Annotated[list[str], argument("[NAME]...")] = []
    format: ShortFormat = ""
    latest: Latest = False
    size: Size = False


@command("container inspect", runs="look:inspect_container", examples=["rpod container inspect web"])
class ContainerInspect(Inspection):
    """Show all that is known of containers."""


@command(
    "inspect",
    runs="look:inspect",
    examples=[
        "rpod inspect web",
        "rpod inspect -f '{{.State.Status}} {{.State.ExitCode}}' web",
        "rpod inspect -f '{{json .Config.Env}}' debian",
    ],
)
class Inspect(Inspection):
    """Show all that is known of containers and images."""

    type: Annotated[str, option("--type", "-t", metavar="TYPE", text="container, image or all.")] = "all"


@command(
    "top",
    "container top",
    runs="look:top",
    interspersed=False,
    examples=["rpod top web", "rpod top web user,pid,args", "rpod top -l pid comm"],
)
class Top:
    """List the processes of a container."""

    words: Annotated[list[str], argument("[CONTAINER] [FIELD]...")] = []
    latest: Latest = False


@command("port", "container port", runs="look:port", examples=["rpod port web", "rpod port web 80/tcp", "rpod port -a"])
class Port:
    """List the published ports of a container."""

    words: Annotated[list[str], argument("[CONTAINER] [PORT[/PROTOCOL]]")] = []
    all: Annotated[bool, option("--all", "-a", text="Of every running container.")] = False
    latest: Latest = False


@command("__names", runs="look:names", hidden=True)
class CompletionNames:
    """What completion offers: the names of running, stopped or all containers, or of images."""

    kind: Annotated[str, argument("KIND")]

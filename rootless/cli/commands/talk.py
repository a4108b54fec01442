"""``logs attach cp``: what goes in and what comes out."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import DetachKeys, Latest, Names, SigProxy, Since, Until


@command(
    "logs",
    "container logs",
    runs="talk:logs",
    examples=["rpod logs -f web", "rpod logs --tail 20 -t web", "rpod logs --since 10m web db"],
)
class Logs:
    """Show what containers have printed."""

    containers: Names = []
    color: Annotated[bool, option("--color", text="A colour for each container, on a terminal.")] = False
    follow: Annotated[bool, option("--follow", "-f", text="Go on until the containers end.")] = False
    latest: Latest = False
    names: Annotated[bool, option("--names", "-n", text="The container's name before each line.")] = False
    since: Since = ""
    tail: Annotated[int, option("--tail", metavar="N", text="The last N lines; -1 is all.")] = -1
    timestamps: Annotated[bool, option("--timestamps", "-t", text="The time before each line.")] = False
    until: Until = ""


@command("attach", "container attach", runs="talk:attach", examples=["rpod attach web", "rpod attach --no-stdin web"])
class Attach:
    """Connect this terminal to a running container."""

    containers: Annotated[list[str], argument("[CONTAINER]")] = []
    detach_keys: DetachKeys = None
    latest: Latest = False
    no_stdin: Annotated[bool, option("--no-stdin", text="Only look.")] = False
    sig_proxy: SigProxy = True


@command(
    "cp",
    "container cp",
    runs="talk:cp",
    examples=["rpod cp web:/etc/nginx .", "rpod cp site/. web:/srv", "tar c . | rpod cp - web:/tmp"],
)
class Cp:
    """Copy files between a container and the host; - is a tar stream."""

    source: Annotated[str, argument("[CONTAINER:]SOURCE")]
    target: Annotated[str, argument("[CONTAINER:]TARGET")]
    archive: Annotated[bool, option("--archive", "-a", text="Keep owners and modes (true).")] = True
    follow_link: Annotated[
        bool, option("--follow-link", "-L", text="Copy what SOURCE points to, if it is a link (true).")
    ] = True
    overwrite: Annotated[bool, option("--overwrite", text="Let a file replace a directory, and the reverse.")] = False

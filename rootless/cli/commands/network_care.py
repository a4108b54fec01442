"""What the monitor runs when something has happened to a container's network."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command


@command("__mend", runs="network_care:mend", hidden=True)
class Mend:
    """Look after a container's network, and print the pids of helpers that were started."""

    container: Annotated[str, argument("ID")]
    lifelines: Annotated[list[str], argument("FD")] = []

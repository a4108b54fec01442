"""``update``."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.creation import Limits
from rootless.cli.declare import command, option
from rootless.cli.options import Latest, Names


@command(
    "update",
    "container update",
    runs="update:update",
    examples=["rpod update --memory 1g --cpus 2 web", "rpod update --restart on-failure:3 web db"],
)
class Update(Limits):
    """Give containers other limits, now if they run, and at their next starts."""

    containers: Names = []
    env: Annotated[
        list[str], option("--env", "-e", metavar="NAME[=VALUE]", text="A variable, from the next start on.")
    ] = []
    latest: Latest = False
    restart: Annotated[
        str, option("--restart", metavar="POLICY", text="no, on-failure[:N], always or unless-stopped.")
    ] = ""
    unsetenv: Annotated[
        list[str], option("--unsetenv", metavar="NAME", text="A variable less, from the next start on.")
    ] = []

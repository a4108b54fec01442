"""``healthcheck run``, and what the monitor runs when a check is due."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command


@command("healthcheck run", runs="health:run", examples=["rpod healthcheck run web && echo fine"])
class HealthcheckRun:
    """Check a container's health now. Status 0: healthy, 1: not, 125: there is nothing to check."""

    container: Annotated[str, argument("CONTAINER")]


@command("__check", runs="health:tick", hidden=True)
class Tick:
    """Check the health if it is time, and print in how many milliseconds it is time again."""

    container: Annotated[str, argument("ID")]

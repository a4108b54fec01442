"""``mount unmount``."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import command, option
from rootless.cli.options import Format, Latest, Names


@command(
    "mount",
    "container mount",
    runs="mount:mount",
    examples=["rpod unshare sh -c 'ls $(rpod mount web)/etc'", "rpod unshare rpod mount"],
)
class Mount:
    """Under rpod unshare: mount the roots of containers that do not run, or list what is mounted."""

    containers: Names = []
    all: Annotated[bool, option("--all", "-a", text="Every container that does not run.")] = False
    format: Format = ""
    latest: Latest = False
    notruncate: Annotated[bool, option("--notruncate", "--no-trunc", text="Show ids in full.")] = False


@command(
    "unmount",
    "container unmount",
    runs="mount:unmount",
    aliases=("umount", "container umount"),
    examples=["rpod unshare rpod unmount web", "rpod unmount -a"],
)
class Unmount:
    """Under rpod unshare: the end of mount."""

    containers: Names = []
    all: Annotated[bool, option("--all", "-a", text="Every mounted container.")] = False
    force: Annotated[bool, option("--force", "-f", text="As Podman's: what is busy goes away when it is free.")] = False
    latest: Latest = False

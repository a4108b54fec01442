"""``purge chown``: files that containers left behind under ids that the user cannot reach."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option


@command("purge", runs="mend:purge", examples=["rpod purge ./build-output"])
class Purge:
    """Remove files and directories, also those that belong to ids of your containers. There is no way back."""

    paths: Annotated[list[str], argument("PATH...")]


@command(
    "chown",
    runs="mend:chown",
    examples=["rpod chown -R ./data", "rpod chown 999:999 ./database", "rpod chown -R 0:5 ./mail"],
)
class Chown:
    """Change the owner of files that belong to ids of your containers; without USER they become yours.

    USER and GROUP are ids as containers see them without --userns: 0 is you.
    """

    words: Annotated[list[str], argument("[USER[:GROUP]] PATH...")]
    recursive: Annotated[bool, option("--recursive", "-R", text="Directories with all that is in them.")] = False

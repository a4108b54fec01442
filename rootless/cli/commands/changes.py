"""``diff history image tree``: how images and containers are made up, and how they differ."""

# ruff: noqa: TC001  (Typer reads the annotations when it runs)
from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Format, Latest, NoTruncation, Quiet


@command("container diff", runs="changes:diff_container", examples=["rpod container diff web"])
class ContainerDiff:
    """Show what a container changed: A is added, C is changed, D is deleted."""

    names: Annotated[list[str], argument("[CONTAINER] [CONTAINER]")] = []
    format: Annotated[str, option("--format", metavar="FORMAT", text="json.")] = ""
    latest: Latest = False


@command("image diff", runs="changes:diff_image", examples=["rpod image diff web:2 web:1", "rpod image diff debian"])
class ImageDiff:
    """Show what an image's last layer changed, or how it differs from another image."""

    names: Annotated[list[str], argument("IMAGE [IMAGE]")]
    format: Annotated[str, option("--format", metavar="FORMAT", text="json.")] = ""


@command("diff", runs="changes:diff", examples=["rpod diff web", "rpod diff --format json web", "rpod diff web debian"])
class Diff(ContainerDiff):
    """Show what a container or an image's last layer changed: A is added, C is changed, D is deleted."""

    names: Annotated[list[str], argument("[CONTAINER|IMAGE] [CONTAINER|IMAGE]")] = []


@command(
    "history",
    "image history",
    runs="changes:history",
    examples=["rpod history debian", "rpod history --no-trunc --format '{{.CreatedBy}}' debian"],
)
class History:
    """Show the steps in which an image was made, the last one first."""

    image: Annotated[str, argument("IMAGE")]
    format: Format = ""
    human: Annotated[bool, option("--human", "-H", text="Sizes and times for people (true).")] = True
    no_trunc: NoTruncation = False
    quiet: Quiet = False


@command(
    "image tree", runs="changes:tree", examples=["rpod image tree debian", "rpod image tree --whatrequires debian"]
)
class Tree:
    """Show an image's layers, and which images stand on each."""

    image: Annotated[str, argument("IMAGE")]
    whatrequires: Annotated[bool, option("--whatrequires", text="The layers and images that stand upon it.")] = False

"""``diff history image tree commit export import``: how images and containers are made up, and new ones of them."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Format, JsonFormat, Latest, NoTruncation, Quiet

Change = Annotated[
    list[str],
    option(
        "--change",
        "-c",
        metavar="INSTRUCTION",
        text="CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR of the image.",
    ),
]
Message = Annotated[str, option("--message", "-m", metavar="TEXT", text="A comment in the image's history.")]


@command("container diff", runs="changes:diff_container", examples=["rpod container diff web"])
class ContainerDiff:
    """Show what a container changed: A is added, C is changed, D is deleted."""

    names: Annotated[list[str], argument("[CONTAINER] [CONTAINER]")] = []
    format: JsonFormat = ""
    latest: Latest = False


@command("image diff", runs="changes:diff_image", examples=["rpod image diff web:2 web:1", "rpod image diff debian"])
class ImageDiff:
    """Show what an image's last layer changed, or how it differs from another image."""

    names: Annotated[list[str], argument("IMAGE [IMAGE]")]
    format: JsonFormat = ""


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


@command(
    "commit",
    "container commit",
    runs="changes:commit",
    examples=[
        "rpod commit web localhost/web:patched",
        "rpod commit --change 'CMD [\"nginx\"]' --message 'with the new page' web",
    ],
)
class Commit:
    """Make an image of a container: its root as it is now, without what is mounted."""

    container: Annotated[str, argument("CONTAINER")]
    image: Annotated[str, argument("[IMAGE]")] = ""
    author: Annotated[str, option("--author", "-a", metavar="NAME", text="Who made it.")] = ""
    change: Change = []
    format: Annotated[str, option("--format", "-f", metavar="FORMAT", text="oci or docker.")] = "oci"
    iidfile: Annotated[str, option("--iidfile", metavar="FILE", text="Write the image's id to FILE.")] = ""
    include_volumes: Annotated[
        bool, option("--include-volumes", text="What is mounted becomes volumes of the image.")
    ] = False
    message: Message = ""
    pause: Annotated[bool, option("--pause", "-p", text="Stop the container's processes meanwhile.")] = False
    quiet: Annotated[bool, option("--quiet", "-q", text="Print nothing but the image's id.")] = False
    squash: Annotated[bool, option("--squash", "-s", text="One layer that holds everything.")] = False


@command(
    "export",
    "container export",
    runs="changes:export",
    examples=["rpod export web > web.tar", "rpod export -o web.tar web"],
)
class Export:
    """Write a container's root as a flat tar archive, without what is mounted in it."""

    container: Annotated[str, argument("CONTAINER")]
    output: Annotated[str, option("--output", "-o", metavar="FILE", text="Write to FILE (standard output).")] = ""


@command(
    "import",
    "image import",
    runs="changes:import_",
    examples=[
        "rpod import root.tar.xz localhost/base",
        "rpod export web | rpod import --change 'CMD [\"sh\"]' - localhost/flat",
        "rpod import https://example.com/root.tar.gz localhost/base",
    ],
)
class Import:
    """Make an image of a tar archive: a file, a URL or - for standard input; gzip, zstd, xz, bzip2 or plain."""

    source: Annotated[str, argument("FILE|URL|-")]
    reference: Annotated[str, argument("[NAME]")] = ""
    arch: Annotated[str, option("--arch", metavar="ARCH", text="The architecture of its programs.")] = ""
    change: Change = []
    message: Message = ""
    os: Annotated[str, option("--os", metavar="OS", text="The operating system of its programs.")] = ""
    quiet: Annotated[bool, option("--quiet", "-q", text="Print nothing but the image's id.")] = False
    variant: Annotated[str, option("--variant", metavar="VARIANT", text="The variant of the architecture.")] = ""

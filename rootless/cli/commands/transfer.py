"""``save load``: images to and from archives and directories."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option

NoProgress = Annotated[bool, option("--quiet", "-q", text="No progress.")]


@command(
    "save",
    "image save",
    runs="transfer:save",
    examples=[
        "rpod save debian > debian.tar",
        "rpod save -m -o two.tar debian localhost/web",
        "rpod save --format oci-archive -o debian.oci debian",
    ],
)
class Save:
    """Write an image, and more names of it, to an archive or a directory; with -m several images."""

    images: Annotated[list[str], argument("IMAGE [NAME]...")]
    compress: Annotated[bool, option("--compress", text="Compress the layers of a docker-dir with gzip.")] = False
    format: Annotated[
        str, option("--format", metavar="FORMAT", text="docker-archive, oci-archive, oci-dir or docker-dir.")
    ] = "docker-archive"
    multi_image_archive: Annotated[
        bool, option("--multi-image-archive", "-m", text="Each name is an image of its own.")
    ] = False
    output: Annotated[str, option("--output", "-o", metavar="PATH", text="Write to PATH (standard output).")] = ""
    quiet: NoProgress = False
    uncompressed: Annotated[bool, option("--uncompressed", text="Do not compress layers.")] = False


@command(
    "load",
    "image load",
    runs="transfer:load",
    examples=["rpod load < debian.tar", "rpod load -i debian.oci.zst", "rpod load -i /media/layout"],
)
class Load:
    """Store the images of an archive or a directory: of Docker or OCI, with any compression."""

    input: Annotated[str, option("--input", "-i", metavar="PATH", text="Read PATH (standard input).")] = ""
    quiet: NoProgress = False

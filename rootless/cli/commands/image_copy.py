"""``image copy mount unmount``: images in other places."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import JsonFormat, NoProgress, Patience, Platform, RegistryAccess


@command(
    "image copy",
    runs="image_copy:copy",
    aliases=("image cp",),
    examples=[
        "rpod image copy docker://docker.io/library/debian:12 oci:/srv/images:debian",
        "rpod image copy oci-archive:app.tar docker://registry.example/team/app:1.0",
        "rpod image copy localhost/web dir:/media/stick/web",
    ],
)
class Copy(RegistryAccess, Patience):
    """Copy an image between docker://NAME, oci:DIR[:NAME], oci-archive:FILE[:NAME], docker-archive:FILE[:NAME], dir:DIR
    and names of stored images, with the same bytes wherever the target's form allows it.
    """  # noqa: D205 - the help's first sentence

    source: Annotated[str, argument("SOURCE")]
    target: Annotated[str, argument("TARGET")]
    platform: Platform = ""
    quiet: NoProgress = False


@command(
    "image mount",
    runs="image_copy:mount",
    examples=["rpod unshare sh -c 'ls $(rpod image mount debian)'", "rpod unshare rpod image mount"],
)
class Mount:
    """Mount images read-only, in the namespace of rpod unshare, and print where; without a name, list what is."""

    images: Annotated[list[str], argument("[IMAGE]...")] = []
    all: Annotated[bool, option("--all", "-a", text="Every image.")] = False
    format: JsonFormat = ""


@command(
    "image unmount",
    "image umount",
    runs="image_copy:unmount",
    examples=["rpod image unmount debian", "rpod image unmount --all"],
)
class Unmount:
    """Unmount images that image mount has mounted in this namespace."""

    images: Annotated[list[str], argument("[IMAGE]...")] = []
    all: Annotated[bool, option("--all", "-a", text="Every one.")] = False
    force: Annotated[bool, option("--force", "-f", text="As with Podman; programs in it keep their open files.")] = (
        False
    )

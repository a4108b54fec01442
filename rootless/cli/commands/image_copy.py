"""``image copy``: from place to place."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Patience, Platform, RegistryAccess


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
    quiet: Annotated[bool, option("--quiet", "-q", text="No progress.")] = False

"""``images rmi tag untag``, and what only ``image`` has: ``exists inspect prune``."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import (
    Filters,
    Format,
    NoHeading,
    NoTruncation,
    Patience,
    Pruning,
    Quiet,
    RegistryAccess,
    ShortFormat,
)


@command(
    "images",
    "image ls",
    runs="image:images",
    aliases=("image list",),
    examples=[
        "rpod images",
        "rpod images --filter dangling=true -q",
        "rpod images --format '{{.Repository}} {{.Size}}'",
    ],
)
class Images:
    """List images."""

    name: Annotated[list[str], argument("[REPOSITORY[:TAG]]")] = []
    all: Annotated[bool, option("--all", "-a", text="Also the steps of builds, where there are any.")] = False
    digests: Annotated[bool, option("--digests", text="With digests.")] = False
    filter: Filters = []
    format: Format = ""
    no_trunc: NoTruncation = False
    noheading: NoHeading = False
    quiet: Quiet = False
    sort: Annotated[str, option("--sort", metavar="KEY", text="created, id, repository, size or tag.")] = "created"


@command(
    "rmi",
    "image rm",
    runs="image:rmi",
    aliases=("image remove",),
    examples=["rpod rmi debian", "rpod rmi -f 3f57d9401f8d", "rpod rmi -a"],
)
class Rmi:
    """Remove images. Status 1: there is no such image, 2: a container uses it."""

    images: Annotated[list[str], argument("[IMAGE]...")] = []
    all: Annotated[bool, option("--all", "-a", text="Every image.")] = False
    force: Annotated[bool, option("--force", "-f", text="With all its names, and the containers made of it.")] = False
    ignore: Annotated[bool, option("--ignore", "-i", text="An image that is not there is no error.")] = False


@command("tag", "image tag", runs="image:tag", examples=["rpod tag debian:12 localhost/base"])
class Tag:
    """Give an image more names."""

    image: Annotated[str, argument("IMAGE")]
    names: Annotated[list[str], argument("NAME...")]


@command(
    "image inspect",
    runs="image:inspect",
    examples=[
        "rpod image inspect -f '{{.Config.Cmd}}' debian",
        "rpod image inspect --remote docker.io/library/debian",
        "rpod image inspect oci-archive:app.tar",
    ],
)
class Inspect(RegistryAccess, Patience):
    """Show all that is known of images, also of such as are elsewhere: docker://NAME, oci:DIR[:NAME] and the like.

    Of those only the documents are fetched, and nothing is stored. The options about registries are for them.
    """

    images: Annotated[list[str], argument("IMAGE...")]
    format: ShortFormat = ""
    remote: Annotated[bool, option("--remote", text="Ask the registry, as if docker:// stood before each name.")] = (
        False
    )


@command("untag", "image untag", runs="image:untag", examples=["rpod untag base", "rpod untag 3f57d9401f8d base:old"])
class Untag:
    """Take names from an image, all of them if none is given. The image stays."""

    image: Annotated[str, argument("IMAGE")]
    names: Annotated[list[str], argument("[NAME]...")] = []


@command("image exists", runs="image:exists", examples=["rpod image exists debian && echo yes"])
class Exists:
    """Status 0 if there is such an image, 1 if there is not."""

    image: Annotated[str, argument("IMAGE")]


@command(
    "image prune",
    runs="image:prune",
    examples=["rpod image prune", "rpod image prune -af --filter until=240h"],
)
class Prune(Pruning):
    """Remove the images that have no name and that no container uses."""

    all: Annotated[bool, option("--all", "-a", text="All images that no container uses.")] = False

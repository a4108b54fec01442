"""``manifest …``: lists of images for several platforms."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import NoProgress, Patience, RegistryAccess

All = Annotated[bool, option("--all", text="Every image of a list that is named, not only this machine's.")]


class Platforms:
    """What a list says about one of its images."""

    annotation: Annotated[list[str], option("--annotation", metavar="KEY=VALUE", text="An annotation of it.")] = []
    arch: Annotated[str, option("--arch", metavar="ARCH", text="Its architecture.")] = ""
    features: Annotated[list[str], option("--features", metavar="WORD", text="What the CPU must have.")] = []
    os: Annotated[str, option("--os", metavar="OS", text="Its operating system.")] = ""
    os_features: Annotated[list[str], option("--os-features", metavar="WORD", text="What the system must have.")] = []
    os_version: Annotated[str, option("--os-version", metavar="VERSION", text="The system's version.")] = ""
    variant: Annotated[str, option("--variant", metavar="VARIANT", text="The variant of its architecture.")] = ""


@command(
    "manifest create",
    runs="manifest:create",
    examples=[
        "rpod manifest create app:1.0",
        "rpod manifest create app:1.0 app-amd64 docker://registry.example/app-arm",
    ],
)
class Create(RegistryAccess, Patience):
    """Make a list, and add images to it."""

    name: Annotated[str, argument("LIST")]
    images: Annotated[list[str], argument("[IMAGE]...")] = []
    all: All = False
    amend: Annotated[bool, option("--amend", "-a", text="Go on with a list that is there.")] = False


@command(
    "manifest add",
    runs="manifest:add",
    examples=[
        "rpod manifest add app:1.0 app-arm64",
        "rpod manifest add --all app:1.0 docker://docker.io/library/debian",
    ],
)
class Add(Platforms, RegistryAccess, Patience):
    """Add images to a list: stored ones, or such as docker://NAME and oci:DIR."""

    name: Annotated[str, argument("LIST")]
    images: Annotated[list[str], argument("IMAGE...")]
    all: All = False


@command(
    "manifest annotate",
    runs="manifest:annotate",
    examples=["rpod manifest annotate --arch arm64 --variant v8 app:1.0 sha256:…"],
)
class Annotate(Platforms):
    """Change what a list says about one of its images."""

    name: Annotated[str, argument("LIST")]
    image: Annotated[str, argument("DIGEST|IMAGE")]


@command("manifest inspect", runs="manifest:inspect", examples=["rpod manifest inspect docker.io/library/debian"])
class Inspect(RegistryAccess, Patience):
    """Print a list, or the manifest of an image; what is not here is asked from its registry."""

    name: Annotated[str, argument("LIST|IMAGE")]


@command(
    "manifest push",
    runs="manifest:push",
    examples=["rpod manifest push app:1.0 docker://registry.example/team/app:1.0"],
)
class Push(RegistryAccess, Patience):
    """Send a list to a registry, with the images that it names."""

    name: Annotated[str, argument("LIST")]
    target: Annotated[str, argument("[TARGET]")] = ""
    all: Annotated[bool, option("--all", text="The images, too, unless they are there (true).")] = True
    digestfile: Annotated[str, option("--digestfile", metavar="FILE", text="Write the list's digest to FILE.")] = ""
    format: Annotated[str, option("--format", "-f", metavar="FORMAT", text="oci or v2s2.")] = "oci"
    quiet: NoProgress = False
    rm: Annotated[bool, option("--rm", text="Remove the list here when it has been sent.")] = False


@command("manifest remove", runs="manifest:remove", examples=["rpod manifest remove app:1.0 sha256:…"])
class Remove:
    """Take an image from a list."""

    name: Annotated[str, argument("LIST")]
    image: Annotated[str, argument("DIGEST|IMAGE")]


@command("manifest rm", runs="manifest:rm", examples=["rpod manifest rm app:1.0"])
class Rm:
    """Remove lists; the images stay."""

    names: Annotated[list[str], argument("LIST...")]


@command("manifest exists", runs="manifest:exists", examples=["rpod manifest exists app:1.0 && echo yes"])
class Exists:
    """Status 0 if there is such a list, 1 if there is not."""

    name: Annotated[str, argument("LIST")]

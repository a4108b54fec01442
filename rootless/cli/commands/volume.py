"""``volume create ls inspect rm prune exists export import mount unmount reload``."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Filters, Format, NoHeading, Pruning, ShortFormat

_Volumes = Annotated[list[str], argument("[VOLUME]...")]


@command(
    "volume create",
    runs="volume:create",
    examples=[
        "rpod volume create data",
        "rpod volume create --opt o=uid=999,gid=999,mode=0700 database",
        "rpod volume create --opt type=tmpfs --opt o=size=64m scratch",
    ],
)
class Create:
    """Make a volume and print its name."""

    name: Annotated[list[str], argument("[VOLUME]")] = []
    driver: Annotated[str, option("--driver", "-d", metavar="DRIVER", text="local is the one there is.")] = "local"
    ignore: Annotated[bool, option("--ignore", text="One that is there already is no error.")] = False
    label: Annotated[list[str], option("--label", "-l", metavar="KEY=VALUE", text="A label.")] = []
    opt: Annotated[
        list[str], option("--opt", "-o", metavar="KEY=VALUE", text="type=tmpfs or bind, device=DIR, o=OPTIONS, nocopy.")
    ] = []


@command(
    "volume ls",
    runs="volume:ls",
    aliases=("volume list",),
    examples=["rpod volume ls", "rpod volume ls -q --filter dangling=true", "rpod volume ls --format '{{.Name}}'"],
)
class Ls:
    """List volumes."""

    filter: Filters = []
    format: Format = ""
    noheading: NoHeading = False
    quiet: Annotated[bool, option("--quiet", "-q", text="Print names only.")] = False


@command(
    "volume inspect",
    runs="volume:inspect",
    examples=["rpod volume inspect data", "rpod volume inspect -f '{{.Mountpoint}}' data"],
)
class Inspect:
    """Show all that is known of volumes."""

    volumes: _Volumes = []
    all: Annotated[bool, option("--all", "-a", text="Every volume.")] = False
    format: ShortFormat = ""


@command(
    "volume rm",
    runs="volume:rm",
    aliases=("volume remove",),
    examples=["rpod volume rm data", "rpod volume rm -f data", "rpod volume rm -a"],
)
class Rm:
    """Remove volumes. Status 1: there is no such volume, 2: a container uses it."""

    volumes: _Volumes = []
    all: Annotated[bool, option("--all", "-a", text="Every volume.")] = False
    force: Annotated[
        bool, option("--force", "-f", text="With the containers that use it; a missing volume is no error.")
    ] = False
    time: Annotated[
        int | None, option("--time", "-t", metavar="SECONDS", text="How long these may take to stop (with --force).")
    ] = None


@command(
    "volume prune",
    runs="volume:prune",
    examples=["rpod volume prune", "rpod volume prune -f --filter label=temporary"],
)
class Prune(Pruning):
    """Remove the volumes that no container uses."""


@command("volume exists", runs="volume:exists", examples=["rpod volume exists data || rpod volume create data"])
class Exists:
    """Status 0 if the volume is there, 1 if not."""

    volume: Annotated[str, argument("VOLUME")]


@command(
    "volume export",
    runs="volume:export",
    examples=["rpod volume export data -o data.tar", "rpod volume export data | rpod volume import copy -"],
)
class Export:
    """Write a volume's files as a tar archive."""

    volume: Annotated[str, argument("VOLUME")]
    output: Annotated[str, option("--output", "-o", metavar="FILE", text="Not to standard output.")] = ""


@command(
    "volume import",
    runs="volume:import_",
    examples=["rpod volume import data data.tar", "zcat data.tgz | rpod volume import data -"],
)
class Import:
    """Unpack a tar archive (also gzip, zstd, xz, bzip2) into a volume that is there."""

    volume: Annotated[str, argument("VOLUME")]
    source: Annotated[str, argument("ARCHIVE")]


@command("volume mount", runs="volume:mount", examples=['rpod unshare sh -c "ls $(rpod volume mount data)"'])
class Mount:
    """Print where the files of volumes are."""

    volumes: Annotated[list[str], argument("VOLUME...")]


@command(
    "volume unmount",
    runs="volume:unmount",
    aliases=("volume umount",),
    examples=["rpod unshare rpod volume unmount data"],
)
class Unmount:
    """The end of volume mount, which has nothing to undo: print the names."""

    volumes: Annotated[list[str], argument("VOLUME...")]


@command("volume reload", runs="volume:reload", hidden=True)
class Reload:
    """Podman asks its volume plugins with this; there are none here."""

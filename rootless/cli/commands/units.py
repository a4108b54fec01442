"""``quadlet``, ``generate systemd``, ``auto-update``: containers as systemd user services."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Authfile, Filters, Format, NoHeading, TlsVerify

Quadlets = Annotated[list[str], argument("[QUADLET]...")]
ReloadSystemd = Annotated[bool, option("--reload-systemd", text="Let systemd read its units anew (true).")]


@command(
    "quadlet install",
    runs="units:install",
    examples=["rpod quadlet install web.container", "rpod quadlet install web.container nginx.conf"],
)
class Install:
    """Install a Quadlet file, one with files beside it, or a folder of them as an application."""

    path: Annotated[str, argument("PATH")]
    files: Annotated[list[str], argument("[FILE]...")] = []
    reload_systemd: ReloadSystemd = True
    replace: Annotated[bool, option("--replace", "-r", text="Also if it is there already.")] = False


@command(
    "quadlet list",
    runs="units:list_",
    aliases=("quadlet ls",),
    examples=["rpod quadlet list", "rpod quadlet list --format '{{.UnitName}} {{.Status}}'"],
)
class List:
    """List the Quadlet files and their services."""

    filter: Filters = []
    format: Format = ""
    noheading: NoHeading = False


@command(
    "quadlet print",
    runs="units:print_",
    examples=["rpod quadlet print web.container", "rpod quadlet print --unit web.container"],
)
class Print:
    """Print a Quadlet file, or the service that it becomes."""

    quadlet: Annotated[str, argument("QUADLET")]
    unit: Annotated[bool, option("--unit", text="The service.")] = False


@command(
    "quadlet rm",
    runs="units:rm",
    aliases=("quadlet remove",),
    examples=["rpod quadlet rm web.container", "rpod quadlet rm --force --all"],
)
class Remove:
    """Remove Quadlet files; of an application all of it."""

    quadlets: Quadlets = []
    all: Annotated[bool, option("--all", "-a", text="Every one that is yours.")] = False
    force: Annotated[bool, option("--force", "-f", text="Stop what runs.")] = False
    ignore: Annotated[bool, option("--ignore", "-i", text="One that is not there is no error.")] = False
    reload_systemd: ReloadSystemd = True


@command(
    "quadlet sync",
    runs="units:sync",
    examples=["rpod quadlet sync && systemctl --user start web"],
)
class Sync:
    """Write the services of all Quadlet files into ~/.config/systemd/user, and remove those of files that have gone."""

    reload_systemd: ReloadSystemd = True


@command("quadlet verify", runs="units:verify", examples=["rpod quadlet verify", "rpod quadlet verify web.container"])
class Verify:
    """Say what Quadlet files become, and why they would not start. Status 1: one would not."""

    quadlets: Quadlets = []


@command("quadlet generator", runs="units:generator", hidden=True)
class Generator:
    """What systemd calls: write all services into a folder (systemd.generator(7))."""

    folders: Annotated[list[str], argument("NORMAL [EARLY LATE]")]


@command(
    "generate systemd",
    runs="units:generate_systemd",
    examples=[
        "rpod generate systemd --new --name web > ~/.config/systemd/user/container-web.service",
        "rpod generate systemd --files --name --restart-policy always web db",
    ],
)
class GenerateSystemd:
    """Print a systemd user service for containers. Quadlet files are the better way: see rpod-quadlet(5)."""

    containers: Annotated[list[str], argument("CONTAINER...")]
    after: Annotated[list[str], option("--after", metavar="UNIT", text="Start after this unit.")] = []
    container_prefix: Annotated[
        str, option("--container-prefix", metavar="TEXT", text="What the service's name begins with (container).")
    ] = "container"
    env: Annotated[
        list[str], option("--env", "-e", metavar="NAME=VALUE", text="A variable of the service, for -e NAME.")
    ] = []
    files: Annotated[bool, option("--files", "-f", text="Write files into this directory, and print their paths.")] = (
        False
    )
    format: Annotated[str, option("--format", metavar="FORMAT", text="json: the services' names and texts.")] = ""
    name: Annotated[bool, option("--name", "-n", text="Use the container's name instead of its id.")] = False
    new: Annotated[bool, option("--new", text="Make the container anew at each start, and remove it at the end.")] = (
        False
    )
    no_header: Annotated[bool, option("--no-header", text="Leave out the lines that say where it comes from.")] = False
    requires: Annotated[list[str], option("--requires", metavar="UNIT", text="This unit must run.")] = []
    restart_policy: Annotated[
        str, option("--restart-policy", metavar="POLICY", text="systemd's Restart=: no, on-failure, always … .")
    ] = "on-failure"
    restart_sec: Annotated[int, option("--restart-sec", metavar="SECONDS", text="How long to wait before that.")] = 0
    separator: Annotated[str, option("--separator", metavar="TEXT", text="Between prefix and name (-).")] = "-"
    start_timeout: Annotated[
        int | None, option("--start-timeout", metavar="SECONDS", text="How long a start may take.")
    ] = None
    time: Annotated[
        int | None,
        option("--time", "-t", "--stop-timeout", metavar="SECONDS", text="How long a stop waits before SIGKILL."),
    ] = None
    wants: Annotated[list[str], option("--wants", metavar="UNIT", text="This unit is started, too.")] = []


@command(
    "auto-update",
    runs="units:auto_update",
    examples=["rpod auto-update --dry-run", "rpod auto-update --format '{{.Unit}} {{.Updated}}'"],
)
class AutoUpdate:
    """Restart containers with the newest version of their image: those with the label io.containers.autoupdate.

    The label says where to look: registry, or local for an image that was pulled or built here. The container must run
    in a systemd unit, as that of a Quadlet file with AutoUpdate=.
    """

    authfile: Authfile = ""
    dry_run: Annotated[bool, option("--dry-run", text="Only say what would be updated.")] = False
    format: Format = ""
    noheading: NoHeading = False
    rollback: Annotated[bool, option("--rollback", text="Back to the old image if the unit does not start (true).")] = (
        True
    )
    tls_verify: TlsVerify = None

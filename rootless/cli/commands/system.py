"""``info version unshare doctor``, ``system prune``, ``system df``: rpod itself."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import DoNotAsk, Format, Pruning, ShortFormat


@command("info", "system info", runs="system:info", examples=["rpod info", "rpod info -f '{{.Store.GraphDriverName}}'"])
class Info:
    """Show this machine and how rpod is set up on it."""

    format: ShortFormat = ""


@command("version", runs="system:version", examples=["rpod version", "rpod version -f json"])
class Version:
    """Show the version."""

    format: ShortFormat = ""


@command(
    "unshare",
    runs="system:unshare",
    interspersed=False,
    examples=["rpod unshare ls -ln ~/.local/share/rpod", "rpod unshare"],
)
class Unshare:
    """Run a program (or a shell) in the user namespace that owns the containers' files."""

    command: Annotated[list[str], argument("[COMMAND] [ARG]...")] = []


@command("system df", runs="system:df", examples=["rpod system df", "rpod system df -v"])
class Df:
    """Show how much disk images, containers and volumes take."""

    format: Format = ""
    verbose: Annotated[bool, option("--verbose", "-v", text="Each one by itself.")] = False


@command("system prune", runs="system:prune", examples=["rpod system prune", "rpod system prune -af --volumes"])
class Prune(Pruning):
    """Remove ended containers, images without a name, and what crashes left behind."""

    all: Annotated[bool, option("--all", "-a", text="All images that no container uses.")] = False
    volumes: Annotated[bool, option("--volumes", text="Also volumes that no container uses.")] = False


@command(
    "doctor",
    "system doctor",
    runs="system:doctor",
    examples=["rpod doctor", "rpod doctor slirp4netns", "rpod doctor --script | sudo sh"],
)
class Doctor:
    """Try everything that rpod needs, or the named checks and what they need, and say what mends it.

    Status 1: something required is missing.
    """

    checks: Annotated[list[str], argument("[CHECK]...")] = []
    format: Format = ""
    script: Annotated[bool, option("--script", text="Print an administrator's commands as one script.")] = False


@command("cleanup", runs="system:cleanup", hidden=True)
class Cleanup:
    """What a monitor becomes after the end of its container."""

    container: Annotated[str, argument("ID")]
    lock: Annotated[int, option("--lock", metavar="FD", text="The alive lock, handed on by the monitor.")] = -1
    restart: Annotated[bool, option("--restart", text="Start it again: the time has come.")] = False


@command("system check", runs="system:check", examples=["rpod system check --quick", "rpod system check --repair"])
class Check:
    """Look for damage in everything that is stored, and mend it with --repair. Status 1: something is damaged.

    What a killed command left only takes room: it is told of as harmless, and does not count.
    """

    force: Annotated[bool, option("--force", "-f", text="With --repair: remove damaged containers, too.")] = False
    quick: Annotated[bool, option("--quick", "-q", text="Do not read the content of the layers.")] = False
    repair: Annotated[bool, option("--repair", "-r", text="Mend what is damaged.")] = False


@command("system migrate", runs="system:migrate", examples=["rpod system migrate"])
class Migrate:
    """Give what is stored to your new ids, after your ranges in /etc/subuid and /etc/subgid changed.

    The old ranges must still be there beside the new ones: put the new ones first, migrate, then remove the old.
    """


@command("system reset", runs="system:reset", examples=["rpod system reset", "rpod system reset --force"])
class Reset:
    """Remove everything: containers, images, volumes and all else that rpod has stored. The configuration stays."""

    force: DoNotAsk = False

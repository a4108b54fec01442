"""``start stop restart kill pause unpause rm wait rename``: the life of a container."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option
from rootless.cli.options import Chosen, DetachKeys, Filters, Latest, Names, SigProxy, StopTime

Ignore = Annotated[bool, option("--ignore", "-i", text="A container that is not there is no error.")]


@command(
    "start",
    "container start",
    runs="lifecycle:start",
    examples=["rpod start web", "rpod start -ai shell", "rpod start -a"],
)
class Start:
    """Start containers that were created or have ended."""

    containers: Names = []
    all: Annotated[bool, option("--all", text="Every container that does not run.")] = False
    attach: Annotated[bool, option("--attach", "-a", text="Show the output and wait for the end.")] = False
    detach_keys: DetachKeys = None
    filter: Filters = []
    interactive: Annotated[bool, option("--interactive", "-i", text="Give it standard input.")] = False
    latest: Latest = False
    sig_proxy: SigProxy = True


@command(
    "stop", "container stop", runs="lifecycle:stop", examples=["rpod stop web", "rpod stop -t 2 web db", "rpod stop -a"]
)
class Stop(Chosen):
    """Stop containers: the stop signal first, SIGKILL when the time is over."""

    all: Annotated[bool, option("--all", "-a", text="Every running container.")] = False
    ignore: Ignore = False
    time: StopTime = None


@command("restart", "container restart", runs="lifecycle:restart", examples=["rpod restart -t 0 web"])
class Restart(Chosen):
    """Stop containers if they run, then start them."""

    all: Annotated[bool, option("--all", "-a", text="Every container.")] = False
    running: Annotated[bool, option("--running", text="Every running container.")] = False
    time: StopTime = None


@command("kill", "container kill", runs="lifecycle:kill", examples=["rpod kill web", "rpod kill -s HUP web"])
class Kill(Chosen):
    """Send a signal to the program of containers."""

    all: Annotated[bool, option("--all", "-a", text="Every running container.")] = False
    signal: Annotated[str, option("--signal", "-s", metavar="SIGNAL", text="TERM, SIGTERM or 15 (KILL).")] = "KILL"


@command(
    "pause",
    "container pause",
    runs="lifecycle:pause",
    examples=["rpod pause web", "rpod pause --all", "rpod pause --filter label=tier=front"],
)
class Pause(Chosen):
    """Stop every process of running containers where it is; they keep their memory and take no time."""

    all: Annotated[bool, option("--all", "-a", text="Every running container.")] = False
    filter: Filters = []


@command("unpause", "container unpause", runs="lifecycle:unpause", examples=["rpod unpause web", "rpod unpause --all"])
class Unpause(Chosen):
    """Let paused containers go on."""

    all: Annotated[bool, option("--all", "-a", text="Every paused container.")] = False
    filter: Filters = []


@command(
    "rm",
    "container rm",
    runs="lifecycle:rm",
    aliases=("container remove", "remove"),
    examples=["rpod rm web", "rpod rm -f -v web db", "rpod rm -a"],
)
class Rm(Chosen):
    """Remove containers. Status 1: there is no such container, 2: it runs."""

    all: Annotated[bool, option("--all", "-a", text="Every container.")] = False
    depend: Annotated[bool, option("--depend", text="With the containers that share its namespaces.")] = False
    filter: Annotated[
        list[str], option("--filter", metavar="KEY=VALUE", text="Only what fits; see FILTERS in rpod(1).")
    ] = []
    force: Annotated[bool, option("--force", "-f", text="Also running ones; a missing one is no error.")] = False
    ignore: Ignore = False
    time: StopTime = None
    volumes: Annotated[bool, option("--volumes", "-v", text="With their anonymous volumes.")] = False


@command(
    "wait", "container wait", runs="lifecycle:wait", examples=["rpod wait web", "rpod wait --condition running web"]
)
class Wait:
    """Wait for the end of containers and print their exit codes."""

    containers: Names = []
    condition: Annotated[
        list[str],
        option("--condition", metavar="STATE", text="Wait for this state instead: running, paused, removed …"),
    ] = []
    ignore: Annotated[bool, option("--ignore", text="A container that is not there has the code -1.")] = False
    interval: Annotated[
        str, option("--interval", "-i", metavar="TIME", text="How often to look: 250ms, 2s (250ms).")
    ] = "250ms"
    latest: Latest = False
    return_on_first: Annotated[bool, option("--return-on-first", text="Until the first of them is so.")] = False


@command("rename", "container rename", runs="lifecycle:rename", examples=["rpod rename web old-web"])
class Rename:
    """Give a container another name."""

    container: Annotated[str, argument("CONTAINER")]
    name: Annotated[str, argument("NAME")]

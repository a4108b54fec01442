"""``create``, ``run`` and ``exec``: what starts a program."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.creation import Creation
from rootless.cli.declare import argument, command, option
from rootless.cli.options import DetachKeys, Latest, PreserveFds, Program, SigProxy


@command(
    "create",
    "container create",
    runs="create:create",
    interspersed=False,
    examples=["rpod create --name web -p 8080:80 nginx", "rpod create -it debian bash"],
)
class Create(Creation):
    """Make a container and print its id; start runs it."""


@command(
    "run",
    "container run",
    runs="create:run",
    interspersed=False,
    examples=[
        "rpod run --rm -it debian",
        "rpod run -d --name web -p 8080:80 nginx",
        'rpod run --rm --userns keep-id -v "$PWD:/src" -w /src gcc make',
        "rpod run hello",
    ],
)
class Run(Creation):
    """Run a program in a new container."""

    detach: Annotated[bool, option("--detach", "-d", text="Leave it running and print its id.")] = False
    detach_keys: DetachKeys = None
    attach: Annotated[
        list[str], option("--attach", "-a", metavar="STREAM", text="Only stdin, stdout or stderr; may be repeated.")
    ] = []
    preserve_fd: Annotated[
        list[str], option("--preserve-fd", metavar="FD[,FD]", text="Hand these descriptors on, under their numbers.")
    ] = []
    preserve_fds: PreserveFds = 0
    sig_proxy: SigProxy = True


@command(
    "exec",
    "container exec",
    runs="create:exec_",
    interspersed=False,
    examples=["rpod exec -it web sh", "rpod exec -u 1000 -e DEBUG=1 web ./script", "rpod exec -l id"],
)
class Exec(Program):
    """Run another program in a running container."""

    words: Annotated[list[str], argument("[CONTAINER] COMMAND [ARG]...")] = []
    detach: Annotated[bool, option("--detach", "-d", text="Leave it running.")] = False
    detach_keys: DetachKeys = None
    latest: Latest = False
    preserve_fds: PreserveFds = 0
    privileged: Annotated[bool, option("--privileged", text="With all that the container's user may do.")] = False

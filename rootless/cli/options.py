"""Options that commands share, each declared once: types of single ones, base classes for groups."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, option

Names = Annotated[list[str], argument("[CONTAINER]...")]
Latest = Annotated[bool, option("--latest", "-l", text="The container that was created last.")]
Filters = Annotated[
    list[str], option("--filter", "-f", metavar="KEY=VALUE", text="Only what fits; see FILTERS in rpod(1).")
]
Format = Annotated[str, option("--format", metavar="FORMAT", text="json, or a Go template; see FORMAT in rpod(1).")]
ShortFormat = Annotated[
    str, option("--format", "-f", metavar="FORMAT", text="json, or a Go template; see FORMAT in rpod(1).")
]
NoTruncation = Annotated[bool, option("--no-trunc", text="Show ids and commands in full.")]
NoHeading = Annotated[bool, option("--noheading", "-n", text="Leave the headings out.")]
Quiet = Annotated[bool, option("--quiet", "-q", text="Print ids only.")]
CidFiles = Annotated[
    list[str], option("--cidfile", metavar="FILE", text="A file with the container's id; may be repeated.")
]
StopTime = Annotated[
    int | None,
    option("--time", "-t", "--timeout", metavar="SECONDS", text="How long to wait before SIGKILL; -1 is for ever."),
]
DetachKeys = Annotated[
    str | None,
    option("--detach-keys", metavar="KEYS", text="Keys that leave the container running (ctrl-p,ctrl-q)."),
]
SigProxy = Annotated[bool, option("--sig-proxy", text="Send signals on to the program (true).")]
Authfile = Annotated[str, option("--authfile", metavar="FILE", text="The file of credentials, instead of all others.")]
CertDir = Annotated[str, option("--cert-dir", metavar="DIR", text="Certificates: *.crt to trust, *.cert and *.key.")]
Creds = Annotated[str, option("--creds", metavar="USER:PASSWORD", text="Credentials for this registry.")]
TlsVerify = Annotated[bool | None, option("--tls-verify", text="Ask for HTTPS and a good certificate (true).")]
Platform = Annotated[str, option("--platform", metavar="OS/ARCH", text="The image for another platform.")]
NoProgress = Annotated[bool, option("--quiet", "-q", text="No progress.")]
ContentTrust = Annotated[bool, option("--disable-content-trust", text="Means nothing; Docker's scripts give it.")]
JsonFormat = Annotated[str, option("--format", metavar="FORMAT", text="json.")]
Since = Annotated[str, option("--since", metavar="TIME", text="From then on: 10m, 2024-05-01T12:00.")]
Until = Annotated[str, option("--until", metavar="TIME", text="Up to then.")]
DoNotAsk = Annotated[bool, option("--force", "-f", text="Do not ask.")]
PreserveFds = Annotated[int, option("--preserve-fds", metavar="N", text="Hand descriptors 3 to 3+N-1 on.")]


class RegistryAccess:
    """How a registry is spoken to."""

    authfile: Authfile = ""
    cert_dir: CertDir = ""
    creds: Creds = ""
    tls_verify: TlsVerify = None


class Patience:
    """What is done about failures that pass."""

    retry: Annotated[
        int, option("--retry", metavar="N", text="Further attempts after a failure that may pass (3).")
    ] = 3
    retry_delay: Annotated[
        str, option("--retry-delay", metavar="TIME", text="The pause before the first of them: 5s.")
    ] = ""


class Chosen:
    """Containers that a verb is done to; which ones are all of them says each verb."""

    containers: Names = []
    cidfile: CidFiles = []
    filter: Filters = []
    latest: Latest = False


class Pruning:
    """What every prune has."""

    filter: Annotated[
        list[str], option("--filter", metavar="KEY=VALUE", text="Only what fits: label=…, label!=…, until=TIME.")
    ] = []
    force: DoNotAsk = False


class OtherPlatform:
    """An image that is not this machine's."""

    arch: Annotated[str, option("--arch", metavar="ARCH", text="The image for another architecture.")] = ""
    os: Annotated[str, option("--os", metavar="OS", text="The image for another system; only linux runs here.")] = ""
    platform: Platform = ""
    variant: Annotated[str, option("--variant", metavar="VARIANT", text="The image for a variant of the CPU: v7.")] = ""


class Program:
    """What a program gets, the first one of a container or another."""

    env: Annotated[
        list[str], option("--env", "-e", metavar="NAME[=VALUE]", text="A variable; without =, the caller's value.")
    ] = []
    env_file: Annotated[list[str], option("--env-file", metavar="FILE", text="A file of variables.")] = []
    interactive: Annotated[bool, option("--interactive", "-i", text="Keep standard input open.")] = False
    tty: Annotated[bool, option("--tty", "-t", text="Give it a terminal.")] = False
    user: Annotated[str, option("--user", "-u", metavar="USER[:GROUP]", text="Who runs it: names or ids.")] = ""
    workdir: Annotated[str, option("--workdir", "-w", metavar="DIR", text="Its working directory.")] = ""

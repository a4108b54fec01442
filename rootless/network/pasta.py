"""pasta(1): connects the namespace with the host's own addresses, splices local connections.

Faster than slirp4netns for bulk data, and IPv6 too; ready in 20 to 30 ms. pasta has no sign of
readiness but its pid file, written once everything is set up: it is a FIFO here, so that the
wait is one poll. pasta stays in the foreground as a child; nothing ties its life to a
descriptor, so that its owner ends it (``Started.helpers``).
"""

from __future__ import annotations

import os

from rootless.errors import NetworkError, UnsupportedError, os_reason
from rootless.kernel import spawn
from rootless.network.driver import (
    Connection,
    Driver,
    Started,
    host_address,
    known_options,
    wait_readable,
    words_file,
    words_of,
)
from rootless.network.names import Addresses
from rootless.network.ports import check_free

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.network.ports import PortMapping

_FIFO = "pasta.pid"
# A link-local address (RFC 3927) that nothing else has: inside it is the host's first name server.
_DNS = "169.254.1.1"
_SINCE_FLOWS = "--map-host-loopback"  # the option that came with the same year's releases
_ARGUMENTS = "arguments"  # the one key of the options: words for the command line, joined by ","
# What the contract with pasta rests on, and what would change other files than the container's.
_RESERVED = (
    "-f", "--foreground", "-P", "--pid", "--netns", "--userns", "--netns-only", "--config-net", "--runas", "-l",
    "--log-file", "-p", "--pcap", "-F", "--fd", "-h", "--help", "--version", "--no-netns-quit",
)  # fmt: skip
HINT_INSTALL = "sudo apt-get install passt (dnf: the same), or leave --network out"


class Pasta(Driver):
    """Options: arguments of pasta(1), as Podman takes them: ``pasta:--mtu,1500,--map-gw``."""

    name = "pasta"

    def parse_options(self, text: str) -> dict[str, str]:
        """Words for pasta's command line. UnsupportedError for those that rpod sets itself."""
        if not text:
            return {}
        for word in text.split(","):
            if word.partition("=")[0] in _RESERVED or (word[:1] == "-" and word[1:2] != "-" and len(word) > 2):
                raise UnsupportedError(
                    f"--network pasta:{word}: not possible here",
                    "rpod sets its namespaces, pid file and log; short options stand alone: -t,8080",
                )
        return {_ARGUMENTS: text}

    def start(self, wanted: Connection) -> Started:
        """Start pasta; see Driver.start."""
        path = spawn.which("pasta")
        if path is None:
            raise NetworkError("pasta is not installed", HINT_INSTALL)
        _refuse_impossible(wanted.ports, path)
        check_free(wanted.ports)
        fifo = f"{wanted.run_dir}/{_FIFO}"
        try:
            os.unlink(fifo)
        except FileNotFoundError:
            pass
        os.mkfifo(fifo, 0o600)
        ready = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        words = words_file()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        argv = [path, *_arguments(wanted, fifo)]
        try:
            child = spawn.start(argv, fds={0: null, 1: null, 2: words})
        except OSError as error:
            os.close(ready)
            os.close(words)
            raise NetworkError(f"pasta cannot be started: {os_reason(error)}", HINT_INSTALL) from error
        finally:
            os.close(null)
        return _PastaStarted(child, ready, words, fifo)

    def resolver(self, options: Mapping[str, str] | None = None) -> list[str]:
        """An address that pasta forwards to the host's first server, also to one on its loopback."""
        return [_DNS]

    def addresses(self, options: Mapping[str, str] | None = None) -> Addresses:
        """The container has the host's address, by which it reaches itself; the host has none inside."""
        return Addresses(own=host_address() or "127.0.0.1", gateway="")


def _refuse_impossible(ports: list[PortMapping], path: str) -> None:
    """Before it tracked UDP as flows (2024), pasta lost the answers of a port with another number inside."""
    for port in ports:
        if port.protocol == "udp" and port.host_port != port.container_port and _SINCE_FLOWS not in known_options(path):
            raise NetworkError(
                f"this pasta cannot answer on {port}: it is too old to change the number of a UDP port",
                f"publish {port.container_port}:{port.container_port}/udp, or leave --network out",
            )


def _arguments(wanted: Connection, fifo: str) -> list[str]:
    """Words for the command line: the published ports and nothing else in either direction."""
    given = wanted.options.get(_ARGUMENTS)
    words = given.split(",") if given else []
    arguments = ["--config-net", "--foreground", "--quiet", "--pid", fifo, "--dns-forward", _DNS]
    outer = wanted.user_namespace
    own = f"/proc/{os.getpid()}/fd/{outer}" if outer >= 0 else f"/proc/{wanted.pid}/ns/user"
    arguments += ["--userns", own, "--netns", f"/proc/{wanted.pid}/ns/net"]
    if wanted.mtu and not {"-m", "--mtu"} & set(words):
        arguments += ["--mtu", str(wanted.mtu)]
    for short, long, protocol in (("-t", "--tcp-ports", "tcp"), ("-u", "--udp-ports", "udp")):
        specs = [_port(port) for port in wanted.ports if port.protocol == protocol]
        if not specs and not {short, long} & set(words):
            specs = ["none"]  # pasta's own default is every port that the container binds
        for spec in specs:
            arguments += [short, spec]
    for short, long in (("-T", "--tcp-ns"), ("-U", "--udp-ns")):
        if not {short, long} & set(words):
            arguments += [short, "none"]  # the host's loopback stays closed
    if "--map-gw" in words:
        words.remove("--map-gw")
    else:
        arguments.append("--no-map-gw")
    return arguments + words


def _port(port: PortMapping) -> str:
    ports = f"{port.host_port}:{port.container_port}"
    return f"{port.host_ip}/{ports}" if port.host_ip else ports


class _PastaStarted(Started):
    """pasta on its way."""

    __slots__ = ("_fifo", "_ready", "_words")

    def __init__(self, pid: int, ready: int, words: int, fifo: str) -> None:
        super().__init__([pid])
        self._ready = ready
        self._words = words
        self._fifo = fifo

    def finish(self) -> None:
        """See Started.finish."""
        try:
            if not wait_readable(self._ready, self.helpers[0], "pasta"):
                raise NetworkError(f"pasta failed: {words_of(self._words)}", "--network slirp4netns needs less")
        except BaseException:
            self.stop()
            raise
        self._close()

    def stop(self) -> None:
        """See Started.stop."""
        self._close()
        super().stop()

    def _close(self) -> None:
        if self._ready >= 0:
            os.close(self._ready)
            os.close(self._words)
            self._ready = -1
            try:
                os.unlink(self._fifo)
            except FileNotFoundError:
                pass

"""slirp4netns(1): a TCP/IP stack in a process of the user, connected by a tap device.

It joins init's namespaces by itself, says on a pipe that it is ready (about 3 ms), publishes
ports through its API socket, and ends when the last write end of its exit pipe is closed:
the container's monitor holds that. One that takes a dead one's place gets the same pipe.
"""

from __future__ import annotations

import _socket
import os

from rootless.errors import NetworkError, UnsupportedError, UsageError, os_reason
from rootless.kernel import fastjson, spawn
from rootless.kernel.numbers import decimal
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
from rootless.network.names import Addresses, is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.network.ports import PortMapping

API_SOCKET = "slirp.sock"
_MIN_MTU, _MAX_MTU = 68, 65520
_DEFAULT_CIDR = "10.0.2.0/24"
_HOST_PART, _DNS_PART, _OWN_PART = 2, 3, 100  # slirp4netns(1): where things stand in the network
_INTERFACE = "tap0"
# Descriptors as slirp4netns sees them.
_READY_FD, _EXIT_FD, _DIRECTORY_FD = 3, 4, 5
_API_TIMEOUT_S = 10.0
_MAX_ANSWER_BYTES = 65536
_WANTED = ("--enable-sandbox", "--enable-seccomp", "--disable-host-loopback", "--exit-fd", "--api-socket", "--mtu")
_BOOLEANS = ("allow_host_loopback", "enable_ipv6")
HINT_INSTALL = "sudo apt-get install slirp4netns (dnf: the same), or --network host or none"


def program() -> str:
    """The path of slirp4netns. NetworkError when it is not installed."""
    path = spawn.which("slirp4netns")
    if path is None:
        raise NetworkError("slirp4netns is not installed: containers get no network", HINT_INSTALL)
    return path


class Slirp4netns(Driver):
    """The default driver. Options: ``_take_option``."""

    name = "slirp4netns"

    def parse_options(self, text: str) -> dict[str, str]:
        """``NAME=VALUE,…`` as Podman has them. Raises UsageError or UnsupportedError."""
        options: dict[str, str] = {}
        for item in text.split(",") if text else ():
            name, _, value = item.partition("=")
            _check_option(name, value)
            options[name] = value
        return options

    def start(self, wanted: Connection) -> Started:
        """Start slirp4netns; see Driver.start."""
        if wanted.ports:
            from rootless.network import ports

            for port in wanted.ports:
                _refuse_impossible(port, wanted.options)
            ports.check_free(wanted.ports)
        path = program()
        arguments = _arguments(known_options(path), wanted.mtu, wanted.options, publish=bool(wanted.ports))
        try:
            os.unlink(f"{wanted.run_dir}/{API_SOCKET}")
        except FileNotFoundError:
            pass
        directory = os.open(wanted.run_dir, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        ready, ready_inside = os.pipe()
        exit_inside, exit_ = os.pipe() if wanted.lifeline < 0 else (wanted.lifeline, -1)
        words = words_file()
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        fds = {0: null, 1: null, 2: words, _READY_FD: ready_inside, _EXIT_FD: exit_inside, _DIRECTORY_FD: directory}
        try:
            child = _start([path, *arguments], fds, wanted)
        except OSError as error:
            for fd in (ready, exit_, words, directory):
                if fd >= 0:
                    os.close(fd)
            raise NetworkError(f"slirp4netns cannot be started: {os_reason(error)}", HINT_INSTALL) from error
        finally:
            for fd in (ready_inside, exit_inside, null):
                os.close(fd)
        return _SlirpStarted(child, exit_, ready, words, directory, wanted.ports)

    def resolver(self, options: Mapping[str, str] | None = None) -> list[str]:
        """slirp4netns forwards to the host's own server, also to one on the host's loopback."""
        return [_address(options or {}, _DNS_PART)]

    def addresses(self, options: Mapping[str, str] | None = None) -> Addresses:
        """The host is 10.0.2.2 with its loopback allowed, else its own address on the way out."""
        options = options or {}
        allowed = options.get("allow_host_loopback") == "true"
        gateway = _address(options, _HOST_PART) if allowed else host_address()
        return Addresses(own=_address(options, _OWN_PART), gateway=gateway)


def _refuse_impossible(port: PortMapping, options: Mapping[str, str]) -> None:
    """Say what slirp4netns cannot forward before anything is started.

    The answer to a datagram from the host's loopback goes to 10.0.2.2, which a closed loopback
    swallows (libslirp's sotranslate_out); a UDP port on every address answers all other hosts
    and the host's other addresses, one on 127.0.0.1 alone could answer nobody.
    """
    if port.family == _socket.AF_INET6:
        raise NetworkError(f"slirp4netns cannot publish on the IPv6 address {port.host_ip}", "--network pasta can")
    loopback = port.host_ip.startswith("127.")
    if port.protocol == "udp" and loopback and options.get("allow_host_loopback") != "true":
        raise NetworkError(
            f"slirp4netns cannot answer on {port}: with the host's loopback closed, UDP goes one way there",
            "--network pasta can, or --network slirp4netns:allow_host_loopback=true, knowing what it opens",
        )


def _check_option(name: str, value: str) -> None:
    where = f"--network slirp4netns:{name}={value}"
    if name in _BOOLEANS:
        if value not in ("true", "false"):
            raise UsageError(f"{where}: it is true or false")
    elif name == "mtu":
        if (decimal(value, _MAX_MTU) or 0) < _MIN_MTU:
            raise UsageError(f"{where}: it is a number of bytes from {_MIN_MTU} to {_MAX_MTU}")
    elif name == "cidr":
        _network(value)
    elif name in ("outbound_addr", "outbound_addr6"):
        if not is_address(value) and not (0 < len(value) < 16 and value.isascii() and value.isalnum()):
            raise UsageError(f"{where}: it is an address or interface of the host")
    elif name == "port_handler":
        if value == "rootlesskit":
            raise UnsupportedError(f"{where}: not there", "slirp4netns forwards the ports itself: leave it out")
        if value != "slirp4netns":
            raise UsageError(f"{where}: unknown port handler")
    else:
        raise UsageError(
            f"--network slirp4netns has no option {name!r}",
            f"{', '.join(_BOOLEANS)}, mtu, cidr, outbound_addr, outbound_addr6, port_handler",
        )


def _network(cidr: str) -> int:
    """The IPv4 network of ``cidr``, a prefix of 1 to 25 bits (slirp4netns(1)), as a number."""
    base, _, prefix = cidr.partition("/")
    if not is_address(base) or ":" in base or not decimal(prefix, 25):
        raise UsageError(
            f"--network slirp4netns:cidr={cidr}: it is an IPv4 network such as {_DEFAULT_CIDR}, at most /25"
        )
    number = int.from_bytes(_socket.inet_pton(_socket.AF_INET, base), "big")
    if number & ((1 << (32 - int(prefix))) - 1):
        raise UsageError(f"--network slirp4netns:cidr={cidr}: {base} has bits behind the prefix", "clear them")
    return number


def _address(options: Mapping[str, str], part: int) -> str:
    number = _network(options.get("cidr", _DEFAULT_CIDR)) + part
    return _socket.inet_ntop(_socket.AF_INET, number.to_bytes(4, "big"))


def _arguments(known: frozenset[str], mtu: int, options: Mapping[str, str], *, publish: bool) -> list[str]:
    """The options of one start, its sandbox, filter and closed loopback among them by default."""
    if missing := [name for name in _WANTED if name not in known]:
        raise NetworkError(f"this slirp4netns is too old: it has no {missing[0]}", "install version 1.0 or newer")
    arguments = ["--configure", f"--mtu={options.get('mtu') or min(mtu or _MAX_MTU, _MAX_MTU)}"]
    arguments += ["--enable-sandbox", "--enable-seccomp"]
    arguments += [f"--ready-fd={_READY_FD}", f"--exit-fd={_EXIT_FD}"]
    if options.get("allow_host_loopback") != "true":
        arguments.append("--disable-host-loopback")
    if options.get("enable_ipv6") == "true":
        arguments.append("--enable-ipv6")
    for name in ("cidr", "outbound_addr", "outbound_addr6"):
        if value := options.get(name):
            flag = "--" + name.replace("_", "-")
            if flag not in known:
                raise NetworkError(f"this slirp4netns has no {flag}", "install a newer one, or leave the option out")
            arguments.append(f"{flag}={value}")
    if publish:
        # Through the descriptor: a Unix socket's path has at most 107 bytes.
        arguments.append(f"--api-socket=/proc/self/fd/{_DIRECTORY_FD}/{API_SOCKET}")
    return arguments


def _start(command: list[str], fds: dict[int, int], wanted: Connection) -> int:
    # With keep-id slirp4netns is another of the user's ids, and its socket must be open to the user himself.
    # Nobody else reaches it: its directory is private.
    before = os.umask(0)
    try:
        return _start_in_place(command, fds, wanted)
    finally:
        os.umask(before)


def _start_in_place(command: list[str], fds: dict[int, int], wanted: Connection) -> int:
    if wanted.user_namespace < 0:
        return spawn.start([*command, str(wanted.pid), _INTERFACE], fds=fds)
    from rootless.kernel import nested

    # With --userns-path, version 1.2 forgets to join it for its sandbox.
    argv = [*command, "--netns-type=path", f"/proc/{wanted.pid}/ns/net", _INTERFACE]
    return nested.start(wanted.user_namespace, argv, fds)


class _SlirpStarted(Started):
    """slirp4netns on its way. ``held`` is the exit pipe's write end."""

    __slots__ = ("_directory", "_ports", "_ready", "_words")

    def __init__(
        self, pid: int, exit_fd: int, ready: int, words: int, directory: int, ports: list[PortMapping]
    ) -> None:
        super().__init__([pid], [exit_fd] if exit_fd >= 0 else [])
        self._ready = ready
        self._words = words
        self._directory = directory
        self._ports = ports

    def finish(self) -> None:
        """See Started.finish."""
        try:
            if wait_readable(self._ready, self.helpers[0], "slirp4netns") != b"1":
                raise NetworkError(f"slirp4netns failed: {words_of(self._words)}", "rpod doctor slirp4netns")
            for port in self._ports:
                _publish(self._directory, port)
        except BaseException:
            self.stop()
            raise
        self._close()

    def stop(self) -> None:
        """See Started.stop."""
        self._close()
        super().stop()

    def _close(self) -> None:
        for fd in (self._ready, self._words, self._directory):
            if fd >= 0:
                os.close(fd)
        self._ready = self._words = self._directory = -1


def _publish(directory: int, port: PortMapping) -> None:
    from rootless.network.ports import ANY_ADDRESS

    arguments: dict[str, object] = {
        "proto": port.protocol,
        "host_addr": port.host_ip or ANY_ADDRESS,
        "host_port": port.host_port,
        "guest_port": port.container_port,
    }
    answer = call(directory, {"execute": "add_hostfwd", "arguments": arguments})
    if "return" not in answer:
        error = answer.get("error")
        reason = error.get("desc", "") if isinstance(error, dict) else ""
        raise NetworkError(
            f"slirp4netns cannot publish {port}: {reason or 'it gave no reason'}",
            f"the port may be taken: ss -lnp sport = :{port.host_port}",
        )


def call(directory: int, request: dict[str, object]) -> dict[str, object]:
    """One request to the API socket in ``directory`` (a descriptor), and its answer. Raises NetworkError.

    slirp4netns(1), "API SOCKET": one request a connection, ended by shutting down the write side.
    """
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.settimeout(_API_TIMEOUT_S)
        sock.connect(f"/proc/self/fd/{directory}/{API_SOCKET}")
        sock.send(fastjson.dumps(request).encode())
        sock.shutdown(_socket.SHUT_WR)
        data = b""
        while (chunk := sock.recv(4096)) and len(data) < _MAX_ANSWER_BYTES:
            data += chunk
        answer = fastjson.loads(data)
    except (OSError, fastjson.JSONError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else str(error)
        raise NetworkError(f"slirp4netns does not answer: {reason}", "try again; rpod doctor tests it") from error
    finally:
        sock.close()
    return answer if isinstance(answer, dict) else {}

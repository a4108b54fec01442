"""Published ports: what ``-p`` and ``-P`` mean, and whether a host port is free."""

from __future__ import annotations

import _socket
import errno
import os

from rootless.errors import NetworkError, UnsupportedError, UsageError, os_reason
from rootless.kernel.numbers import decimal
from rootless.network.names import is_address

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FORMS = "[[IP:]HOST:]CONTAINER[/tcp or /udp], each a port or a range"
ANY_ADDRESS = "0.0.0.0"  # noqa: S104  # what -p without an address means
_SOL_SOCKET, _SO_REUSEADDR = _socket.SOL_SOCKET, _socket.SO_REUSEADDR
_KINDS = {"tcp": _socket.SOCK_STREAM, "udp": _socket.SOCK_DGRAM}


class PortMapping:
    """One published port. ``host_ip`` "" is every address of the host; ports are 1 to 65535."""

    __slots__ = ("container_port", "host_ip", "host_port", "protocol")

    def __init__(self, host_ip: str, host_port: int, container_port: int, protocol: str) -> None:
        self.host_ip = host_ip
        self.host_port = host_port
        self.container_port = container_port
        self.protocol = protocol

    def __str__(self) -> str:
        address = f"[{self.host_ip}]" if ":" in self.host_ip else self.host_ip or ANY_ADDRESS
        return f"{address}:{self.host_port}->{self.container_port}/{self.protocol}"

    @property
    def family(self) -> int:
        """AF_INET or AF_INET6 of the host's side."""
        return _socket.AF_INET6 if ":" in self.host_ip else _socket.AF_INET

    def to_json(self) -> dict[str, object]:
        """The record's form."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, value: object) -> PortMapping:
        """From the record's form. Raises NetworkError when it is damaged."""
        if isinstance(value, dict):
            ip, host = value.get("host_ip"), value.get("host_port")
            inside, protocol = value.get("container_port"), value.get("protocol")
            if isinstance(ip, str) and isinstance(host, int) and isinstance(inside, int) and isinstance(protocol, str):
                return cls(ip, host, inside, protocol)
        raise NetworkError(f"the record of a published port is damaged: {value!r}", "create the container anew")


def parse_all(publish: list[str], *, expose: list[str], publish_all: bool) -> list[PortMapping]:
    """All published ports of ``-p``, and with ``publish_all`` a random host port for each exposed one.

    ``expose`` are ports of --expose and of the image, ``PORT[-PORT][/PROTOCOL]``. A host port
    that is left out or 0 is chosen here. Raises UsageError, also for a port published twice.
    """
    mappings: list[PortMapping] = []
    for text in publish:
        mappings += parse(text, mappings)
    exposed = [port for text in expose for port in parse_exposed(text)]
    if publish_all:
        published = {(m.container_port, m.protocol) for m in mappings}
        for port, protocol in dict.fromkeys(exposed):
            if (port, protocol) not in published:
                mappings.append(PortMapping("", _random_port("", protocol, mappings), port, protocol))
    return mappings


def parse(text: str, before: list[PortMapping] | None = None) -> list[PortMapping]:
    """One ``-p`` value; ``before`` are the mappings that are there already."""
    spec, protocol = _split_protocol(text, f"-p {text}")
    host_ip, host, container = _split_address(text, spec)
    first, last = _range(container, text, lowest=1)
    count = last - first + 1
    known = list(before or [])
    if host in ("", "0"):
        starts = [0] * count
    else:
        host_first, host_last = _range(host, text, lowest=1)
        if host_last - host_first + 1 != count:
            raise UsageError(f"-p {text}: the two ranges are not equally long", _FORMS)
        starts = list(range(host_first, host_last + 1))
    new: list[PortMapping] = []
    for offset, host_port in enumerate(starts):
        port = host_port or _random_port(host_ip, protocol, known)
        mapping = PortMapping(host_ip, port, first + offset, protocol)
        _refuse_overlap(mapping, known)
        known.append(mapping)
        new.append(mapping)
    return new


def parse_exposed(text: str) -> list[tuple[int, str]]:
    """The (port, protocol) pairs of ``PORT[-PORT][/PROTOCOL]``."""
    spec, protocol = _split_protocol(text, f"--expose {text}")
    first, last = _range(spec, text, lowest=1)
    return [(port, protocol) for port in range(first, last + 1)]


def _split_protocol(text: str, option: str) -> tuple[str, str]:
    spec, _, protocol = text.partition("/")
    protocol = protocol.lower() or "tcp"
    if protocol == "sctp":
        raise UnsupportedError(f"{option}: SCTP cannot be forwarded without root", "tcp and udp can")
    if protocol not in _KINDS:
        raise UsageError(f"{option}: unknown protocol {protocol!r}", "tcp or udp")
    return spec, protocol


def _split_address(text: str, spec: str) -> tuple[str, str, str]:
    """(host address, host ports, container ports) of ``spec``; "" where one is left out."""
    head, _, container = spec.rpartition(":")
    if head.startswith("["):
        host_ip, closed, rest = head[1:].partition("]")
        host = rest[1:]
        if not closed or (rest and not rest.startswith(":")) or ":" not in host_ip:
            raise UsageError(f"-p {text}: the brackets do not hold an IPv6 address", _FORMS)
    else:
        host_ip, _, host = head.rpartition(":")
        if ":" in host_ip:
            raise UsageError(f"-p {text}: too many colons", "an IPv6 address stands in brackets: [::1]:8080:80")
    if host_ip and not is_address(host_ip):
        raise UsageError(f"-p {text}: {host_ip!r} is not an IP address", _FORMS)
    return host_ip, host, container


def _range(text: str, whole: str, *, lowest: int) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    low, high = decimal(first, 65535), decimal(last if dash else first, 65535)
    if low is None or high is None or min(low, high) < lowest:
        raise UsageError(f"-p {whole}: {text!r} is not a port from {lowest} to 65535", _FORMS)
    if high < low:
        raise UsageError(f"-p {whole}: the range {text} runs backwards", _FORMS)
    return low, high


def _everywhere(ip: str) -> bool:
    return ip in ("", ANY_ADDRESS, "::")


def _overlap(one: PortMapping, other: PortMapping) -> bool:
    if (one.host_port, one.protocol) != (other.host_port, other.protocol):
        return False
    return one.host_ip == other.host_ip or (
        one.family == other.family and (_everywhere(one.host_ip) or _everywhere(other.host_ip))
    )


def _refuse_overlap(mapping: PortMapping, known: list[PortMapping]) -> None:
    for other in known:
        if _overlap(mapping, other):
            raise UsageError(f"host port {mapping.host_port}/{mapping.protocol} is published twice: {other}, {mapping}")


def _bind(mapping: PortMapping) -> int:
    """Bind the host's side as the forwarder will, let it go, and return the port. Raises OSError."""
    ip = mapping.host_ip or ANY_ADDRESS
    sock = _socket.socket(mapping.family, _KINDS[mapping.protocol] | _socket.SOCK_CLOEXEC)
    try:
        if mapping.protocol == "tcp":
            # Connections in TIME_WAIT are no obstacle; with UDP the option would hide a holder.
            sock.setsockopt(_SOL_SOCKET, _SO_REUSEADDR, 1)
        sock.bind((ip, mapping.host_port))
        if mapping.protocol == "tcp":
            sock.listen(1)
        return int(sock.getsockname()[1])
    finally:
        sock.close()


def _random_port(host_ip: str, protocol: str, known: list[PortMapping]) -> int:
    for _ in range(100):
        try:
            candidate = PortMapping(host_ip, 0, 0, protocol)
            candidate.host_port = _bind(candidate)
        except OSError as error:
            raise NetworkError(f"no port can be bound on {host_ip or 'this host'}: {os_reason(error)}") from error
        if not any(_overlap(candidate, other) for other in known):
            return candidate.host_port
    raise NetworkError(f"no free {protocol} port was found on {host_ip or 'this host'}", "give the host port")


def check_free(mappings: list[PortMapping], describe: Callable[[int], str] | None = None) -> None:
    """Raise NetworkError for the first mapping whose host side cannot be bound now.

    ``describe`` gives a pid a better name than the program's ("container web"), "" if it has none.
    """
    for mapping in mappings:
        try:
            _bind(mapping)
        except OSError as error:
            raise _refused(mapping, error, describe) from error


def _refused(mapping: PortMapping, error: OSError, describe: Callable[[int], str] | None) -> NetworkError:
    where = f"{mapping.host_ip or ANY_ADDRESS}, {mapping.protocol} port {mapping.host_port}"
    if error.errno == errno.EADDRINUSE:
        found = holder(mapping)
        name = (describe(found[0]) if describe and found else "") or (f"{found[1]} (pid {found[0]})" if found else "")
        return NetworkError(
            f"host port {mapping.host_port}/{mapping.protocol} is taken" + (f" by {name}" if name else ""),
            f"choose another one, or find who has it: ss -lnp sport = :{mapping.host_port}",
        )
    if error.errno == errno.EACCES:
        return NetworkError(
            f"host port {mapping.host_port} needs root: ordinary users have the ports from {first_unprivileged()} on",
            f"publish another port, or: sudo sysctl net.ipv4.ip_unprivileged_port_start={mapping.host_port}",
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return NetworkError(f"this host does not have the address {mapping.host_ip}", "ip addr shows those it has")
    return NetworkError(f"{where} cannot be bound: {os_reason(error)}")


def first_unprivileged() -> int:
    """The first port that needs no privilege (net.ipv4.ip_unprivileged_port_start)."""
    try:
        with open("/proc/sys/net/ipv4/ip_unprivileged_port_start", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return 1024


def holder(mapping: PortMapping) -> tuple[int, str] | None:
    """(pid, program) that has the host port; None when no process of this user has it."""
    inodes = _socket_inodes(mapping.protocol, mapping.host_port)
    for name in os.listdir("/proc") if inodes else ():
        if not name.isdecimal():
            continue
        try:
            fds = os.listdir(f"/proc/{name}/fd")
        except OSError:
            continue  # another user's, or gone
        for fd in fds:
            try:
                if os.readlink(f"/proc/{name}/fd/{fd}") in inodes:
                    with open(f"/proc/{name}/comm", encoding="utf-8", errors="replace") as file:
                        return int(name), file.read().strip()
            except OSError:
                continue
    return None


def _socket_inodes(protocol: str, port: int) -> set[str]:
    """``socket:[INODE]`` of the sockets bound to ``port`` (proc(5), /proc/net/tcp)."""
    found: set[str] = set()
    for table in (protocol, f"{protocol}6"):
        try:
            with open(f"/proc/net/{table}", encoding="ascii") as file:
                rows = file.read().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            # st 0A is TCP_LISTEN; an unconnected UDP socket is 07.
            if int(fields[1].rpartition(":")[2], 16) == port and fields[3] in ("0A", "07"):
                found.add(f"socket:[{fields[9]}]")
    return found

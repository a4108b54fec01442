"""The text of /etc/hosts and /etc/resolv.conf in a container, and what is a name or an address in them."""

from __future__ import annotations

import _socket
import os

from rootless.errors import NetworkError, UsageError
from rootless.kernel import files

HOST_NAMES = ("host.containers.internal", "host.docker.internal")
_RESOLV_CONF = "/etc/resolv.conf"
# systemd-resolved lists the real servers here when /etc/resolv.conf names its stub, 127.0.0.53.
_RESOLVED = "/run/systemd/resolve/resolv.conf"
_MAX_SERVERS = 3  # MAXNS of resolv.conf(5)
_LOCALHOST = "127.0.0.1\tlocalhost localhost.localdomain\n::1\tlocalhost localhost.localdomain\n"


class Addresses:
    """What a network driver knows in advance: the container's address and how the host is reached.

    The defaults are those of a container in the host's network.
    """

    __slots__ = ("gateway", "own")

    def __init__(self, own: str = "127.0.0.1", gateway: str = "127.0.0.1") -> None:
        self.own = own
        self.gateway = gateway  # "": the host cannot be reached


def is_address(text: str) -> bool:
    """Whether ``text`` is an IPv4 or IPv6 address in numbers."""
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
        return True
    return False


def _check_name(name: str, option: str) -> str:
    """A host name that can stand in a line: RFC 1123's characters, and "_", which people use."""
    if len(name) > 253 or not name or not all(c.isascii() and (c.isalnum() or c in "-._") for c in name):
        raise UsageError(f"{option}: {name!r} is not a host name")
    return name


def check_hostname(name: str) -> str:
    """``name`` if sethostname(2) and /etc/hosts take it (64 bytes), else UsageError."""
    if len(name) > 64:
        raise UsageError(f"--hostname {name}: at most 64 characters")
    return _check_name(name, "--hostname")


def hosts(own: list[str], addresses: Addresses, added: list[str]) -> str:
    """/etc/hosts: localhost, ``added`` (--add-host NAME[;NAME]:IP), the host's names, the container's ``own``.

    IP may be "host-gateway", and may stand in brackets. Raises UsageError, or NetworkError
    when the host cannot be reached and is asked for.
    """
    lines = [_LOCALHOST]
    for text in added:
        typed, _, address = text.partition(":")
        names = [_check_name(name, f"--add-host {text}") for name in typed.split(";")]
        lines.append(f"{_host_address(text, address, addresses)}\t{' '.join(names)}\n")
    if addresses.gateway:
        lines.append(f"{addresses.gateway}\t{' '.join(HOST_NAMES)}\n")
    if own and addresses.own:
        names = [_check_name(name, "--hostname") for name in dict.fromkeys(own)]
        lines.append(f"{addresses.own}\t{' '.join(names)}\n")
    return "".join(lines)


def _host_address(text: str, address: str, addresses: Addresses) -> str:
    if address == "host-gateway":
        if not addresses.gateway:
            raise NetworkError(
                f"--add-host {text}: this network does not reach the host",
                "--network slirp4netns:allow_host_loopback=true does",
            )
        return addresses.gateway
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    if not is_address(address):
        raise UsageError(f"--add-host {text}: {address!r} is not an IP address", "NAME:IP or NAME:host-gateway")
    return address


class Resolver:
    """What a resolv.conf says (resolv.conf(5))."""

    __slots__ = ("options", "search", "servers")

    def __init__(self) -> None:
        self.servers: list[str] = []
        self.search: list[str] = []
        self.options: list[str] = []


def parse_resolv_conf(text: str) -> Resolver:
    """The servers, search domains and options of a resolv.conf; unknown lines are skipped, as libc does."""
    resolver = Resolver()
    for line in text.splitlines():
        words = line.split()
        if not words or words[0][0] in "#;":
            continue
        if words[0] == "nameserver" and len(words) > 1:
            resolver.servers.append(words[1])
        elif words[0] in ("search", "domain"):  # the last of them counts
            resolver.search = words[1:]
        elif words[0] == "options":
            resolver.options += words[1:]
    return resolver


def _is_loopback(server: str) -> bool:
    return server.startswith("127.") or server == "::1"


def host_resolver(*, loopback: bool = False) -> Resolver:
    """The host's resolver, without servers on its loopback unless ``loopback``: no other network reaches them."""
    resolver = _read_resolver(_RESOLV_CONF)
    if loopback:
        return resolver
    if resolver.servers and all(server == "127.0.0.53" for server in resolver.servers):
        real = _read_resolver(_RESOLVED)
        resolver.servers = real.servers
    # fe80::1%eth0 names an interface that the container does not have.
    resolver.servers = [s for s in resolver.servers if not _is_loopback(s) and "%" not in s]
    return resolver


def _read_resolver(path: str) -> Resolver:
    try:
        return parse_resolv_conf(files.read_file(path, 1 << 20).decode("utf-8", "replace"))
    except OSError:
        return Resolver()


def resolver_files() -> list[str]:
    """The files that ``host_resolver`` reads, and what the first is a link to: each says when it has changed."""
    found = [_RESOLV_CONF]
    try:
        target = os.path.normpath(os.path.join(os.path.dirname(_RESOLV_CONF), os.readlink(_RESOLV_CONF)))
    except OSError:
        return found  # no link, or there is none
    found.append(target)
    if os.path.dirname(target) == os.path.dirname(_RESOLVED) and target != _RESOLVED:
        found.append(_RESOLVED)
    return found


def resolv_conf(
    servers: list[str], dns: list[str], search: list[str], options: list[str], *, loopback: bool = False
) -> str:
    """/etc/resolv.conf: --dns alone if given, else the driver's ``servers`` and the host's.

    ``search`` and ``options`` replace the host's; the search domain "." means none.
    ``loopback`` is for a container in the host's network, which reaches the host's loopback.
    """
    for server in dns:
        if not is_address(server):
            raise UsageError(f"--dns {server}: it is not an IP address")
    host = host_resolver(loopback=loopback)
    chosen = dns or list(dict.fromkeys([*servers, *host.servers]))[:_MAX_SERVERS]
    domains = [_check_name(name.rstrip("."), f"--dns-search {name}") for name in search if name != "."]
    if not search:
        domains = host.search
    for option in options:
        if not option or not option.isascii() or not option.isprintable() or " " in option:
            raise UsageError(f"--dns-option {option!r}: it is one word of resolv.conf(5)")
    lines = [f"nameserver {server}\n" for server in chosen]
    if domains:
        lines.insert(0, f"search {' '.join(domains)}\n")
    if words := options or host.options:
        lines.append(f"options {' '.join(words)}\n")
    return "".join(lines)

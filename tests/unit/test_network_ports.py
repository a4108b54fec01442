"""What -p, -P and --expose mean, and who holds a port."""

from __future__ import annotations

import os
import socket

import pytest

from rootless.errors import NetworkError, UnsupportedError, UsageError
from rootless.network import ports
from rootless.network.ports import PortMapping


def parsed(text: str) -> list[str]:
    return [str(mapping) for mapping in ports.parse(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("8080:80", ["0.0.0.0:8080->80/tcp"]),
        ("8080:80/udp", ["0.0.0.0:8080->80/udp"]),
        ("8080:80/TCP", ["0.0.0.0:8080->80/tcp"]),
        ("127.0.0.1:8080:80", ["127.0.0.1:8080->80/tcp"]),
        ("[::1]:8080:80", ["[::1]:8080->80/tcp"]),
        ("8000-8002:80-82", [f"0.0.0.0:{8000 + n}->{80 + n}/tcp" for n in range(3)]),
    ],
)
def test_forms(text, expected):
    assert parsed(text) == expected


@pytest.mark.parametrize("text", ["80", "0:80", ":80", "127.0.0.1::80", "127.0.0.1:0:80", "[::1]::80"])
def test_a_host_port_that_rpod_chooses(text):
    (mapping,) = ports.parse(text)
    assert mapping.container_port == 80
    assert mapping.host_port >= 1024
    assert mapping.host_ip == ("::1" if "[" in text else "127.0.0.1" if "127" in text else "")
    ports.check_free([mapping])


def test_a_range_of_chosen_ports():
    found = ports.parse("81-90")
    assert len({mapping.host_port for mapping in found}) == 10
    assert [mapping.container_port for mapping in found] == list(range(81, 91))


@pytest.mark.parametrize(
    "text",
    ["", "x", "0", "65536", "00008099999", "80:0000809999",
     "99999999999:80", "80:", "8080:0", "8080:80/icmp", "1-2:80", "9-8:9-8", "::1:80:80",
     "[::1]80:80", "[::1:80:80", "[127.0.0.1]:80:80", "300.1.1.1:80:80", "localhost:80:80", "-1:80", "²:80", " 80"],
)  # fmt: skip
def test_nonsense(text):
    with pytest.raises(UsageError, match="-p "):
        ports.parse(text)


def test_sctp():
    with pytest.raises(UnsupportedError, match="SCTP"):
        ports.parse("80:80/sctp")


@pytest.mark.parametrize(
    "pair", [("80:1", "80:2"), ("127.0.0.1:80:1", "80:2"), ("80-90:80-90", "85:1"), ("[::]:80:1", "[::1]:80:1")]
)
def test_overlap(pair):
    with pytest.raises(UsageError, match="published twice"):
        ports.parse_all(list(pair), expose=[], publish_all=False)


@pytest.mark.parametrize("pair", [("80:1", "80:1/udp"), ("127.0.0.1:80:1", "127.0.0.2:80:1"), ("80:1", "[::1]:80:1")])
def test_no_overlap(pair):
    assert len(ports.parse_all(list(pair), expose=[], publish_all=False)) == 2


def test_publish_all():
    found = ports.parse_all(["8080:80"], expose=["80", "81/udp", "82-83/tcp", "82"], publish_all=True)
    assert [(m.container_port, m.protocol) for m in found] == [(80, "tcp"), (81, "udp"), (82, "tcp"), (83, "tcp")]
    assert len({m.host_port for m in found}) == 4
    assert len(ports.parse_all([], expose=["80"], publish_all=False)) == 0
    with pytest.raises(UsageError):
        ports.parse_all([], expose=["x"], publish_all=False)


def test_records():
    mapping = PortMapping("::1", 8080, 80, "udp")
    assert PortMapping.from_json(mapping.to_json()).to_json() == mapping.to_json()
    with pytest.raises(NetworkError, match="damaged"):
        PortMapping.from_json({"host_ip": ""})


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_taken_port_names_its_holder(protocol):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            sock.listen()
        port = sock.getsockname()[1]
        mapping = PortMapping("", port, 80, protocol)
        with pytest.raises(NetworkError, match=rf"{port}/{protocol} is taken by .*pid {os.getpid()}"):
            ports.check_free([mapping])
        with pytest.raises(NetworkError, match="is taken by container web"):
            ports.check_free([mapping], lambda pid: "container web" if pid == os.getpid() else "")
    ports.check_free([mapping])


def test_a_privileged_port_names_the_sysctl():
    if ports.first_unprivileged() <= 80:
        pytest.skip("port 80 is open to users here")
    with pytest.raises(NetworkError, match="needs root") as caught:
        ports.check_free([PortMapping("", 80, 80, "tcp")])
    assert "ip_unprivileged_port_start=80" in caught.value.hint


def test_an_address_that_is_not_the_hosts():
    with pytest.raises(NetworkError, match="does not have the address"):
        ports.check_free([PortMapping("198.51.100.7", 8080, 80, "tcp")])

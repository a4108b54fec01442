"""A container reaches the host's loopback only when asked, and nothing is widened."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.netbox import LoopbackServer, NetBox, ask, echo, try_connect
from support.small_disk import Disk

from rootless.errors import NetworkError, UsageError
from rootless.network import driver, names
from rootless.network.names import Addresses

if TYPE_CHECKING:
    from pathlib import Path

NETWORKS = [name for name in ("slirp4netns", "pasta") if shutil.which(name)]
if not driver.host_address():
    NETWORKS = [name for name in NETWORKS if name != "pasta"]


def default_gateway() -> str:
    with open("/proc/net/route", encoding="ascii") as file:
        for fields in map(str.split, file):
            if fields[1] == "00000000" and fields[2] != "00000000":
                return socket.inet_ntoa(int(fields[2], 16).to_bytes(4, "little"))
    return ""


@pytest.mark.parametrize("network", NETWORKS)
def test_the_hosts_loopback_is_closed(network: str, tmp_path: Path) -> None:
    addresses = ["127.0.0.1", "10.0.2.2"] if network == "slirp4netns" else ["127.0.0.1", default_gateway()]
    with LoopbackServer() as port:
        for address in filter(None, addresses):
            with NetBox(network, try_connect(address, port), tmp_path) as box:
                assert box.answer() in ("ConnectionRefusedError", "TimeoutError", "OSError")
        assert ask(socket.SOCK_STREAM, "127.0.0.1", port) == b"open"


@pytest.mark.parametrize("network", NETWORKS)
def test_a_loopback_binding_is_never_widened(network: str, tmp_path: Path) -> None:
    host = driver.host_address()
    with NetBox(network, echo(socket.SOCK_STREAM, 8080), tmp_path, publish=["127.0.0.1::8080"]) as box:
        port = box.ports[0].host_port
        with open("/proc/net/tcp", encoding="ascii") as file:
            listening = [f[1] for f in map(str.split, file) if f[3] == "0A" and f[1].endswith(f":{port:04X}")]
        assert listening == [f"0100007F:{port:04X}"]
        with open("/proc/net/tcp6", encoding="ascii") as file:
            assert not [f for f in map(str.split, file) if f[3] == "0A" and f[1].endswith(f":{port:04X}")]
        if host:
            with pytest.raises(ConnectionRefusedError):
                ask(socket.SOCK_STREAM, host, port)


# A host with an address of its own, another one's (203.0.113.9, which only lies on lo), and a way out.
HOST = """
set -e
ip link set lo up && ip tuntap add d0 mode tap && ip link set d0 up
ip addr add 203.0.113.1/24 dev d0 && ip addr add 203.0.113.9/32 dev lo && ip route add default via 203.0.113.254 dev d0
$RPOD run -d --network $1 -p 8080:80 --name web localhost/box:1 httpd -f -vv -p 80 > $DISK/words 2>&1
"$2" "$3"
until [ $($RPOD logs web 2>&1 | grep -c response) -ge 3 ]; do sleep 0.1; done
$RPOD logs web 2>&1 | sed -n 's/.*ffff:\\(.*\\)\\]:.*url.*/\\1/p'
$RPOD rm -f -t 0 web > $DISK/words 2>&1
"""
CLIENT = """
import socket
for source, target in (("203.0.113.9", "203.0.113.1"), ("203.0.113.1", "203.0.113.1"), ("127.0.0.1", "127.0.0.1")):
    with socket.create_connection((target, 8080), 10, (source, 0)) as sock:
        sock.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        assert sock.recv(4) == b"HTTP"
"""
SEEN = {
    "slirp4netns": ["203.0.113.9", "203.0.113.1", "10.0.2.2"],
    "pasta": ["203.0.113.9", "203.0.113.254", "127.0.0.1"],
}


@pytest.mark.parametrize("network", SEEN)
def test_the_source_of_a_forwarded_connection_is_real(network: str, tmp_path: Path) -> None:
    """That of another host always; the host itself is what its driver makes of it (docs/security.md)."""
    for name in (network, "ip", "unshare"):
        if shutil.which(name) is None:
            pytest.skip(f"{name} is not installed")
    busybox.write_layout(tmp_path / "image", tag="box:1")
    (tmp_path / "host").write_text(HOST)
    (tmp_path / "client").write_text(CLIENT)
    disk = Disk(tmp_path / "home", "64m", "")
    disk.ok(f"$RPOD load -q -i {tmp_path}/image")
    said = disk.ok(f"unshare --net sh {tmp_path}/host {network} {sys.executable} {tmp_path}/client")
    disk.close()
    assert said.split() == SEEN[network]


@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_is_published_unasked(network: str, tmp_path: Path) -> None:
    with NetBox(network, echo(socket.SOCK_STREAM, 8765), tmp_path), pytest.raises(ConnectionRefusedError):
        ask(socket.SOCK_STREAM, "127.0.0.1", 8765)


@pytest.mark.parametrize("network", NETWORKS)
def test_the_helper_leaks_no_descriptor_and_hears_no_caller(network: str, tmp_path: Path) -> None:
    secret = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(secret, False)
    with NetBox(network, echo(socket.SOCK_STREAM, 8080), tmp_path) as box:
        assert box.started is not None
        (helper,) = box.started.helpers
        try:
            links = [os.readlink(f"/proc/{helper}/fd/{fd}") for fd in os.listdir(f"/proc/{helper}/fd")]
        except PermissionError:
            links = []  # it has shut itself off, perhaps just now
        assert all(not link.startswith("/dev/pts") for link in links)
        if network == "pasta":
            assert str(tmp_path) not in links
    os.close(secret)


def test_slirp_is_sandboxed(tmp_path: Path) -> None:
    if "slirp4netns" not in NETWORKS:
        pytest.skip("slirp4netns is not installed")
    with NetBox("slirp4netns", echo(socket.SOCK_STREAM, 8080), tmp_path) as box:
        assert box.started is not None
        (helper,) = box.started.helpers
        with open(f"/proc/{helper}/status", encoding="ascii") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        assert status["Seccomp"] == "2"
        assert status["NoNewPrivs"] == "1"
        with open(f"/proc/{helper}/cmdline", encoding="utf-8") as file:
            assert "--disable-host-loopback" in file.read().split("\0")


@pytest.mark.parametrize("name", ["x\n127.0.0.1 bank.example", "x bank.example", "x\t#", "-".join("x" * 200), ""])
def test_no_line_is_smuggled_into_hosts(name: str) -> None:
    with pytest.raises(UsageError):
        names.hosts([], Addresses(), [f"{name}:10.0.0.1"])
    if name:
        with pytest.raises(UsageError):
            names.hosts([name], Addresses(), [])


@pytest.mark.parametrize("text", ["outbound_addr=$(id)", "cidr=10.0.2.0/24 --help", "mtu=1500;id", "outbound_addr=-h"])
def test_options_are_no_arguments(text: str) -> None:
    with pytest.raises(UsageError):
        driver.parse([f"slirp4netns:{text}"])


def test_a_run_directory_that_is_a_link_is_no_way_out(tmp_path: Path) -> None:
    """The API socket's old file is removed, not what a link of its name points at."""
    if "slirp4netns" not in NETWORKS:
        pytest.skip("slirp4netns is not installed")
    canary = tmp_path / "canary"
    canary.write_text("alive")
    run = tmp_path / "run"
    run.mkdir()
    (run / "slirp.sock").symlink_to(canary)
    with NetBox("slirp4netns", echo(socket.SOCK_STREAM, 80), run, publish=["127.0.0.1::80"]) as box:
        assert ask(socket.SOCK_STREAM, "127.0.0.1", box.ports[0].host_port) == b"got hello"
    assert canary.read_text() == "alive"


def test_a_network_that_cannot_start_ends_its_helper(tmp_path: Path) -> None:
    if "pasta" not in NETWORKS:
        pytest.skip("pasta cannot run here")
    with pytest.raises(NetworkError), NetBox("pasta:--address,nonsense", lambda _: "", tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []

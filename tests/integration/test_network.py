"""Networks: what reaches a container from outside, and what it reaches."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING

import pytest
from support.registry import free_port
from support.shell import wait_for

if TYPE_CHECKING:
    from support.shell import Rpod

SERVER = ("httpd", "-f", "-p", "80", "-h", "/var/www")
HOST = "10.0.2.2"  # where slirp4netns shows the host


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        text: str = answer.read().decode()
        return text


def served(url: str) -> bool:
    try:
        return "hello from a container" in fetch(url)
    except OSError:
        return False


# A DNS server that knows one name (RFC 1035): rpod.test is 192.0.2.77.
RESOLVER = """
import socket, struct
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    query, peer = server.recvfrom(512)
    question = query[12 : query.index(0, 12) + 5]
    known = question.startswith(bytes([4]) + b"rpod" + bytes([4]) + b"test" + bytes([0, 0, 1]))
    answer = struct.pack(">HHHIH4B", 0xC00C, 1, 1, 60, 4, 192, 0, 2, 77) if known else b""
    server.sendto(query[:2] + struct.pack(">HHHHH", 0x8180, 1, known, 0, 0) + question + answer, peer)
"""


def test_a_web_server_behind_a_published_port(rpod: Rpod, image: str) -> None:
    port = free_port()
    rpod.ok("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:80", image, *SERVER)
    wait_for(lambda: served(f"http://127.0.0.1:{port}/"), what="the web server")
    assert rpod.ok("port", "web") == f"80/tcp -> 127.0.0.1:{port}"
    rpod.ok("rm", "-f", "-t", "0", "web")
    with pytest.raises(OSError, match="refused"):
        fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("network", ["slirp4netns", "pasta"])
@pytest.mark.parametrize("mode", ["keep-id", "keep-id:uid=33,gid=33", "auto", "nomap"])
def test_a_port_where_the_containers_root_is_not_the_user(rpod: Rpod, image: str, mode: str, network: str) -> None:
    if network == "pasta" and shutil.which("pasta") is None:
        pytest.skip("pasta is not installed")
    port = free_port()
    words = ("--userns", mode, "--network", network, "-p", f"127.0.0.1:{port}:8000")
    rpod.ok("run", "-d", *words, image, "httpd", "-f", "-p", "8000", "-h", "/var/www")
    wait_for(lambda: served(f"http://127.0.0.1:{port}/"), what="the web server")


def test_a_port_is_free_again_at_once_and_after_a_restart(rpod: Rpod, image: str) -> None:
    port = free_port()
    rpod.ok("run", "-d", "--name", "web", "-p", f"127.0.0.1:{port}:80", image, *SERVER)
    for _ in range(2):
        wait_for(lambda: served(f"http://127.0.0.1:{port}/"))
        rpod.ok("restart", "-t", "0", "web")
    wait_for(lambda: served(f"http://127.0.0.1:{port}/"))


def helper_of(rpod: Rpod, name: str, program: str) -> int:
    """The process that connects a container's network, a child of its monitor; 0 if there is none now."""
    monitor = rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", name)
    found = subprocess.run(["pgrep", "-P", monitor, "-f", f"/{program} "], capture_output=True, text=True, check=False)
    return int(found.stdout or 0)


@pytest.mark.parametrize(
    ("network", "userns"),
    [("slirp4netns", "host"), ("slirp4netns", "keep-id"), ("slirp4netns", "nomap"), ("pasta", "host")],
)
def test_a_helper_that_was_killed_is_replaced(rpod: Rpod, image: str, network: str, userns: str) -> None:
    if shutil.which(network) is None:
        pytest.skip(f"{network} is not installed")
    port = free_port()
    words = ("--network", network, "--userns", userns, "--user", "0")
    rpod.ok("run", "-d", "--name", "web", *words, "-p", f"127.0.0.1:{port}:80", image, *SERVER)
    wait_for(lambda: served(f"http://127.0.0.1:{port}/"), what="the web server")
    first = helper_of(rpod, "web", network)
    assert first
    os.kill(first, 9)
    wait_for(lambda: helper_of(rpod, "web", network) not in (0, first), what="another helper")
    wait_for(lambda: served(f"http://127.0.0.1:{port}/"), what="the web server again")
    second = helper_of(rpod, "web", network)
    monitor = int(rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", "web"))
    os.kill(monitor, 9)
    wait_for(lambda: rpod.ok("ps", "-q") == "", what="the container's end")
    wait_for(lambda: not os.path.exists(f"/proc/{second}"), what="the end of the new helper, too")
    rpod.ok("rm", "web")
    assert rpod.leftovers() == []


def test_random_ports_ranges_and_exposed_ones(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "any", "-p", "127.0.0.1::80", image, *SERVER)
    address = rpod.ok("port", "any", "80")
    wait_for(lambda: served(f"http://{address}/"))
    rpod.ok("run", "-d", "--name", "all", "-P", "--expose", "80", "--expose", "81/tcp", image, *SERVER)
    assert {line.split()[0] for line in rpod.ok("port", "all").splitlines()} == {"80/tcp", "81/tcp"}
    asked = rpod.ok("inspect", "--format", "{{.HostConfig.PublishAllPorts}}", "all", "any").split()
    assert asked == ["true", "false"]


def test_a_port_that_is_taken(rpod: Rpod, image: str) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        message = rpod.fails("run", "--rm", "-p", f"127.0.0.1:{port}:80", image, "true")
    assert str(port) in message
    assert rpod.leftovers() == []


def test_the_hosts_loopback_is_closed(rpod: Rpod, image: str) -> None:
    with socket.socket() as secret:
        secret.bind(("127.0.0.1", 0))
        secret.listen()
        port = str(secret.getsockname()[1])
        closed = rpod("run", "--rm", "--init", image, "timeout", "3", "nc", HOST, port)
        assert closed.code != 0
        secret.settimeout(0.1)
        with pytest.raises(TimeoutError):
            secret.accept()
        words = ("--init", "--network", "slirp4netns:allow_host_loopback=true")
        rpod("run", "--rm", *words, image, "timeout", "1", "nc", HOST, port)
        secret.accept()[0].close()


def test_names_through_the_generated_resolv_conf(rpod: Rpod, image: str) -> None:
    """The resolver of the test runs in the container's network, where port 53 is its user's."""
    words = ("--network", "none", "--dns", "127.0.0.1", "--dns-search", "test", "--dns-option", "ndots:1")
    rpod.ok("run", "-d", "--name", "asks", *words, image, "sleep", "60")
    text = rpod.ok("exec", "asks", "cat", "/etc/resolv.conf")
    assert text.splitlines() == ["search test", "nameserver 127.0.0.1", "options ndots:1"]
    pid = rpod.ok("inspect", "-f", "{{.State.Pid}}", "asks")
    enter = ("nsenter", "-t", pid, "-U", "-n", "--preserve-credentials")
    with subprocess.Popen([*enter, sys.executable, "-c", RESOLVER], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        done = rpod("exec", "asks", "nslookup", "-type=a", "rpod.test")
        server.kill()
    assert "192.0.2.77" in done.out, done


def test_hosts_file(rpod: Rpod, image: str) -> None:
    added = ("--add-host", "db;cache:192.0.2.1", "--add-host", "me:[2001:db8::1]")
    words = ("--hostname", "box", "--name", "called", *added)
    lines = [line.split() for line in rpod.ok("run", "--rm", *words, image, "cat", "/etc/hosts").splitlines()]
    assert ["192.0.2.1", "db", "cache"] in lines
    assert ["2001:db8::1", "me"] in lines
    assert ["10.0.2.100", "box", "called"] in lines
    assert any(line[:2] == ["127.0.0.1", "localhost"] for line in lines)
    assert "nonsense" in rpod.fails("run", "--rm", "--add-host", "db:nonsense", image, "true")
    assert "nonsense" in rpod.fails("run", "--rm", "--dns", "nonsense", image, "true")


def test_no_network(rpod: Rpod, image: str) -> None:
    out = rpod.ok("run", "--rm", "--network", "none", image, "sh", "-c", "ls /sys/class/net; ip -o addr show lo")
    assert out.splitlines()[0] == "lo"
    assert "127.0.0.1/8" in out
    assert "-p makes no sense" in rpod.fails("run", "--rm", "--network", "none", "-p", "80", image, "true")


def test_the_hosts_network(rpod: Rpod, image: str) -> None:
    port = free_port()
    rpod.ok("run", "-d", "--network", "host", image, "httpd", "-f", "-p", f"127.0.0.1:{port}", "-h", "/var/www")
    wait_for(lambda: served(f"http://127.0.0.1:{port}/"))


def test_the_network_of_another_container(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "web", "--hostname", "webhost", image, *SERVER)
    fetch_inside = ("wget", "-qO-", "http://127.0.0.1/")
    wait_for(lambda: rpod("exec", "web", *fetch_inside).code == 0)
    out = rpod.ok("run", "--rm", "--network", "container:web", image, *fetch_inside)
    assert "hello from a container" in out
    assert "webhost" in rpod.ok("run", "--rm", "--network", "container:web", image, "cat", "/etc/hosts")
    words = ("--rm", "--network", "container:web", "--hostname", "own")
    assert rpod.ok("run", *words, image, "sh", "-c", "cat /etc/hostname; hostname").split() == ["own", "own"]
    for option in ("--add-host=a:192.0.2.1", "--dns=192.0.2.1", "--dns-search=x", "--hosts-file=none"):
        assert option.partition("=")[0] in rpod.fails("run", *words, option, image, "true")
    rpod.ok("create", "--name", "needy", "--network", "container:web", image, "true")
    rpod.ok("stop", "-t", "0", "web")
    assert "web" in rpod.fails("start", "needy")


def test_udp(rpod: Rpod, image: str) -> None:
    """Answers over UDP need pasta or an open loopback with slirp4netns; elsewhere the option says so."""
    port = free_port()
    message = rpod.fails("run", "--rm", "-p", f"127.0.0.1:{port}:53/udp", image, "true")
    assert "UDP" in message
    assert "pasta" in message


@pytest.mark.skipif(shutil.which("pasta") is None, reason="pasta is not installed")
def test_pasta(rpod: Rpod, image: str) -> None:
    port = free_port()
    rpod.ok("run", "-d", "--name", "fast", "--network", "pasta", "-p", f"127.0.0.1:{port}:80", image, *SERVER)
    wait_for(lambda: served(f"http://127.0.0.1:{port}/"))


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--network", "bridge"), "bridge"),
        (("--network", "container:nobody"), "nobody"),
        (("--network", "slirp4netns:colour=red"), "colour"),
        (("-p", "80:70000"), "70000"),
        (("-p", "x:80"), "x:80"),
        (("-p", "80/sctp"), "sctp"),
        (("-p", "300.1.1.1:80:80"), "300.1.1.1"),
    ],
)
def test_networks_that_make_no_sense(rpod: Rpod, image: str, words: tuple[str, ...], named: str) -> None:
    assert named in rpod.fails("run", "--rm", *words, image, "true")

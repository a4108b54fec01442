"""The drivers with real namespaces and real traffic over the host's own addresses."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import time
from pathlib import Path

import pytest
from support.netbox import LoopbackServer, NetBox, ask, echo, try_connect

from rootless.errors import NetworkError, UnsupportedError, UsageError
from rootless.kernel import spawn, syscalls, userns
from rootless.kernel.userns import Extent, IdMap
from rootless.network import driver, slirp4netns
from rootless.network.driver import Connection

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
slirp = pytest.mark.skipif(shutil.which("slirp4netns") is None, reason="slirp4netns is not installed")
pasta = pytest.mark.skipif(
    shutil.which("pasta") is None or not driver.host_address(), reason="pasta is not installed, or there is no route"
)


@pytest.fixture
def run_dir(tmp_path):
    """A directory whose path is longer than a Unix socket's may be."""
    path = tmp_path / ("x" * 130)
    path.mkdir(mode=0o700)
    return path


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


# ---- --network ----


def test_parse():
    assert driver.parse([]).text == "slirp4netns"
    assert driver.parse(["private"], "pasta").text == "pasta"
    assert driver.parse(["none"]).text == "none"
    assert driver.parse(["container:web"]).text == "container:web"
    assert driver.parse(["ns:/run/netns/x"]).target == "/run/netns/x"
    choice = driver.parse(["slirp4netns:mtu=1500,allow_host_loopback=true,cidr=10.9.0.0/24"])
    assert choice.text == "slirp4netns"
    assert choice.options == {"mtu": "1500", "allow_host_loopback": "true", "cidr": "10.9.0.0/24"}
    assert driver.parse(["pasta:--map-gw,-4"]).options == {"arguments": "--map-gw,-4"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("bridge", UnsupportedError),
        ("mynet", UnsupportedError),
        ("host:x", UsageError),
        ("none:x", UsageError),
        ("container:", UsageError),
        ("ns:relative", UsageError),
        ("slirp4netns:nonsense=1", UsageError),
        ("slirp4netns:mtu=1", UsageError),
        ("slirp4netns:mtu=99999", UsageError),
        ("slirp4netns:mtu=00150000", UsageError),
        ("slirp4netns:cidr=10.0.0.0/02499", UsageError),
        ("slirp4netns:allow_host_loopback=yes", UsageError),
        ("slirp4netns:cidr=10.0.0.1/24", UsageError),
        ("slirp4netns:cidr=10.0.0.0/30", UsageError),
        ("slirp4netns:outbound_addr=--help", UsageError),
        ("slirp4netns:port_handler=rootlesskit", UnsupportedError),
        ("pasta:--netns,/x", UnsupportedError),
        ("pasta:-P,/x", UnsupportedError),
        ("pasta:-P/x", UnsupportedError),
        ("pasta:--log-file=/x", UnsupportedError),
    ],
)
def test_refused(text, error):
    with pytest.raises(error, match="network"):
        driver.parse([text])
    with pytest.raises(UnsupportedError, match="one network"):
        driver.parse(["none", "none"])


def test_addresses_follow_the_network():
    net = driver.get("slirp4netns")
    assert net.resolver() == ["10.0.2.3"]
    options = {"cidr": "10.9.8.0/25", "allow_host_loopback": "true"}
    assert net.resolver(options) == ["10.9.8.3"]
    addresses = net.addresses(options)
    assert (addresses.own, addresses.gateway) == ("10.9.8.100", "10.9.8.2")
    assert net.addresses({}).gateway == driver.host_address()
    assert driver.get("none").addresses({}).gateway == ""


# ---- none ----


def test_none_has_loopback_and_nothing_else(run_dir):
    def work(listening) -> str:
        server = socket.create_server(("127.0.0.1", 80))
        with socket.create_connection(("127.0.0.1", 80)), server:
            return " ".join(name for _, name in socket.if_nameindex() if name == "lo")

    with NetBox("none", work, run_dir) as box:
        assert box.answer() == "lo"
    with pytest.raises(NetworkError, match="cannot publish"), NetBox("none", work, run_dir, publish=["80"]):
        pass


# ---- slirp4netns ----


@slirp
@pytest.mark.parametrize("address", ["127.0.0.1", ""])
def test_slirp_publishes_tcp(run_dir, address):
    before = descriptors()
    with NetBox("slirp4netns", echo(TCP, 80), run_dir, publish=[f"{address}::80" if address else "80"]) as box:
        assert ask(TCP, "127.0.0.1", box.ports[0].host_port) == b"got hello"
        assert stat.S_ISSOCK((run_dir / slirp4netns.API_SOCKET).stat().st_mode)
    assert descriptors() == before


@slirp
def test_slirp_keeps_the_source_address_and_answers_udp(run_dir):
    """From an address of the host that is not loopback; that one is closed (see the refusal below)."""
    host = driver.host_address()
    if not host:
        pytest.skip("the host has only loopback")
    for kind, spec in ((UDP, "53/udp"), (TCP, "80")):
        with NetBox("slirp4netns", echo(kind, int(spec.partition("/")[0])), run_dir, publish=[spec]) as box:
            assert ask(kind, host, box.ports[0].host_port) == b"got hello"
            assert box.answer() == host


@slirp
def test_slirp_answers_udp_on_an_open_loopback(run_dir):
    network = "slirp4netns:allow_host_loopback=true"
    with NetBox(network, echo(UDP, 53), run_dir, publish=["127.0.0.1::53/udp"]) as box:
        assert ask(UDP, "127.0.0.1", box.ports[0].host_port) == b"got hello"


@slirp
@pytest.mark.parametrize(("publish", "words"), [("[::1]::80", "IPv6"), ("127.0.0.1::53/udp", "UDP goes one way")])
def test_slirp_says_what_it_cannot_forward(run_dir, publish, words):
    with (
        pytest.raises(NetworkError, match=words) as caught,
        NetBox("slirp4netns", lambda _: "", run_dir, publish=[publish]),
    ):
        pass
    assert "pasta" in caught.value.hint


@slirp
def test_slirp_loopback_opened_on_demand(run_dir):
    network = "slirp4netns:allow_host_loopback=true,cidr=10.77.0.0/24"
    with LoopbackServer() as port, NetBox(network, try_connect("10.77.0.2", port), run_dir) as box:
        assert box.answer() == "open"


@slirp
def test_slirp_ends_with_its_exit_pipe(run_dir):
    with NetBox("slirp4netns", lambda _: "", run_dir) as box:
        assert box.started is not None
        os.close(box.started.held.pop())
        assert os.waitpid(box.started.helpers.pop(), 0)[1] in (0, 256)


@slirp
def test_slirp_failure_has_its_own_words_and_leaves_nothing(run_dir):
    before = descriptors()
    pid = os.fork()
    if pid == 0:
        signal.pause()
    try:
        started = driver.get("slirp4netns").start(Connection(pid, str(run_dir), [], 1500, {}))
        helper = started.helpers[0]
        with pytest.raises(NetworkError, match=r"slirp4netns failed: .*setns"):
            started.finish()  # the host's own namespaces cannot be joined
        assert not os.path.exists(f"/proc/{helper}")
        started.stop()  # twice is harmless
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert descriptors() == before


@slirp
def test_slirp_a_port_taken_meanwhile(run_dir):
    """The port is free at the check and taken when slirp4netns binds it."""
    net = driver.get("slirp4netns")
    pid = userns.fork_inside(signal.pause, flags=syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
    with socket.socket() as thief:
        mapping = driver_port()
        try:
            started = net.start(Connection(pid, str(run_dir), [mapping], 1500, {}))
            thief.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            thief.bind(("0.0.0.0", mapping.host_port))
            thief.listen()
            helper = started.helpers[0]
            with pytest.raises(NetworkError, match="cannot publish"):
                started.finish()
            assert not os.path.exists(f"/proc/{helper}")
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def driver_port():
    from rootless.network import ports

    return ports.parse("80")[0]


@slirp
def test_slirp_missing(run_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(spawn, "which", lambda name: None)
    with pytest.raises(NetworkError, match="not installed") as caught:
        driver.get("slirp4netns").start(Connection(os.getpid(), str(run_dir), [], 1500, {}))
    assert "apt-get install slirp4netns" in caught.value.hint


@slirp
def test_option_probe_is_cached_and_mended(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = spawn.which("slirp4netns")
    assert path is not None
    known = driver.known_options(path)
    assert {"--api-socket", "--disable-host-loopback"} <= known
    (cache,) = (tmp_path / "rpod").iterdir()
    written = cache.read_bytes()
    for damaged in (b"", b"\xff\xfe", b"another version\n--nothing"):
        cache.write_bytes(damaged)
        assert driver.known_options(path) == known
        assert cache.read_bytes() == written


def test_an_old_slirp4netns(tmp_path, run_dir, monkeypatch):
    fake = tmp_path / "slirp4netns"
    fake.write_text("#!/bin/sh\necho '--configure --mtu=MTU --exit-fd=FD'\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(NetworkError, match="too old: it has no --enable-sandbox"):
        driver.get("slirp4netns").start(Connection(os.getpid(), str(run_dir), [], 1500, {}))


@slirp
def test_a_helper_that_talks_much_is_not_killed(run_dir):
    fd = driver.words_file()
    child = spawn.start(["/bin/sh", "-c", "yes 2>/dev/null | head -c 100000 >&2; echo last >&2; exit 7"], fds={2: fd})
    assert spawn.wait(child) == 7
    assert driver.words_of(fd) == "y"
    os.close(fd)


DNS_ANSWER = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.bind(("127.0.0.1", 53))
print("ready", flush=True)
while True:
    query, peer = sock.recvfrom(512)
    end = query.index(b"\\0", 12) + 5
    is_a = query[end - 4:end - 2] == b"\\0\\1"
    head = query[:2] + b"\\x81\\x80\\0\\1\\0" + bytes([is_a]) + bytes(4)
    record = b"\\xc0\\x0c\\0\\1\\0\\1\\0\\0\\0\\x3c\\0\\4" + socket.inet_aton("203.0.113.7")
    sock.sendto(head + query[12:end] + record * is_a, peer)
"""


def single() -> IdMap:
    return IdMap([Extent(0, os.geteuid(), 1)], [Extent(0, os.getegid(), 1)])


@slirp
def test_a_name_is_looked_up_through_the_hosts_resolver(tmp_path, run_dir):
    """The "host" is a namespace with a resolver on 127.0.0.1; the container reaches it by 10.0.2.3."""
    (tmp_path / "host.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "box.conf").write_text("nameserver 10.0.2.3\n")

    def look_up(listening) -> str:
        syscalls.mount(str(tmp_path / "box.conf"), "/etc/resolv.conf", None, syscalls.MS_BIND)
        return socket.gethostbyname("box.example")

    def host() -> None:
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.mount(str(tmp_path / "host.conf"), "/etc/resolv.conf", None, syscalls.MS_BIND)
        driver.bring_up("lo")
        server = subprocess.Popen(["/usr/bin/python3", "-c", DNS_ANSWER], stdout=subprocess.PIPE)
        assert server.stdout is not None
        server.stdout.readline()
        try:
            with NetBox("slirp4netns", look_up, run_dir, maps=single()) as box:
                (tmp_path / "answer").write_text(box.answer())
        finally:
            server.kill()
            server.wait()

    assert spawn.wait(userns.fork_inside(host, flags=syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)) == 0
    assert (tmp_path / "answer").read_text() == "203.0.113.7"


# ---- pasta ----


@pasta
@pytest.mark.parametrize(
    ("kind", "spec"), [(TCP, "127.0.0.1::8080"), (TCP, "[::1]::8080"), (UDP, "127.0.0.1:{0}:{0}/udp")]
)
def test_pasta_publishes(run_dir, kind, spec):
    free = driver_port().host_port
    spec = spec.format(free)
    address = "::1" if "::1]" in spec else "127.0.0.1"
    inside = free if kind == UDP else 8080

    def work(listening) -> str:
        family = socket.AF_INET6 if address == "::1" else socket.AF_INET
        with socket.socket(family, kind) as sock:
            sock.bind(("", inside))
            if kind == TCP:
                sock.listen()
                listening()
                peer = sock.accept()[0]
                peer.sendall(b"got " + peer.recv(100))
                peer.close()
            else:
                listening()
                data, source = sock.recvfrom(100)
                sock.sendto(b"got " + data, source)
        return "done"

    before = descriptors()
    with NetBox("pasta", work, run_dir, publish=[spec]) as box:
        assert ask(kind, address, box.ports[0].host_port) == b"got hello"
        assert os.listdir(run_dir) == []  # the FIFO has served
    assert descriptors() == before


@pasta
def test_pasta_failure_has_its_own_words(run_dir):
    with (
        pytest.raises(NetworkError, match=r"pasta failed: .*nonsense"),
        NetBox("pasta:--nonsense", lambda _: "", run_dir),
    ):
        pass


@pasta
def test_an_old_pasta_and_udp_under_another_number(run_dir):
    path = spawn.which("pasta")
    assert path is not None
    if "--map-host-loopback" in driver.known_options(path):
        pytest.skip("this pasta is new")
    with (
        pytest.raises(NetworkError, match="too old"),
        NetBox("pasta", lambda _: "", run_dir, publish=["127.0.0.1::53/udp"]),
    ):
        pass


@slirp
def test_start_does_not_wait(run_dir):
    pid = userns.fork_inside(lambda: time.sleep(30), flags=syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
    net = driver.get("slirp4netns")
    driver.known_options(str(Path(slirp4netns.program())))
    try:
        began = time.perf_counter()
        started = net.start(Connection(pid, str(run_dir), [], 65520, {}))
        returned = time.perf_counter()
        started.finish()
        started.stop()
        assert returned - began < 0.1
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

"""The text of hosts and resolv.conf."""

from __future__ import annotations

import pytest

from rootless.errors import NetworkError, UsageError
from rootless.network import names
from rootless.network.names import Addresses


def test_hosts():
    text = names.hosts(["box", "web", "box"], Addresses("10.0.2.100", "192.0.2.2"), ["db:10.1.1.1", "six:[fd00::1]"])
    lines = [line.split() for line in text.splitlines()]
    assert lines[0][:2] == ["127.0.0.1", "localhost"]
    assert lines[1][:2] == ["::1", "localhost"]
    assert ["10.1.1.1", "db"] in lines
    assert ["fd00::1", "six"] in lines
    assert ["192.0.2.2", "host.containers.internal", "host.docker.internal"] in lines
    assert lines[-1] == ["10.0.2.100", "box", "web"]


def test_host_gateway():
    assert "10.0.2.2\tme other\n" in names.hosts([], Addresses("", "10.0.2.2"), ["me;other:host-gateway"])
    with pytest.raises(NetworkError, match="does not reach"):
        names.hosts([], Addresses("127.0.0.1", ""), ["me:host-gateway"])


@pytest.mark.parametrize(
    "text", ["db", "db:", ":1.2.3.4", "db:x", "d b:1.2.3.4", "db\n127.0.0.1 x:1.2.3.4", "db:1.2.3.4\n", "a;;b:1.2.3.4"]
)
def test_bad_hosts(text):
    with pytest.raises(UsageError, match="--add-host"):
        names.hosts([], Addresses(), [text])


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 65, "é"])
def test_bad_hostnames(name):
    with pytest.raises(UsageError, match="--hostname"):
        names.check_hostname(name)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """The host's resolv.conf and systemd-resolved's, as the test writes them."""
    plain, resolved = tmp_path / "resolv.conf", tmp_path / "resolved.conf"
    monkeypatch.setattr(names, "_RESOLV_CONF", str(plain))
    monkeypatch.setattr(names, "_RESOLVED", str(resolved))
    return plain, resolved


def test_the_hosts_servers_are_copied(host):
    host[0].write_text("# x\ndomain a.example\nsearch b.example c.example\nnameserver 192.0.2.53\noptions ndots:2\n")
    assert names.resolv_conf(["10.0.2.3"], [], [], []) == (
        "search b.example c.example\nnameserver 10.0.2.3\nnameserver 192.0.2.53\noptions ndots:2\n"
    )


def test_loopback_servers_are_left_out(host):
    host[0].write_text("nameserver 127.0.0.1\nnameserver ::1\nnameserver fe80::1%eth0\nnameserver 192.0.2.53\n")
    assert names.resolv_conf([], [], [], []) == "nameserver 192.0.2.53\n"
    assert "127.0.0.1" in names.resolv_conf([], [], [], [], loopback=True)


def test_systemd_resolved(host):
    host[0].write_text("nameserver 127.0.0.53\nsearch lan\n")
    host[1].write_text("nameserver 192.0.2.1\n")
    assert names.resolv_conf([], [], [], []) == "search lan\nnameserver 192.0.2.1\n"
    assert "127.0.0.53" in names.resolv_conf([], [], [], [], loopback=True)


def test_options_replace(host):
    host[0].write_text("nameserver 192.0.2.1\nsearch lan\noptions edns0\n")
    assert names.resolv_conf(["10.0.2.3"], ["9.9.9.9", "fd00::53"], ["x.example."], ["ndots:1", "rotate"]) == (
        "search x.example\nnameserver 9.9.9.9\nnameserver fd00::53\noptions ndots:1 rotate\n"
    )
    assert names.resolv_conf([], [], ["."], []) == "nameserver 192.0.2.1\noptions edns0\n"


def test_no_file_and_three_servers(host):
    assert names.resolv_conf(["10.0.2.3"], [], [], []) == "nameserver 10.0.2.3\n"
    host[0].write_text("".join(f"nameserver 192.0.2.{n}\n" for n in range(9)))
    assert names.resolv_conf(["10.0.2.3"], [], [], []).count("nameserver") == 3


@pytest.mark.parametrize(
    "bad", [(["x"], [], []), ([], ["a b"], []), ([], ["a\nb"], []), ([], [], ["a b"]), ([], [], [""])]
)
def test_bad_dns(host, bad):
    with pytest.raises(UsageError, match="--dns"):
        names.resolv_conf([], *bad)

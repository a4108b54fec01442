"""What the program may do and see: capabilities, seccomp, namespaces, devices, kernel settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.shell import Rpod

CHOWN, NET_RAW, SYS_ADMIN = 1 << 0, 1 << 13, 1 << 21


def capabilities(rpod: Rpod, image: str, *options: str, field: str = "CapEff") -> int:
    line = rpod.ok("run", "--rm", *options, image, "grep", field, "/proc/self/status")
    return int(line.split()[1], 16)


def test_capabilities(rpod: Rpod, image: str) -> None:
    default = capabilities(rpod, image)
    assert default & CHOWN
    assert not default & (SYS_ADMIN | NET_RAW)
    assert capabilities(rpod, image, "--cap-add", "NET_RAW") == default | NET_RAW
    assert capabilities(rpod, image, "--cap-drop", "cap_chown") == default & ~CHOWN
    assert capabilities(rpod, image, "--cap-drop", "all") == 0
    assert capabilities(rpod, image, "--cap-drop", "all", "--cap-add", "chown") == CHOWN
    assert capabilities(rpod, image, "-u", "user") == 0
    assert capabilities(rpod, image, "-u", "user", field="CapBnd") == default
    assert capabilities(rpod, image, "--privileged") & SYS_ADMIN
    assert "FLY" in rpod.fails("run", "--rm", "--cap-add", "FLY", image, "true")


def test_security_options(rpod: Rpod, image: str) -> None:
    status = ("grep", "-E", "^(NoNewPrivs|Seccomp):", "/proc/self/status")
    assert rpod.ok("run", "--rm", image, *status).split()[3] == "2"
    words = ("--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined")
    assert rpod.ok("run", "--rm", *words, image, *status).split()[1] == "1"
    assert rpod.ok("run", "--rm", "--security-opt", "mask=/var/www", image, "ls", "/var/www") == ""
    assert "magic" in rpod.fails("run", "--rm", "--security-opt", "magic=1", image, "true")


def test_paths_of_the_kernel_are_closed(rpod: Rpod, image: str) -> None:
    assert rpod.ok("run", "--rm", image, "sh", "-c", "wc -c </proc/keys; ls /sys/firmware") == "0"
    assert rpod("run", "--rm", image, "sh", "-c", "echo 1 >/proc/sys/kernel/domainname").code != 0


@pytest.mark.parametrize(("option", "kind"), [("pid", "pid"), ("ipc", "ipc"), ("uts", "uts"), ("cgroupns", "cgroup")])
def test_namespaces_are_private_or_the_hosts(rpod: Rpod, image: str, option: str, kind: str) -> None:
    link = ("readlink", f"/proc/self/ns/{kind}")
    host = os.readlink(f"/proc/self/ns/{kind}")
    assert rpod.ok("run", "--rm", image, *link) != host
    assert rpod.ok("run", "--rm", f"--{option}", "host", image, *link) == host
    assert "strange" in rpod.fails("run", "--rm", f"--{option}", "strange", image, "true")


@pytest.mark.parametrize("option", ["pid", "ipc", "uts"])
def test_namespaces_of_another_container(rpod: Rpod, image: str, option: str) -> None:
    rpod.ok("run", "-d", "--name", "base", image, "sleep", "60")
    link = ("readlink", f"/proc/self/ns/{option}")
    words = ("--network", "none", f"--{option}", "container:base")
    assert rpod.ok("run", "--rm", *words, image, *link) == rpod.ok("exec", "base", *link)


def test_devices(rpod: Rpod, image: str) -> None:
    assert rpod.ok("run", "--rm", image, "sh", "-c", "ls /dev | grep -cE '^(null|zero|full|u?random|tty)$'") == "6"
    assert rpod.ok("run", "--rm", "--device", "/dev/fuse", image, "stat", "-c", "%t:%T", "/dev/fuse") == "a:e5"
    rpod.ok("run", "--rm", "--device", "/dev/fuse:/dev/mine", image, "test", "-c", "/dev/mine")
    assert "/dev/nothing" in rpod.fails("run", "--rm", "--device", "/dev/nothing", image, "true")
    assert "is not a device" in rpod.fails("run", "--rm", "--device", "/etc/passwd", image, "true")
    assert "rwm" in rpod.fails("run", "--rm", "--device", "/dev/fuse:r", image, "true")


def test_kernel_settings(rpod: Rpod, image: str) -> None:
    words = ("--sysctl", "net.ipv4.ip_default_ttl=42", "--sysctl", "kernel.msgmax=4096")
    script = "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax"
    assert rpod.ok("run", "--rm", *words, image, "sh", "-c", script).split() == ["42", "4096"]
    assert "vm.swappiness" in rpod.fails("run", "--rm", "--sysctl", "vm.swappiness=1", image, "true")
    shared = ("--network", "host", "--sysctl", "net.ipv4.ip_default_ttl=1")
    assert "network namespace" in rpod.fails("run", "--rm", *shared, image, "true")

"""What a laptop does to containers: other networks, a clock that jumps, sleep, and an rpod that is updated."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import machine
from support.shell import wait_for

if TYPE_CHECKING:
    from machine import Machine
    from support.registry import PlainRegistry

ROOT = Path(__file__).resolve().parents[2]
PAGE = "hello from a container"
SERVE = "rpod run -d --name web -p 8080:80 busybox httpd -f -p 80 -h /var/www"


def test_resolv_conf_follows_the_hosts_unless_the_container_has_its_own(vm: Machine) -> None:
    vm.ok(
        "rpod run -d --name host --network host busybox sleep 1000 && rpod run -d --name own busybox sleep 1000 && "
        "rpod run -d --name mine busybox sh -c 'echo nameserver 192.0.2.1 > /etc/resolv.conf; exec sleep 1000'"
    )
    elsewhere = "printf 'search elsewhere.test\\nnameserver 192.0.2.53\\n' > /etc/resolv.new"
    vm.ok(f"cp /etc/resolv.conf /root/ && {elsewhere} && mv /etc/resolv.new /etc/resolv.conf", user="root")
    try:
        wait_for(lambda: "192.0.2.53" in vm.ok("rpod exec host cat /etc/resolv.conf"), 120, "the new resolver")
        wait_for(lambda: "elsewhere.test" in vm.ok("rpod exec own cat /etc/resolv.conf"), 120, "its search domain")
        assert vm.ok("rpod exec mine cat /etc/resolv.conf") == "nameserver 192.0.2.1"
    finally:
        vm.ok("cat /root/resolv.conf > /etc/resolv.conf", user="root")
    wait_for(lambda: "192.0.2.53" not in vm.ok("rpod exec host cat /etc/resolv.conf"), 120, "the way back")


def test_the_network_goes_and_comes_back_with_another_address(vm: Machine, registry: PlainRegistry) -> None:
    fetch = f"rpod exec web wget -q -O - http://{machine.HOST}:{registry.port}/v2/"
    # The machine's own network is the one that slirp4netns takes by itself.
    vm.ok(SERVE.replace("-p ", "--network slirp4netns:cidr=10.9.0.0/24 -p ", 1))
    before = vm.ok(fetch)
    away = (
        "ip link set eth0 down; sleep 2; ip link set eth0 up; ip addr replace 10.0.2.15/24 dev eth0; "
        "ip addr replace 10.0.2.77/24 dev eth0; ip route replace default via 10.0.2.2 src 10.0.2.77"
    )
    vm.ok(f"systemd-run --quiet --unit away sh -c '{away}'", user="root")
    wait_for(lambda: vm.run(fetch, timeout_s=60).stdout.strip() == before, 120, "the way out")
    wait_for(lambda: PAGE in vm.web(), 60, "the way in")
    vm.ok("ip addr del 10.0.2.77/24 dev eth0; ip route replace default via 10.0.2.2", user="root")


def test_a_clock_that_jumps_stops_neither_health_checks_nor_restarts(vm: Machine) -> None:
    vm.ok(
        "rpod run -d --name well --health-cmd 'echo beat >> /beats' --health-interval 1s busybox sleep 1000 && "
        "rpod run -d --name again --restart always busybox sh -c 'echo up at $(date +%s); sleep 1; exit 1'"
    )
    look = "rpod exec well grep -c beat /beats; rpod inspect --format '{{.RestartCount}}' again"

    def counts() -> list[int]:
        return [int(word) for word in vm.ok(f"until rpod exec well test -e /beats; do sleep 1; done; {look}").split()]

    def both_grow(before: list[int]) -> bool:
        return all(now > then for now, then in zip(counts(), before, strict=True))

    try:
        for jump in ("+2 hours", "-5 hours"):
            began = vm.ok(f"date -s '{jump}' > /dev/null; date +%s", user="root")
            before = counts()
            wait_for(lambda before=before: both_grow(before), 90, f"checks and starts after {jump}")
            assert "well" in vm.ok("rpod ps --filter health=healthy --format '{{.Names}}'").split()
            logged = [int(line.split()[-1]) for line in vm.ok(f"rpod logs --since {began} again").splitlines()]
            assert logged
            assert all(second >= int(began) for second in logged), "nothing of before the jump"
    finally:
        vm.ok(f"date -s @{time.time():.0f}", user="root")


def test_a_machine_that_was_asleep_goes_on(vm: Machine) -> None:
    vm.ok(SERVE)
    wait_for(lambda: PAGE in vm.web(), 60, "the page")
    vm.sleep(5)
    wait_for(lambda: PAGE in vm.web(), 60, "the page after the machine has slept")
    assert vm.ok("rpod exec web echo awake") == "awake"


def test_stopped_processes_hold_nobody_up_and_go_on(vm: Machine) -> None:
    vm.ok(f"{SERVE}; rpod run -d --name talk busybox sh -c 'while :; do date; sleep 1; done'")
    pids = vm.ok("pgrep -d ' ' -u dora 'rpod-monitor|slirp4netns|httpd'")
    vm.ok(f"kill -STOP {pids}")
    assert vm.ok("rpod ps -q | wc -l; rpod run --rm busybox echo other").split() == ["2", "other"]
    vm.ok(f"kill -CONT {pids}")
    wait_for(lambda: PAGE in vm.web(), 60, "the page")
    lines = len(vm.ok("rpod logs talk").splitlines())
    wait_for(lambda: len(vm.ok("rpod logs talk").splitlines()) > lines, 60, "more lines")
    assert vm.ok("rpod exec web echo here && rpod stop -t 2 web talk") == "here\nweb\ntalk"


def _newer(folder: Path) -> Path:
    """A directory with the wheel of an rpod whose version is another one."""
    tree = folder / "tree"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".git", "__pycache__", "tests"))
    file = tree / "rootless/__init__.py"
    file.write_text(re.sub(r'__version__ = ".*"', '__version__ = "99.1"', file.read_text()))
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / "wheel")]
    subprocess.run(argv, cwd=tree, check=True)
    return folder / "wheel"


def test_containers_of_an_older_rpod_belong_to_the_newer_one(vm: Machine, tmp_path: Path) -> None:
    vm.ok(f"{SERVE}; rpod run -d --name talk --restart always busybox sh -c 'echo up; exec sleep 1000'")
    vm.copy_in(_newer(tmp_path), "newer")
    install = "pip install -q --no-compile --no-index --no-deps --force-reinstall"
    vm.ok(f"{install} ~/newer/*.whl")
    try:
        assert "99.1" in vm.ok("rpod --version")
        assert PAGE in vm.web()
        assert sorted(vm.ok("rpod ps --format '{{.Names}} {{.State}}'").splitlines()) == ["talk running", "web running"]
        assert vm.ok("rpod logs talk; rpod exec talk echo inside; rpod stop -t 0 talk web") == "up\ninside\ntalk\nweb"
        assert vm.ok("rpod start talk; rpod kill talk; rpod rm -f -t 0 web") == "talk\ntalk\nweb"
    finally:
        vm.ok(f"{install} ~/wheels/rpod-*.whl")

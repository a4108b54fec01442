"""rpod on a Debian with systemd: scopes, limits, ssh sessions, a reboot and a power cut.

Minutes long, so only with ``RPOD_TEST_VM=1``. The commands are typed into ssh sessions: each is a login
of its own, in a scope of its own that belongs to root.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import machine
import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from machine import Machine

APPS = machine.APPS
HOG = "dd if=/dev/zero of=/dev/null bs=200M count=1"


def test_doctor_is_content_and_names_the_controllers_that_debian_does_not_delegate(vm: Machine) -> None:
    report = vm.ok("rpod doctor")
    assert "systemd; not delegated: cpuset, io" in report
    assert f"user@{machine.UID}.service" in report
    for fine in ("overlay", "fuse-overlayfs", "slirp4netns", "D-Bus session", "runtime directory", "lingering"):
        assert f"\nok       {fine}:" in report


def test_hello(vm: Machine) -> None:
    report = vm.ok("rpod run --rm hello")
    assert "Hello from rpod!" in report
    assert "the kernel's driver" in report


def test_a_container_lives_in_a_delegated_scope_of_its_own(vm: Machine) -> None:
    ident = vm.ok("rpod run -d --name box busybox sleep 1000")
    group = vm.ok("cat /proc/$(rpod inspect --format '{{.State.Pid}}' box)/cgroup").removeprefix("0::")
    scope, leaf = os.path.split(group)
    assert scope.startswith(f"{APPS.removeprefix('/sys/fs/cgroup')}/rpod-{ident}-")
    assert leaf == "container"
    assert "rpod-monitor" in vm.ok(f"ps -o args= -p $(head -1 /sys/fs/cgroup{scope}/monitor/cgroup.procs)")
    assert vm.ok(f"cat /sys/fs/cgroup{group}/pids.max") == "2048"
    shown = vm.ok(f"systemctl --user show -p Delegate -p TimeoutStopUSec {os.path.basename(scope)}")
    assert shown.splitlines() == ["TimeoutStopUSec=10s", "Delegate=yes"]


def test_the_memory_limit_kills_and_is_told(vm: Machine) -> None:
    vm.fails(f"rpod run --name hog --memory 64m busybox {HOG}", 137)
    assert vm.ok("rpod inspect --format '{{.State.OOMKilled}} {{.State.ExitCode}}' hog") == "true 137"


def test_the_swap_limit_counts_the_swap_alone(vm: Machine) -> None:
    shown = vm.ok("rpod run --rm --memory 64m --memory-swap 100m busybox cat /sys/fs/cgroup/memory.swap.max")
    assert shown == str(36 << 20)


def test_the_pids_limit_stops_a_fork_loop(vm: Machine) -> None:
    loop = "(for i in $(seq 40); do sleep 100 & done) & exec sleep 100"  # the shell that may not fork ends
    vm.ok(f"rpod run -d --name forks --pids-limit 20 busybox sh -c '{loop}'")
    group = vm.ok("cut -d: -f3 /proc/$(rpod inspect --format '{{.State.Pid}}' forks)/cgroup")
    events = f"/sys/fs/cgroup{group}/pids.events"
    wait_for(lambda: vm.ok(f"cat {events}") != "max 0", 30, "a refused fork")
    assert vm.ok(f"cat /sys/fs/cgroup{group}/pids.peak") == "20"


def test_half_a_processor_is_half_a_processor(vm: Machine) -> None:
    spin = 'timeout 5 sh -c "while :; do :; done"; grep usage_usec /sys/fs/cgroup/cpu.stat'
    usage_us = int(vm.ok(f"rpod run --rm --cpus 0.5 busybox sh -c '{spin}'").split()[-1])
    assert 1_250_000 < usage_us < 3_750_000


def test_a_controller_that_is_not_delegated_is_named(vm: Machine) -> None:
    said = vm.fails("rpod run --rm --cpuset-cpus 0 busybox true", 125)
    assert "--cpuset-cpus needs the cgroup controller 'cpuset'" in said
    assert "Delegate=" in said
    assert vm.ok("rpod ps -aq") == ""


def test_new_limits_hold_at_once_and_systemd_does_not_set_them_back(vm: Machine) -> None:
    vm.ok("rpod run -d --name box busybox sleep 1000")
    vm.ok("rpod update --memory 64m --memory-swap 100m --cpus 0.5 --cpu-shares 512 --pids-limit 30 box")
    group = "/sys/fs/cgroup" + vm.ok("cut -d: -f3 /proc/$(rpod inspect --format '{{.State.Pid}}' box)/cgroup")
    vm.ok("systemctl --user daemon-reload")
    shown = vm.ok(f"cd {group} && cat memory.max memory.swap.max cpu.max cpu.weight pids.max").split()
    assert shown == [str(64 << 20), str(36 << 20), "50000", "100000", "20", "30"]
    said = vm.fails("rpod update --memory 32m --cpuset-cpus 0 box", 125)
    assert "--cpuset-cpus needs the cgroup controller 'cpuset'" in said
    assert vm.ok(f"cat {group}/memory.max") == str(64 << 20), "nothing of it was done"
    vm.fails(f"rpod exec box {HOG}", 137)
    vm.ok("rpod restart -t 0 box")
    assert vm.ok("rpod exec box cat /sys/fs/cgroup/memory.max") == str(64 << 20)
    assert "~" not in vm.ok("rpod stats --no-stream --format '{{.MemUsage}}' box")


def test_pause_in_a_scope(vm: Machine) -> None:
    vm.ok("rpod run -d --name box busybox sleep 1000")
    assert vm.ok("rpod pause box && rpod ps --format '{{.Status}}' && rpod unpause box") == "box\nPaused\nbox"
    vm.ok("rpod pause box && rpod rm -f -t 0 box")


@pytest.mark.parametrize("around", ["", "systemd-run --user --scope -q", "env -u XDG_RUNTIME_DIR"])
def test_exec_is_under_the_containers_limits_from_wherever_it_comes(vm: Machine, around: str) -> None:
    vm.ok("rpod run -d --name box --memory 64m busybox sleep 1000")
    assert vm.ok(f"{around} rpod exec box cat /proc/self/cgroup /sys/fs/cgroup/memory.max") == f"0::/\n{64 << 20}"
    vm.fails(f"{around} rpod exec box {HOG}", 137)


def test_without_a_runtime_directory_limits_work_as_well(vm: Machine) -> None:
    bare = "env -u XDG_RUNTIME_DIR -u DBUS_SESSION_BUS_ADDRESS"
    assert vm.ok(f"{bare} rpod run --rm --memory 32m busybox cat /sys/fs/cgroup/memory.max") == str(32 << 20)


def test_a_server_outlives_the_session_that_started_it(vm: Machine) -> None:
    vm.ok("rpod run -d --name web -p 8080:80 busybox sh -c 'echo ready; exec httpd -f -p 80 -h /var/www'")
    fetch = "python3 -c 'import urllib.request as u; "
    assert "hello from a container" in vm.ok(fetch + 'print(u.urlopen("http://127.0.0.1:8080/").read())\'')
    assert vm.ok("rpod logs web") == "ready"
    assert "0.0.0.0:8080->80/tcp" in vm.ok("rpod ps")
    vm.ok(
        "rpod stop -t 1 web && rpod start web && rpod restart -t 0 web && rpod restart -t 0 web && rpod rm -f -t 0 web"
    )
    assert vm.ok("rpod ps -aq") == ""


def test_the_parent_is_a_slice(vm: Machine) -> None:
    vm.ok("rpod run -d --name box --cgroup-parent rpodtest.slice busybox sleep 1000")
    assert "/rpodtest.slice/rpod-" in vm.ok("cat /proc/$(rpod inspect --format '{{.State.Pid}}' box)/cgroup")
    vm.ok("rpod exec box true && rpod rm -f -t 0 box")
    assert "the cgroup parent '/foo'" in vm.fails("rpod run --rm --cgroup-parent /foo busybox true", 125)


def test_a_killed_monitor_takes_the_container_along(vm: Machine) -> None:
    ident = vm.ok("rpod run -d --name box busybox sleep 1000")
    vm.ok(f"kill -9 $(pgrep -f '_bin/rpod-monitor.*[-]-exit-file.*{ident}')")
    assert vm.ok("rpod ps -a --format '{{.Names}} {{.State}}'") == "box exited"
    assert vm.run(f"ls -d {APPS}/rpod-{ident}*").stdout == ""
    vm.ok("rpod start box && rpod exec box true")


def test_the_doctors_script_gives_the_missing_controllers(vm: Machine) -> None:
    script = vm.ok("rpod doctor --script")
    delegate = next(line for line in script.splitlines() if "Delegate=" in line)
    hint = vm.fails("rpod run --rm --cpuset-cpus 0 busybox true", 125)
    assert f"systemctl restart user@{machine.UID}.service" in hint
    vm.ok(delegate, user="root")
    shown = vm.ok("rpod run --rm --cpuset-cpus 1 busybox cat /sys/fs/cgroup/cpuset.cpus.effective")
    assert shown == "1"


def _comes_back(vm: Machine) -> None:
    assert vm.ok("rpod ps -a --format '{{.Names}} {{.State}} {{.ExitCode}}'") == "box exited 255"
    assert vm.ok("rpod start box > /dev/null && sleep 2 && rpod exec box cat /data/log") == "up\nup"


def test_after_a_reboot_a_container_is_exited_and_starts_again(vm: Machine) -> None:
    vm.ok("rpod run -d --name box -v box:/data busybox sh -c 'echo up >> /data/log; exec sleep 1000'; sync")
    began = time.monotonic()
    vm.reboot()
    assert time.monotonic() - began < 240
    _comes_back(vm)
    vm.ok("rpod rm -f -t 0 -v box")


def test_after_a_power_cut_what_was_reported_is_there(vm: Machine) -> None:
    vm.ok("rpod run -d --name box -v box2:/data busybox sh -c 'echo up >> /data/log; sync; exec sleep 1000'; sleep 3")
    vm.lose_power()
    _comes_back(vm)

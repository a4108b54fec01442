"""Containers as services: what systemd and journald see of the monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.shell import wait_for

if TYPE_CHECKING:
    from machine import Machine

NOTIFY = "systemd-run --user --quiet --service-type=notify -p NotifyAccess=all -p Delegate=yes -p TimeoutStartSec=60"


def test_the_scope_waits_as_long_as_stop_does(vm: Machine) -> None:
    ident = vm.ok("rpod run -d --stop-timeout 33 busybox sleep 1000")
    scope = vm.ok(f"systemctl --user list-units --plain --no-legend 'rpod-{ident}-*.scope'").split()[0]
    assert vm.ok(f"systemctl --user show -p TimeoutStopUSec {scope}") == "TimeoutStopUSec=33s"
    vm.ok(f"rpod rm -f -t 0 {ident}")


def test_the_journal_is_the_users(vm: Machine) -> None:
    vm.ok("rpod run --name talk --log-driver journald busybox sh -c 'echo out; echo err >&2; printf half'")
    wait_for(lambda: "half" in vm.ok("rpod logs talk"), timeout_s=30)
    assert sorted(vm.ok("rpod logs talk 2>&1").split()) == ["err", "half", "out"]
    assert vm.ok("rpod logs talk 2>/dev/null").split() == ["out", "half"]
    assert vm.ok("journalctl -q -o cat -p err CONTAINER_NAME=talk") == "err"
    vm.ok("rpod rm talk")


def test_the_monitor_is_the_main_process_of_a_service(vm: Machine) -> None:
    vm.ok(f"{NOTIFY} --unit web rpod run --rm -d --name web --cgroups split --sdnotify conmon busybox sleep 1000")
    pid = vm.ok("rpod inspect --format '{{.State.ConmonPid}}' web")
    assert vm.ok("systemctl --user show -p MainPID -p ActiveState web") == f"MainPID={pid}\nActiveState=active"
    said = vm.ok("journalctl --user -u web -o cat")
    assert "Started web.service" in said
    assert "not our child" not in said, "systemd waits for it"
    vm.ok("rpod stop -t 1 web")
    wait_for(lambda: "inactive" in vm.ok("systemctl --user show -p ActiveState web"), timeout_s=30)


def test_a_service_is_ready_when_its_container_is_healthy(vm: Machine) -> None:
    health = "--health-cmd 'test -e /tmp/well' --health-interval 1s"
    run = f"rpod run --rm -d --name sick --cgroups split --sdnotify healthy {health} busybox sleep 1000"
    vm.ok(f"{NOTIFY} --no-block --unit sick {run}")
    wait_for(lambda: "starting" in vm.ok("rpod ps --filter name=sick --format '{{.Status}}'"), timeout_s=30)
    assert vm.ok("systemctl --user show -p ActiveState sick") == "ActiveState=activating"
    vm.ok("rpod exec sick touch /tmp/well")
    wait_for(lambda: "=active" in vm.ok("systemctl --user show -p ActiveState sick"), timeout_s=30)
    vm.ok("rpod stop -t 1 sick")
    wait_for(lambda: "inactive" in vm.ok("systemctl --user show -p ActiveState sick"), timeout_s=30)

"""What a laptop does to containers: it comes into another network."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.shell import wait_for

if TYPE_CHECKING:
    from machine import Machine


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

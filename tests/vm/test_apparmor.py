"""User namespaces that can be made and are worth nothing, as Ubuntu has them since 23.10: here a profile does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from machine import Machine

PROFILE = "profile narrow flags=(attach_disconnected) { file, network, signal, unix, ptrace, dbus, mount, umount, }"


def test_the_doctor_names_the_profile_that_takes_the_capabilities_away(vm: Machine) -> None:
    vm.ok(f"echo '{PROFILE}' | apparmor_parser -r", user="root")
    try:
        done = vm.run("aa-exec -p narrow -- rpod doctor")
        assert done.returncode == 1, done
        assert "in the AppArmor profile narrow" in done.stdout
    finally:
        vm.ok(f"echo '{PROFILE}' | apparmor_parser -R", user="root")
    assert "\nok       user namespace:" in vm.ok("rpod doctor")

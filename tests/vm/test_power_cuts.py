"""The power goes while images come, containers run, are committed and removed: nothing that was told is lost.

``test_systemd.py`` switches the whole machine off; here it happens often, on a file system of the machine that
loses what was not written, without a minute's boot each time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import machine

if TYPE_CHECKING:
    from machine import Machine
    from support.registry import PlainRegistry

CUTS = int(os.environ.get("RPOD_TEST_POWER_CUTS", "6"))
PROGRAM = Path(__file__).with_name("power_cuts.py")


def test_what_was_told_outlives_power_cuts_at_random_moments(vm: Machine, registry: PlainRegistry) -> None:
    vm.write("power_cuts.py", PROGRAM.read_text())
    image = f"{machine.HOST}:{registry.port}/busybox"
    said = vm.ok(
        f"python3 ~{machine.USER}/power_cuts.py {image} {CUTS} {os.getpid()} 2>&1", user="root", timeout_s=1500
    )
    assert said.count("cut ") == CUTS, said

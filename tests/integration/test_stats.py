"""stats: what containers use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shell import Pty, wait_for

if TYPE_CHECKING:
    from support.shell import Rpod

CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers").read_text().split()
SPIN = ("sh", "-c", "while :; do :; done")


def numbers(rpod: Rpod, name: str) -> dict[str, int]:
    template = '{"cpu":{{.CPUNano}},"mem":{{.MemLimit}},"in":{{.NetInput}},"out":{{.NetOutput}},"pids":{{.PIDs}}}'
    found: dict[str, int] = json.loads(rpod.ok("stats", "--no-stream", "--format", template, name))
    return found


def test_the_table(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("run", "-d", "--name", "busy", "--network", "none", image, *SPIN)
    rpod.ok("create", "--name", "made", image, "true")
    header, row = rpod.ok("stats", "--no-stream").splitlines()
    assert header.split("  ")[0] == "ID"
    for title in ("NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET IO", "BLOCK IO", "PIDS", "CPU TIME", "AVG CPU %"):
        assert title in header
    assert row.split()[:2] == [ident[:12], "busy"]
    assert len(rpod.ok("stats", "--no-stream", "--all").splitlines()) == 3
    assert rpod.ok("stats", "--no-stream", "--no-trunc", "--format", "{{.ID}} {{.PIDs}}", "busy") == f"{ident} 1"
    (told,) = json.loads(rpod.ok("stats", "--no-stream", "--format", "json", "made"))
    assert told["cpu_time"] == "0s"
    assert told["pids"] == "0"
    assert list(told) == [
        *("id", "name", "cpu_time", "cpu_percent", "avg_cpu", "mem_usage", "mem_percent", "net_io", "block_io", "pids")
    ]


def test_the_numbers_are_the_containers(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "busy", image, *SPIN)
    before = numbers(rpod, "busy")
    wait_for(lambda: numbers(rpod, "busy")["cpu"] > before["cpu"] + 200_000_000, what="the use of a processor")
    rpod.ok("exec", "-d", "busy", "sleep", "1000")
    assert numbers(rpod, "busy")["pids"] == 2
    rpod("exec", "busy", "ping", "-c", "1", "-W", "1", "10.0.2.2")
    rpod("exec", "busy", "nslookup", "example.invalid", "10.0.2.2")
    assert numbers(rpod, "busy")["out"] > before["out"], "bytes that left it"


@pytest.mark.skipif("memory" in CONTROLLERS, reason="the memory controller is there")
def test_without_the_memory_controller_the_processes_are_added_up_and_marked(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "busy", image, "sleep", "1000")
    used, _, limit = rpod.ok("stats", "--no-stream", "--format", "{{.MemUsage}}", "busy").partition(" / ")
    assert used.startswith("~")
    assert used.endswith(("kB", "MB"))
    assert limit.endswith("GB")
    if "io" not in CONTROLLERS:
        assert rpod.ok("stats", "--no-stream", "--format", "{{.BlockIO}}", "busy") == "-- / --"


def test_without_a_cgroup_and_with_the_hosts_network(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "bare", "--cgroups", "disabled", "--network", "host", image, *SPIN)
    wait_for(lambda: rpod.ok("stats", "--no-stream", "--format", "{{.CPUNano}}", "bare") != "0")
    assert rpod.ok("stats", "--no-stream", "--format", "{{.PIDs}} {{.NetIO}}", "bare") == "1 -- / --"


def test_the_live_table_stays_in_its_place(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "busy", image, *SPIN)
    with Pty(rpod, "stats", "--interval", "1") as terminal:
        terminal.expect("\x1b[2J\x1b[H")
        terminal.expect("busy")
        again = terminal.expect("\x1b[H")
        assert "\x1b[2J" not in again
        terminal.expect("busy")
        terminal.type("\x03")
        terminal.wait()
    with Pty(rpod, "stats", "--interval", "1", "--no-reset") as terminal:
        terminal.expect("busy")
        terminal.expect("busy")
        assert b"\x1b[" not in terminal.seen


def test_what_makes_no_sense(rpod: Rpod) -> None:
    assert "nobody" in rpod.fails("stats", "--no-stream", "nobody")
    assert "--interval" in rpod.fails("stats", "--interval", "0")
    assert rpod.ok("stats", "--no-stream").startswith("ID")

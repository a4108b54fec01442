"""Every limit that the kernel's controllers know, where systemd delegates them all: its files are the witness."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import machine
import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine

DROP_IN = "/etc/systemd/system/user@.service.d/rpod-delegate.conf"
RESTART = f"systemctl daemon-reload && systemctl restart user@{machine.UID}"
GROUP = "/sys/fs/cgroup$(cut -d: -f3 /proc/$(rpod inspect --format '{{.State.Pid}}' box)/cgroup)"


@pytest.fixture(scope="module", autouse=True)
def delegated(vm: Machine) -> Iterator[None]:
    """What the doctor prints has been run."""
    vm.ok(vm.ok("rpod doctor --script"), user="root")
    yield
    vm.ok(f"rm {DROP_IN}; {RESTART}", user="root")


def files(vm: Machine, *names: str) -> list[str]:
    """Files of the cgroup of the container "box"."""
    return vm.ok(f"cd {GROUP} && cat {' '.join(names)}").splitlines()


def test_each_is_in_its_file_and_an_update_changes_it(vm: Machine) -> None:
    vm.ok(
        "rpod run -d --name box --memory 64m --memory-reservation 32m --cpu-period 50000 --cpu-quota 25000 "
        "--cpuset-cpus 1 --cpuset-mems 0 --blkio-weight 200 "
        "--device-read-bps /dev/vda:1mb --device-write-iops /dev/vda:100 --cgroup-conf memory.high=50331648 "
        "--oom-score-adj 300 busybox sleep 1000"
    )
    names = ("memory.max", "memory.low", "memory.high", "cpu.max", "cpuset.cpus", "cpuset.mems", "io.weight", "io.max")
    assert files(vm, *names) == [
        *(str(64 << 20), str(32 << 20), str(48 << 20), "25000 50000", "1", "0"),
        *("default 1920", "254:0 rbps=1048576 wbps=max riops=max wiops=100"),
    ]
    assert (
        vm.ok("cat /proc/$(rpod inspect --format '{{.State.Pid}}' box)/oom_score_adj; rpod exec box nproc") == "300\n1"
    )
    vm.ok(
        "rpod update --memory-reservation 16m --cpuset-cpus 0-1 --blkio-weight 1000 --device-read-bps /dev/vda:2mb box"
        " && systemctl --user daemon-reload"
    )
    assert files(vm, "memory.low", "cpuset.cpus", "io.max")[:2] == [str(16 << 20), "0-1"]
    assert vm.ok("rpod exec box nproc") == "2"


def test_a_writer_gets_the_rate_that_it_was_given(vm: Machine) -> None:
    write = "timeout 4 dd if=/dev/zero of=/file bs=64k count=1000 oflag=direct 2> /dev/null; cat /sys/fs/cgroup/io.stat"
    shown = vm.ok(f"rpod run --rm --device-write-bps /dev/vda:1mb busybox sh -c '{write}'")
    written = next(int(word[7:]) for word in shown.split() if word.startswith("wbytes="))
    assert 512 << 10 < written < 12 << 20


def test_what_version_2_or_this_machine_has_not_is_refused_by_name(vm: Machine) -> None:
    assert "--memory-swappiness" in vm.fails("rpod run --rm --memory-swappiness 10 busybox true", 125)
    assert "--oom-kill-disable" in vm.fails("rpod run --rm --oom-kill-disable busybox true", 125)
    said = vm.fails("rpod run --rm --cgroup-conf hugetlb.2MB.max=0 busybox true", 125)
    assert "--cgroup-conf hugetlb.2MB.max needs the cgroup controller 'hugetlb'" in said
    said = vm.fails("rpod run --rm --blkio-weight-device /dev/vda:500 busybox true", 125)
    assert "--blkio-weight-device cannot be set" in said
    assert "--oom-score-adj" in vm.fails("rpod run --rm --oom-score-adj=-100 busybox true", 125)


def test_the_modes_of_cgroups(vm: Machine) -> None:
    look = "cat /proc/$(rpod inspect --format '{{.State.Pid}}' box)/cgroup; "
    look += "cat /proc/$(rpod inspect --format '{{.State.ConmonPid}}' box)/cgroup"
    own = vm.ok(f"rpod run -d --name box --cgroups disabled busybox sleep 1000 > /dev/null; {look}").splitlines()
    assert own[0] == own[1]
    assert "session-" in own[0]
    vm.fails("rpod run --rm --cgroups disabled --memory 64m busybox true", 125)
    vm.ok("rpod rm -f -t 0 box")
    vm.ok(
        "systemd-run --user -q --unit split --service-type=forking -p Delegate=yes "
        "~/venv/bin/rpod run -d --name box --cgroups split --memory 64m busybox sleep 1000"
    )
    own = vm.ok(look).splitlines()
    assert own[0] != own[1]
    assert all("/split.service/" in line for line in own), own
    assert files(vm, "memory.max") == [str(64 << 20)]
    vm.ok("rpod rm -f -t 0 box; systemctl --user stop split; systemctl --user reset-failed")
    alone = "rpod run -d --name box --cgroups no-conmon --memory 64m busybox sleep 1000"
    assert "systemd-run --user --scope" in vm.fails(alone, 125)
    vm.ok("rpod rm box")  # as with Podman, what could not be started stays created
    vm.ok(f"systemd-run --user -q --scope -p Delegate=yes {alone} > /dev/null")
    container, monitor = vm.ok(look).splitlines()
    assert "/rpod-" in container
    assert "/rpod-" not in monitor
    assert files(vm, "memory.max") == [str(64 << 20)]
    vm.ok("rpod rm -f -t 0 box")


def test_stats_says_what_the_files_say(vm: Machine) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2> /dev/null; for i in 1 2 3; do sleep 1000 & done; wait"
    vm.ok(f"rpod run -d --name box --memory 64m --pids-limit 50 busybox sh -c '{fill}'")
    look = "cat memory.current pids.current; grep usage_usec cpu.stat"
    wait_for(lambda: vm.ok(f"cat {GROUP}/pids.current") == "4", 30, "all of its processes")
    stats = "rpod stats --no-stream --format '{{.CPUNano}}' box; rpod stats --no-stream --format json box"
    asked = vm.ok(f"cd {GROUP}; {look}; {stats}; {look}").splitlines()
    before, after, told_cpu_ns = asked[:3], asked[-3:], int(asked[3])
    (row,) = json.loads("\n".join(asked[4:-3]))
    assert before[1] == row["pids"] == after[1] == "4"
    memory = float(row["mem_usage"].partition("MB / 67.11MB")[0]) * 1e6
    low, high = sorted((int(before[0]), int(after[0])))
    assert 20 << 20 < low - 100_000 < memory < high + 100_000
    low, high = (int(line.split()[1]) * 1000 for line in (before[2], after[2]))
    assert 0 < low <= told_cpu_ns <= high

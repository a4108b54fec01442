"""Kill -9 of whichever process of a launch comes first to a swept system call: nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.leaks import Leaks

if TYPE_CHECKING:
    from support.small_disk import Disk

SWEPT = [
    ("mkdir", (2, 4)),
    ("rename", (1, 2, 3)),
    ("openat", (40, 110, 180)),
    ("recvmsg", (1, 2)),
    ("sendmsg", (1, 2)),
    ("wait4", (1, 2)),
    ("clone,clone3", (1, 2)),
    ("move_mount", (1, 8)),
    ("prctl", (2, 30)),
]


@pytest.mark.parametrize("driver_name", ["overlay", "fuse-overlayfs"])
@pytest.mark.parametrize(("calls", "numbers"), SWEPT, ids=[calls for calls, _ in SWEPT])
def test_kill_at_a_system_call(single: Disk, driver_name: str, calls: str, numbers: tuple[int, ...]) -> None:
    leaks = Leaks(single.rpod)
    for number in numbers:
        inject = f"-e trace={calls} -e inject={calls}:signal=KILL:when={number}"
        trace = f"strace -qq -f -o /dev/null {inject}"
        code, _ = single.do(f"timeout 30 {trace} $RPOD --storage-driver {driver_name} run --rm hello > /dev/null")
        single.ok("$RPOD ps -aq")
        single.ok("$RPOD system prune --force")
        leaks.assert_none()
        assert not single.ok("ls $DISK/data/rpod/containers $DISK/data/rpod/names | grep -v : || true").split(), number
        if code == 0:
            break

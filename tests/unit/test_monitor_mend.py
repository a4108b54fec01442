"""rpod-monitor as the keeper of a network: when it asks for help, and what becomes of the answer."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from monitor_harness import Monitored, alive, wait_until

if TYPE_CHECKING:
    from pathlib import Path

SLEEP = ["/bin/sleep", "1000"]


def count(path: Path) -> int:
    return len(path.read_text().split()) if path.exists() else 0


def replace(path: Path, text: str) -> None:
    """As the tools do that own a resolv.conf."""
    fresh = path.with_name("fresh")
    fresh.write_text(text)
    fresh.rename(path)


def test_a_dead_helper_is_replaced_and_the_new_one_ends_with_the_container(tmp_path: Path) -> None:
    new = tmp_path / "new"
    # The helper is the monitor's child as soon as the command has ended.
    mend = f"sleep 1000 <&- >&- 2>&- & echo $! > {new}.tmp; mv {new}.tmp {new}; echo $!"
    with Monitored(tmp_path, SLEEP, helpers=("exec sleep 1000",), client=False, mend=mend) as container:
        os.kill(container.helpers[0], signal.SIGKILL)
        wait_until(new.exists, "the command")
        helper = int(new.read_text())
        wait_until(lambda: _parent(helper) == container.pid, "adoption")
        assert alive(helper)
        os.kill(container.init, signal.SIGKILL)
        container.wait()
        assert not alive(helper)
        assert container.cleaned.exists()


def _parent(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        return int(file.read().rpartition(")")[2].split()[1])


def test_helpers_that_die_again_and_again_are_not_replaced_in_a_loop(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    mend = f"echo x >> {runs}; sh -c 'exit 1' & echo $!"
    options = ("--check-ms", "1")
    check = f"echo x >> {tmp_path}/checks; echo 20"
    with Monitored(
        tmp_path, SLEEP, helpers=("exit 1",), client=False, options=options, check=check, mend=mend
    ) as container:
        wait_until(lambda: count(runs) == 1, "the first attempt")
        seen = count(tmp_path / "checks")
        wait_until(lambda: count(tmp_path / "checks") > seen + 20, "many turns of the monitor")
        assert count(runs) == 1, "the next attempt comes later"
        assert alive(container.init)


def test_a_file_that_is_replaced_or_written_is_noticed(tmp_path: Path) -> None:
    runs, folder = tmp_path / "runs", tmp_path / "etc"
    folder.mkdir()
    watched = folder / "resolv.conf"
    watched.write_text("one")
    words = ("--watch", str(watched), "--watch", "/nowhere/at/all")
    with Monitored(tmp_path, SLEEP, client=False, options=words, mend=f"echo x >> {runs}; echo") as container:
        wait_until(lambda: _watches(container.pid, folder), "the watch")
        replace(watched, "another one")
        wait_until(lambda: count(runs) == 1, "the command after a rename")
        with watched.open("a") as file:
            file.write("more")
        wait_until(lambda: count(runs) == 2, "the command after a write")
        (folder / "other").write_text("nobody asked")
        watched.unlink()
        watched.write_text("there again")
        wait_until(lambda: count(runs) == 3, "the command after a file that was made anew")
        os.kill(container.init, signal.SIGKILL)
        container.wait()
        assert container.cleaned.exists(), "a signal of the watch ends nobody"


def _watches(pid: int, folder: Path) -> bool:
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}") == str(folder) for fd in os.listdir(f"/proc/{pid}/fd"))
    except FileNotFoundError:
        return False  # one was closed while we looked

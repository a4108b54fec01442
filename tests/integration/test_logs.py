"""``rpod logs``: what containers have printed and go on printing."""

from __future__ import annotations

import re
import subprocess
import time
from typing import TYPE_CHECKING

from support.shell import wait_for

if TYPE_CHECKING:
    from support.shell import Rpod


def test_both_streams_come_back_as_they_went(rpod: Rpod, image: str) -> None:
    rpod("run", "--name", "talk", image, "sh", "-c", "echo out; echo err >&2; printf 'no end'")
    done = rpod("logs", "talk")
    assert done.out.startswith("out\nno end")
    assert done.err == "err\n"


def test_tail_since_until_and_timestamps(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "--name", "many", image, "sh", "-c", "seq 1 20; sleep 1.2; seq 21 25")
    assert rpod.ok("logs", "many").split() == [str(n) for n in range(1, 26)]
    assert rpod.ok("logs", "--tail", "3", "many").split() == ["23", "24", "25"]
    assert rpod.ok("logs", "--tail", "0", "many") == ""
    lines = rpod.ok("logs", "-t", "many").splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\S* \d+$", line) for line in lines), lines
    later = lines[20].split()[0]
    assert rpod.ok("logs", "--since", later, "many").split() == ["21", "22", "23", "24", "25"]
    assert rpod.ok("logs", "--until", lines[19].split()[0], "many").split()[-1] == "20"
    assert rpod.ok("logs", "--since", "1h", "--tail", "1", "many") == "25"
    assert "yesterday" in rpod.fails("logs", "--since", "yesterday", "many")


def test_follow_until_the_end(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "slow", image, "sh", "-c", "for i in 1 2 3; do echo $i; sleep 0.3; done")
    began = time.monotonic()
    assert rpod.ok("logs", "-f", "slow").split() == ["1", "2", "3"]
    assert time.monotonic() - began < 20
    assert rpod.ok("logs", "-f", "slow").split() == ["1", "2", "3"], "of a container that has ended, too"


def test_follow_shows_lines_as_they_come(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-di", "--name", "echo", image, "sh", "-c", "echo one; sleep 60")
    process = rpod.start("logs", "-f", "--tail", "1", "echo", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"one\n"
    rpod.ok("exec", "echo", "sh", "-c", "echo two >/proc/1/fd/1")
    assert process.stdout.readline() == b"two\n"
    rpod.ok("kill", "echo")
    assert process.wait(20) == 0
    process.stdout.close()


def test_several_containers(rpod: Rpod, image: str) -> None:
    for name in ("left", "right"):
        rpod.ok("run", "--name", name, image, "echo", f"from {name}")
    assert set(rpod.ok("logs", "-n", "left", "right").splitlines()) == {"left from left", "right from right"}


def test_rotation_and_follow_across_it(rpod: Rpod, image: str) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"
    rpod.ok("run", "--name", "big", "--log-opt", "max-size=64k", "--log-opt", "max-file=3", image, "sh", "-c", script)
    (folder,) = (rpod.data / "containers").glob("*")
    files = sorted(folder.glob("ctr.log*"))
    assert 2 <= len(files) <= 3
    assert all(path.stat().st_size <= 70_000 for path in files)
    assert rpod.ok("logs", "--tail", "1", "big") == "line 2999"


def test_drivers(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "--name", "json", "--log-driver", "json-file", image, "echo", 'quo"ted')
    assert rpod.ok("logs", "json") == 'quo"ted'
    rpod.ok("run", "--name", "silent", "--log-driver", "none", image, "echo", "x")
    assert "none" in rpod.fails("logs", "silent")
    assert "syslog" in rpod.fails("create", "--log-driver", "syslog", image)
    assert "colour" in rpod.fails("create", "--log-opt", "colour=red", image)


def test_a_long_line_is_one_line(rpod: Rpod, image: str) -> None:
    rpod("run", "--name", "long", image, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    wait_for(lambda: rpod.ok("logs", "--tail", "1", "long") == "end")
    assert [len(line) for line in rpod.ok("logs", "long").splitlines()] == [100000, 3]

"""``rpod logs``: what containers have printed and go on printing."""

from __future__ import annotations

import os
import re
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.shell import Pty, wait_for

if TYPE_CHECKING:
    from pathlib import Path

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
    assert rpod.ok("logs", "-n", "right", "left").splitlines() == ["left from left", "right from right"], "by time"


def test_follow_across_rotations_loses_nothing(rpod: Rpod, image: str) -> None:
    script = "read go; i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done"
    options = ("--log-opt", "max-size=200k", "--log-opt", "max-file=10")
    rpod.ok("run", "-di", "--name", "big", *options, image, "sh", "-c", script)
    follower = rpod.start("logs", "-f", "big", stdout=subprocess.PIPE)
    rpod("attach", "big", stdin=b"go\n")
    out, _ = follower.communicate(timeout=60)
    assert out.decode().splitlines() == [f"line {number}" for number in range(20000)]


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
    assert "journald" in rpod.fails("create", "--log-opt", "tag=x", image), "tags are for the journal"


@pytest.mark.skipif(os.path.exists("/run/systemd/journal/socket"), reason="journald runs here; tests/vm asks it")
def test_journald_is_said_to_be_missing(rpod: Rpod, image: str) -> None:
    assert "/run/systemd/journal/socket" in rpod.fails("run", "--log-driver", "journald", image, "true")
    assert rpod.ok("ps", "-aq") == ""


def test_a_log_elsewhere_outlives_its_container(rpod: Rpod, image: str, tmp_path: Path) -> None:
    path = tmp_path / "web.log"
    rpod.ok("run", "--name", "web", "--log-opt", f"path={path}", image, "echo", "kept")
    assert rpod.ok("logs", "web") == "kept"
    assert rpod.ok("inspect", "-f", "{{.LogPath}}", "web") == str(path)
    rpod.ok("rm", "web")
    assert path.read_bytes().endswith(b"stdout F kept\n")
    assert "exists" in rpod.fails("create", "--log-opt", "path=/nowhere/x", image)


def test_passthrough_gives_the_program_our_own_streams(rpod: Rpod, image: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with target.open("wb") as out:
        script = "cat; echo err >&2; readlink /proc/self/fd/1; exit 3"
        process = rpod.start(
            *("run", "--name", "through", "--user", "1000", "--log-driver", "passthrough", image, "sh", "-c", script),
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        process.communicate(b"typed\n")
    assert process.returncode == 3
    typed, err, link = target.read_text().splitlines()
    assert (typed, err) == ("typed", "err")
    assert not link.startswith("pipe:"), "the file itself, with nothing between"
    assert target.stat().st_uid == os.geteuid(), "and it is still ours"
    assert "passthrough" in rpod.fails("logs", "through")
    assert "--tty" in rpod.fails("create", "-t", "--log-driver", "passthrough", image)
    with Pty(rpod, "run", "--rm", "--log-driver", "passthrough", image, "true") as terminal:
        terminal.expect("TIOCSTI")
        assert terminal.wait() == 125
    with Pty(rpod, "run", "--rm", "--log-driver", "passthrough-tty", image, "sh", "-c", "stty size") as terminal:
        terminal.expect("24 80")
        assert terminal.wait() == 0


def test_a_long_line_is_one_line(rpod: Rpod, image: str) -> None:
    rpod("run", "--name", "long", image, "sh", "-c", "head -c 100000 /dev/zero | tr '\\0' x; echo; echo end")
    wait_for(lambda: rpod.ok("logs", "--tail", "1", "long") == "end")
    assert [len(line) for line in rpod.ok("logs", "long").splitlines()] == [100000, 3]

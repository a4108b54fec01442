"""``rpod exec``: a second program in a running container."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.shell import program, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod


@pytest.fixture
def box(rpod: Rpod, image: str) -> Iterator[str]:
    """The name of a running container."""
    rpod.ok(
        "run", "-d", "--name", "box", "-e", "GIVEN=run", "-w", "/tmp", "--hostname", "inside", image, "sleep", "300"
    )
    return "box"


def test_sees_what_the_container_sees(rpod: Rpod, box: str) -> None:
    assert rpod.ok("exec", box, "hostname") == "inside"
    assert rpod.ok("exec", box, "pwd") == "/tmp"
    assert rpod.ok("exec", box, "cat", "/proc/1/comm") == "sleep"
    assert "sleep 300" in rpod.ok("exec", box, "ps", "-o", "args")
    rpod.ok("exec", box, "sh", "-c", "echo kept >/file")
    assert rpod.ok("exec", box, "cat", "/file") == "kept"


def test_is_in_every_namespace_of_the_container(rpod: Rpod, box: str) -> None:
    script = "cd /proc/%s/ns; for n in user mnt pid net ipc uts cgroup; do readlink $n; done"
    own = rpod.ok("exec", box, "sh", "-c", script % "self")
    assert own == rpod.ok("exec", box, "sh", "-c", script % "1")
    assert len(own.splitlines()) == 7


def test_has_no_more_rights_than_the_container(rpod: Rpod, box: str) -> None:
    script = "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/%s/status"
    assert rpod.ok("exec", box, "sh", "-c", script % "self") == rpod.ok("exec", box, "sh", "-c", script % "1")
    assert rpod.ok("exec", box, "sh", "-c", "cat /proc/self/cgroup") == rpod.ok("exec", box, "cat", "/proc/1/cgroup")


def test_streams(rpod: Rpod, box: str) -> None:
    text = bytes(range(256)) * 4000
    assert rpod("exec", "-i", box, "cat", stdin=text).raw == text
    done = rpod("exec", box, "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err) == ("out\n", "err\n")
    assert rpod("exec", box, "cat", stdin=b"not passed on").out == ""


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -9 $$"], 137),
        (["no-such-program"], 127),
        (["/no/such"], 127),
        (["/etc/passwd"], 126),
        (["/etc"], 126),
    ],
)
def test_exit_codes(rpod: Rpod, box: str, words: list[str], code: int) -> None:
    done = rpod("exec", box, *words)
    assert done.code == code, done
    assert "Traceback" not in done.err


def test_environment_user_and_directory(rpod: Rpod, box: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("FROM_FILE=1\n")
    out = rpod.ok("exec", "-e", "MORE=2", "--env-file", str(tmp_path / "env"), box, "env").splitlines()
    assert {"GIVEN=run", "ORIGIN=image", "MORE=2", "FROM_FILE=1"} <= set(out)
    ids = "echo $(id -u) $(id -g) $(id -G); pwd; echo $HOME"
    assert rpod.ok("exec", "-u", "user", "-w", "/var", box, "sh", "-c", ids).splitlines() == [
        "1000 1000 1000 2000",
        "/var",
        "/home/user",
    ]
    assert rpod.ok("exec", "-u", "1234:5", box, "sh", "-c", ids).splitlines()[0] == "1234 5 5"
    assert "/nowhere" in rpod.fails("exec", "-w", "/nowhere", box, "true")
    assert "nobody-known" in rpod.fails("exec", "-u", "nobody-known", box, "true")


def test_as_the_containers_user(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "mine", "-u", "user", "--group-add", "3000", image, "sleep", "60")
    assert rpod.ok("exec", "mine", "id", "-u") == "1000"
    assert set(rpod.ok("exec", "mine", "id", "-G").split()) == {"1000", "2000", "3000"}
    assert "CapEff:\t0000000000000000" in rpod.ok("exec", "mine", "grep", "CapEff", "/proc/self/status")


def test_privileged(rpod: Rpod, box: str) -> None:
    plain = rpod.ok("exec", box, "grep", "CapEff", "/proc/self/status")
    more = rpod.ok("exec", "--privileged", box, "grep", "CapEff", "/proc/self/status")
    assert int(more.split()[1], 16).bit_count() > int(plain.split()[1], 16).bit_count()


def test_detached(rpod: Rpod, box: str) -> None:
    rpod.ok("exec", "-d", box, "sh", "-c", "sleep 0.2; echo done >/later")
    wait_for(lambda: rpod("exec", box, "cat", "/later").out == "done\n")


def test_preserved_descriptors(rpod: Rpod, box: str, tmp_path: Path) -> None:
    argv = [*program(), "exec", "--preserve-fds", "1", box, "sh", "-c", "echo through >&3"]
    shell = ["sh", "-c", 'exec "$@" 3>"$0"', str(tmp_path / "out"), *argv]
    subprocess.run(shell, env=rpod.env, check=True, timeout=60)
    assert (tmp_path / "out").read_text() == "through\n"


def test_signals_are_passed_on(rpod: Rpod, box: str) -> None:
    script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    process = rpod.start("exec", box, "sh", "-c", script, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 7
    assert process.stdout.read() == b"caught\n"
    process.stdout.close()


def test_ends_with_the_container(rpod: Rpod, box: str) -> None:
    process = rpod.start("exec", box, "sh", "-c", "echo ready; sleep 60", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    rpod.ok("rm", "-f", "-t", "0", box)
    assert process.wait(20) == 137
    process.stdout.close()


def test_a_killed_client_takes_its_program_along(rpod: Rpod, box: str) -> None:
    process = rpod.start("exec", box, "sh", "-c", "echo ready; exec sleep 77", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.kill()
    process.wait()
    process.stdout.close()
    wait_for(lambda: "sleep 77" not in rpod.ok("exec", box, "ps", "-o", "args"))


def test_needs_a_running_container_and_a_command(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "idle", image, "true")
    assert "not running" in rpod.fails("exec", "idle", "true")
    assert "nobody" in rpod.fails("exec", "nobody", "true")
    assert rpod.fails("exec", "idle")

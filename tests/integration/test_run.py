"""``rpod run``: the program, what it is given, and how its end reaches the caller."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shell import program, wait_for

if TYPE_CHECKING:
    from support.shell import Rpod


def test_output_and_input_reach_the_program(rpod: Rpod, image: str) -> None:
    assert rpod.ok("run", "--rm", image, "echo", "hello") == "hello"
    done = rpod("run", "--rm", image, "sh", "-c", "echo out; echo err >&2")
    assert (done.out, done.err, done.code) == ("out\n", "err\n", 0)
    text = bytes(range(256)) * 4000
    assert rpod("run", "--rm", "-i", image, "cat", stdin=text).raw == text
    assert rpod("run", "--rm", image, "cat", stdin=b"not passed on").out == "", "without -i there is no input"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "exit 255"], 255),
        (["sh", "-c", "kill -TERM $$; exit 3"], 3),  # the kernel shields pid 1 from signals without a handler
        (["--init", "sh", "-c", "kill -USR1 $$"], 138),
        (["sh", "-c", "sh -c 'kill -KILL $$'; exit $?"], 137),
    ],
)
def test_exit_codes_of_the_program(rpod: Rpod, image: str, words: list[str], code: int) -> None:
    options = [word for word in words if word == "--init"]
    done = rpod("run", "--rm", *options, image, *words[len(options) :])
    assert done.code == code, done


def test_exit_codes_of_a_program_that_does_not_start(rpod: Rpod, image: str) -> None:
    assert "no-such-program: executable file not found in $PATH" in rpod.fails(
        "run", "--rm", image, "no-such-program", code=127
    )
    assert "/no/such" in rpod.fails("run", "--rm", image, "/no/such", code=127)
    assert "permission denied" in rpod.fails("run", "--rm", image, "/etc/passwd", code=126)
    assert "permission denied" in rpod.fails("run", "--rm", image, "/etc", code=126)
    script = rpod.home / "no-program"
    script.write_text("no #! line\n")
    script.chmod(0o755)
    assert "exec format error" in rpod.fails("run", "--rm", "-v", f"{script}:/p:ro", image, "/p", code=126)


@pytest.mark.parametrize("words", [(), ("--env-merge", "MERGED=${ORIGIN}-x", "--unsetenv", "ORIGIN")])
def test_environment_from_a_pipe(rpod: Rpod, image: str, words: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.write(write_end, b"PIPED=yes\n")
    os.close(write_end)
    try:
        pipe = f"/proc/{os.getpid()}/fd/{read_end}"
        options = ("--rm", "--network", "none", "--env-file", pipe, *words)
        assert rpod.ok("run", *options, image, "sh", "-c", "echo $PIPED") == "yes"
    finally:
        os.close(read_end)


def test_environment(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "env").write_text("# a comment\n\nFROM_FILE=1\nSPACED=a b  c\nOVER=file\nHOSTVALUE\n")
    done = rpod(
        *("run", "--rm", "--env-file", str(tmp_path / "env"), "-e", "OVER=typed", "-e", "ORIGIN=mine"),
        *("-e", "TAKEN", "-e", "EMPTY=", "-e", "ABSENT", "--hostname", "box", image, "env"),
        env={"TAKEN": "from the caller", "HOSTVALUE": "too", "SECRET": "never"},
    )
    found = dict(line.split("=", 1) for line in done.out.splitlines())
    assert found["FROM_FILE"] == "1"
    assert found["SPACED"] == "a b  c"
    assert found["OVER"] == "typed"
    assert found["ORIGIN"] == "mine", "the image says ORIGIN=image"
    assert found["TAKEN"] == "from the caller"
    assert found["HOSTVALUE"] == "too"
    assert found["EMPTY"] == ""
    assert found["PATH"] == "/bin"
    assert found["HOSTNAME"] == "box"
    assert found["HOME"] == "/root"
    assert found["container"]
    assert not {"ABSENT", "SECRET", "XDG_RUNTIME_DIR"} & set(found)
    everything = rpod("run", "--rm", "--env-host", image, "env", env={"SECRET": "shown", "ORIGIN": "caller"}).out
    assert "SECRET=shown" in everything.splitlines()
    assert "PATH=/bin" in everything.splitlines()


def test_proxy_variables_are_handed_on(rpod: Rpod, image: str) -> None:
    env = {"http_proxy": "http://proxy.example:3128"}
    assert "http_proxy=http://proxy.example:3128" in rpod("run", "--rm", image, "env", env=env).out
    assert "proxy.example" not in rpod("run", "--rm", "--http-proxy=false", image, "env", env=env).out


def test_working_directory(rpod: Rpod, image: str) -> None:
    assert rpod.ok("run", "--rm", image, "pwd") == "/"
    assert rpod.ok("run", "--rm", "-w", "/var/www", image, "pwd") == "/var/www"
    made = rpod.ok("run", "--rm", "-u", "user", "-w", "/new/place", image, "sh", "-c", "pwd; stat -c %u:%g .")
    assert made.split() == ["/new/place", "1000:1000"]
    assert "absolute" in rpod.fails("run", "--rm", "-w", "etc", image, "true")


@pytest.mark.parametrize(
    ("user", "ids"),
    [
        ("", "0 0 0"),
        ("user", "1000 1000 1000 2000"),
        ("1000", "1000 1000 1000 2000"),
        ("user:extra", "1000 2000 2000"),
        ("1234", "1234 0 0"),
        ("1234:5678", "1234 5678 5678"),
        ("nobody:0", "65534 0 0"),
    ],
)
def test_user(rpod: Rpod, image: str, user: str, ids: str) -> None:
    out = rpod.ok("run", "--rm", *(["-u", user] if user else []), image, "sh", "-c", "echo $(id -u) $(id -g) $(id -G)")
    assert out == ids


def test_user_that_the_image_does_not_know(rpod: Rpod, image: str) -> None:
    assert "no-such-user" in rpod.fails("run", "--rm", "-u", "no-such-user", image, "true")
    assert "no-such-group" in rpod.fails("run", "--rm", "-u", "user:no-such-group", image, "true")


def test_more_groups(rpod: Rpod, image: str) -> None:
    groups = rpod.ok("run", "--rm", "-u", "user", "--group-add", "extra", "--group-add", "3000", image, "id", "-G")
    assert set(groups.split()) == {"1000", "2000", "3000"}
    assert "nowhere" in rpod.fails("run", "--rm", "--group-add", "nowhere", image, "true")


def test_entrypoint(rpod: Rpod, image: str) -> None:
    assert rpod.ok("run", "--rm", "--entrypoint", "echo", image, "a", "b") == "a b"
    assert rpod.ok("run", "--rm", "--entrypoint", '["echo", "-n", "x"]', image, "y") == "x y"
    assert rpod.ok("run", "--rm", "--entrypoint", "", image, "echo", "plain") == "plain"
    assert "no program" in rpod.fails("run", "--rm", "--entrypoint", "", image)


def test_hostname(rpod: Rpod, image: str) -> None:
    script = "hostname; cat /etc/hostname; grep -w box /etc/hosts"
    name, file, line = rpod.ok("run", "--rm", "--hostname", "box", image, "sh", "-c", script).splitlines()
    assert (name, file) == ("box", "box")
    assert line.split()[1] == "box"
    ident = rpod.ok("run", "-d", image, "hostname")
    rpod.ok("wait", ident)
    assert rpod.ok("logs", ident) == ident[:12]


def test_cidfile(rpod: Rpod, image: str, tmp_path: Path) -> None:
    path = tmp_path / "cid"
    ident = rpod.ok("run", "-d", "--cidfile", str(path), image, "sleep", "60")
    assert path.read_text() == ident
    assert "exists" in rpod.fails("run", "--cidfile", str(path), image, "true")
    rpod.ok("rm", "-f", "-t", "0", ident)
    assert not path.exists(), "rm takes the file along"


def test_labels_and_annotations(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("# none\nteam=kernel\nstage=file\n")
    ident = rpod.ok(
        *("create", "--label-file", str(tmp_path / "labels"), "--label", "stage=typed", "-l", "bare"),
        *("--annotation", "org.example.note=x=y", image),
    )
    labels = json.loads(rpod.ok("inspect", "--format", "{{json .Config.Labels}}", ident))
    assert labels == {"bare": "", "stage": "typed", "team": "kernel"}
    notes = rpod.ok("inspect", "--format", '{{index .Config.Annotations "org.example.note"}}', ident)
    assert notes == "x=y"
    assert rpod.ok("ps", "-aq", "--no-trunc", "--filter", "label=team=kernel") == ident


def test_replace(rpod: Rpod, image: str) -> None:
    first = rpod.ok("run", "-d", "--name", "web", image, "sleep", "60")
    assert "web" in rpod.fails("run", "-d", "--name", "web", image, "true")
    second = rpod.ok("run", "-d", "--replace", "--name", "web", image, "sleep", "60")
    assert rpod.ok("ps", "-aq", "--no-trunc") == second != first
    assert "--name" in rpod.fails("run", "--replace", image, "true")


def test_remove_at_the_end(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "--rm", "--name", "gone", image, "true")
    assert rpod.ok("ps", "-aq") == ""
    rpod.ok("run", "-d", "--rm", "--name", "gone", image, "sleep", "0.1")
    wait_for(lambda: rpod.ok("ps", "-aq") == "", what="the removal")
    rpod.ok("run", "--name", "kept", image, "true")
    assert rpod.ok("ps", "-a", "--format", "{{.Names}} {{.Status}}").startswith("kept Exited (0)")


def test_umask_and_time_zone(rpod: Rpod, image: str) -> None:
    script = "umask; touch /f; stat -c %a /f; date -d @0 +%H:%M%z; echo $TZ"
    assert rpod.ok("run", "--rm", image, "sh", "-c", script).split() == ["0022", "644", "00:00+0000"]
    out = rpod.ok("run", "--rm", "--umask", "0077", "--tz", "Asia/Tokyo", image, "sh", "-c", script)
    assert out.split()[:2] == ["0077", "600"]
    assert len(out.split()) == 3, "no TZ, by which a program would look for the zone in the image"
    shown = rpod.ok("run", "--rm", "--tz", "Asia/Tokyo", image, "sha256sum", "/etc/localtime").split()[0]
    assert shown == hashlib.sha256(Path("/usr/share/zoneinfo/Asia/Tokyo").read_bytes()).hexdigest()
    assert "no such time zone" in rpod.fails("run", "--rm", "--tz", "Mars/Olympus", image, "true")
    assert "octal" in rpod.fails("run", "--rm", "--umask", "99", image, "true")


def test_timeout(rpod: Rpod, image: str) -> None:
    began = time.monotonic()
    done = rpod("run", "--rm", "--init", "--timeout", "1", image, "sleep", "60")
    assert time.monotonic() - began < 10
    assert done.code in (137, 143), done


def test_init_reaps_and_forwards(rpod: Rpod, image: str) -> None:
    script = "sh -c 'sleep 0.1 & exec true'; sleep 0.4; ps -o pid,stat,comm"
    out = rpod.ok("run", "--rm", "--init", image, "sh", "-c", script)
    assert "rpod-init" in out.splitlines()[1]
    assert not [line for line in out.splitlines() if " Z" in line], out
    rpod.ok("run", "-d", "--init", "--name", "quick", image, "sleep", "60")
    began = time.monotonic()
    rpod.ok("stop", "quick")
    assert time.monotonic() - began < 5, "sleep as pid 1 would ignore SIGTERM; below init it does not"
    assert rpod.ok("inspect", "--format", "{{.State.ExitCode}}", "quick") == "143"


def test_descriptors_are_handed_on_only_when_asked(rpod: Rpod, image: str, tmp_path: Path) -> None:
    script = "echo through >&3; ls /proc/self/fd"
    argv = [*program(), "run", "--rm", "--preserve-fds", "1", image, "sh", "-c", script]
    shell = ["sh", "-c", 'exec "$@" 3>"$0" 4<"$0" 9<"$0"', str(tmp_path / "out"), *argv]
    listed = subprocess.run(shell, env=rpod.env, stdout=subprocess.PIPE, check=True, timeout=60).stdout
    assert (tmp_path / "out").read_text() == "through\n"
    assert listed.split() == [b"0", b"1", b"2", b"3", b"4"], "0 to 3, and the directory that ls reads"


@pytest.mark.parametrize("proxy", [True, False])
def test_signals_are_passed_on(rpod: Rpod, image: str, proxy: bool) -> None:
    script = "trap 'echo caught; exit 7' TERM; echo ready; while :; do sleep 0.1; done"
    process = rpod.start(
        *("run", "--rm", f"--sig-proxy={str(proxy).lower()}", image, "sh", "-c", script), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == (7 if proxy else -15)
    assert (b"caught" in process.stdout.read()) is proxy
    process.stdout.close()


def test_stop_signal_and_timeout(rpod: Rpod, image: str) -> None:
    script = "trap 'exit 9' USR1; trap '' TERM; echo ready; while :; do sleep 0.1; done"
    rpod.ok("run", "-d", "--name", "mine", "--stop-signal", "USR1", image, "sh", "-c", script)
    wait_for(lambda: "ready" in rpod.ok("logs", "mine"))
    rpod.ok("stop", "mine")
    assert rpod.ok("inspect", "--format", "{{.State.ExitCode}}", "mine") == "9"
    rpod.ok("run", "-d", "--name", "stubborn", "--stop-timeout", "1", image, "sh", "-c", script)
    wait_for(lambda: "ready" in rpod.ok("logs", "stubborn"))
    began = time.monotonic()
    rpod.ok("stop", "stubborn")
    assert 0.9 < time.monotonic() - began < 8
    assert rpod.ok("inspect", "--format", "{{.State.ExitCode}}", "stubborn") == "137"


def test_pull_policies(rpod: Rpod, image: str, plain_registry: object) -> None:
    absent = image.replace("busybox:latest", "busybox:absent")
    assert "absent" in rpod.fails("run", "--rm", "--pull", "never", absent, "true")
    rpod.ok("run", "--rm", "--pull", "never", image, "true")
    assert "sometimes" in rpod.fails("run", "--rm", "--pull", "sometimes", image, "true")


def test_killed_client_leaves_nothing_behind(rpod: Rpod, image: str) -> None:
    """A --rm container outlives its dead client and is removed at its own end."""
    process = rpod.start("run", "--rm", image, "sh", "-c", "echo up; sleep 1", stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.kill()
    process.wait()
    process.stdout.close()
    assert len(rpod.ok("ps", "-q").split()) == 1
    wait_for(lambda: rpod.leftovers() == [], what="nothing left")

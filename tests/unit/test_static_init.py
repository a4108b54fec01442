"""rpod-init: exec, init, pause and the built-in image's greeting, as processes in real namespaces."""

from __future__ import annotations

import os
import pty
import select
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from monitor_harness import HELPERS, SANITIZED, alive, wait_until

INIT = str(HELPERS / "rpod-init")
IN_PID_NAMESPACE = ["unshare", "-rpf", "--mount-proc", "--kill-child"]


def run_init(mode: str, *argv: str) -> tuple[int, str, str]:
    """(exit code, what came on the launcher's descriptor, standard output)."""
    read_end, write_end = os.pipe()
    process = subprocess.Popen(
        [INIT, mode, str(write_end), *argv], pass_fds=(write_end,), stdout=subprocess.PIPE, text=True
    )
    os.close(write_end)
    output = process.communicate(timeout=20)[0]
    told = os.read(read_end, 100).decode()
    os.close(read_end)
    return process.returncode, told, output


@pytest.mark.parametrize("mode", ["exec", "init"])
@pytest.mark.parametrize(
    ("path", "code", "errno"), [("/nonexistent", 127, "2"), ("/etc/passwd/x", 127, "20"), ("/etc/passwd", 126, "13")]
)
def test_a_program_that_cannot_be_executed(mode: str, path: str, code: int, errno: str) -> None:
    assert run_init(mode, path, "name") == (code, errno, "")


@pytest.mark.parametrize("mode", ["exec", "init"])
def test_argv0_and_environment_are_the_programs(mode: str) -> None:
    code, told, output = run_init(mode, "/bin/sh", "-name", "-c", "echo $0 $HOME $1; exit 42", "zero", "one")
    assert (code, told) == (42, "")
    assert output == f"zero {os.environ['HOME']} one\n"


def test_a_program_of_the_wrong_format(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    assert run_init("exec", str(program), "program") == (126, "8", "")


@pytest.mark.parametrize("mode", ["exec", "init"])
def test_the_descriptor_closes_when_the_program_starts(mode: str) -> None:
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.set_inheritable(write_end, True)
        os.execv(INIT, [INIT, mode, str(write_end), "/bin/sleep", "sleep", "5"])
    os.close(write_end)
    assert select.select([read_end], [], [], 4)[0], "the descriptor is still open"
    assert os.read(read_end, 10) == b""
    os.close(read_end)
    os.kill(pid, signal.SIGTERM)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert ended == (-signal.SIGTERM if mode == "exec" else 128 + signal.SIGTERM)


def test_init_reaps_orphans_and_ends_with_its_child() -> None:
    script = (
        "echo pid $$; (sh -c 'sleep 0.1; exit 3' &); sleep 0.3; "
        "for p in /proc/[0-9]*; do echo $p $(sed 's/.*) //' $p/stat | cut -c1); done; exit 9"
    )
    result = subprocess.run(
        [*IN_PID_NAMESPACE, INIT, "init", "2", "/bin/sh", "sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert result.returncode == 9
    assert "pid 2" in result.stdout
    assert " Z" not in result.stdout


def test_init_says_a_death_by_signal_as_a_shell_does() -> None:
    assert run_init("init", "/bin/sh", "sh", "-c", "kill -KILL $$")[0] == 137


@pytest.mark.parametrize("name", ["HUP", "INT", "QUIT", "USR1", "USR2", "TERM", "WINCH", "RTMIN"])
def test_init_forwards_signals(tmp_path: Path, name: str) -> None:
    number = int(getattr(signal, f"SIG{name}"))
    ready = tmp_path / "ready"
    script = f"trap 'exit 17' {number}; : >{ready}; while :; do sleep 0.02; done"
    process = subprocess.Popen([INIT, "init", "2", "/bin/sh", "sh", "-c", script])
    wait_until(ready.exists, "the program")
    process.send_signal(number)
    assert process.wait(20) == 17


def test_init_gives_the_child_the_terminal_and_a_clean_signal_mask() -> None:
    script = (
        "grep SigBlk /proc/self/status; ps -o pid=,pgid=,tpgid=,sid= -p $$; trap 'echo caught; exit 5' INT; "
        "echo ready; while :; do sleep 0.02; done"
    )
    pid, master = pty.fork()
    if pid == 0:
        os.execv(INIT, [INIT, "init", "2", "/bin/sh", "sh", "-c", script])
    output = b""
    while b"ready" not in output:
        output += os.read(master, 4096)
    words = output.decode().split()
    assert words[:2] == ["SigBlk:", "0000000000000000"]
    own, group, foreground, session = map(int, words[2:6])
    assert own == group == foreground
    assert session == pid
    os.write(master, b"\x03")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5
    os.close(master)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_pause_reaps_and_ends_at_a_signal(number: signal.Signals) -> None:
    process = subprocess.Popen([*IN_PID_NAMESPACE, INIT, "pause"])
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    wait_until(lambda: children.read_text().split(), "pause")
    pause = int(children.read_text().split()[0])
    wait_until(lambda: Path(f"/proc/{pause}/exe").resolve().name == "rpod-init", "exec")
    orphan = ["nsenter", "-t", str(pause), "-U", "-p", "--preserve-credentials", "sh", "-c", "(sleep 0.1 & echo $!)"]
    subprocess.run(orphan, check=True, capture_output=True, timeout=20)
    below = Path(f"/proc/{pause}/task/{pause}/children")
    wait_until(lambda: below.read_text().split() == [], "the orphan's end")
    time.sleep(0.05)
    assert alive(pause)
    os.kill(pause, signal.SIGUSR1)
    os.kill(pause, number)
    assert process.wait(20) == 0


def test_wrong_calls_are_refused() -> None:
    for words in ([], ["exec"], ["exec", "x", "/bin/true", "true"], ["dance", "2", "/bin/true", "true"]):
        result = subprocess.run([INIT, *words], capture_output=True, text=True, check=False, timeout=20)
        assert result.returncode == 125
        assert result.stderr.startswith("rpod-init: ")


def test_hello_tells_what_was_set_up() -> None:
    result = subprocess.run(
        [*IN_PID_NAMESPACE, "-niuC", INIT, "hello"], capture_output=True, text=True, check=True, timeout=20
    )
    said = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line.startswith("  "))
    assert "Hello from rpod!" in result.stdout
    assert "rpod run -it docker.io/library/debian bash" in result.stdout
    assert said["process"].startswith("1,")
    assert f"user ids     0 is {os.getuid()} outside" in result.stdout
    assert said["namespaces"] == "user, mnt, pid, net, ipc, uts, cgroup"
    assert said["network"] == "none"
    assert said["cgroup"] == "/"
    assert said["seccomp"] == "off"
    assert said["capabilities"].split()[0] in {"40", "41"}


@pytest.mark.skipif(SANITIZED, reason="the sanitizers' libraries are not in that root")
@pytest.mark.parametrize(
    ("mount", "words"),
    [
        ("mount -t overlay -o userxattr,lowerdir=low,upperdir=up,workdir=work overlay root", "overlay, writable"),
        ("fuse-overlayfs -o lowerdir=low,upperdir=up,workdir=work root", "fuse.fuse-overlayfs, writable"),
    ],
)
def test_hello_with_nothing_but_proc(tmp_path: Path, mount: str, words: str) -> None:
    """In a root of its own where there is only the program and /proc, on both drivers."""
    (tmp_path / "low" / "proc").mkdir(parents=True)
    shutil.copy(INIT, tmp_path / "low" / "hello")
    for name in ("up", "work", "root"):
        (tmp_path / name).mkdir()
    script = f"cd {tmp_path} && {mount} && mount -t proc proc root/proc && exec chroot root /hello hello"
    result = subprocess.run(
        ["unshare", "-rmpf", "sh", "-c", script], capture_output=True, text=True, timeout=20, check=False
    )
    if "fuse" in mount and not (shutil.which("fuse-overlayfs") and os.access("/dev/fuse", os.W_OK)):
        pytest.skip("there is no fuse-overlayfs here, or no access to /dev/fuse")
    if "wrong fs type" in result.stderr or "not permitted" in result.stderr:
        pytest.skip(f"this kernel cannot: {result.stderr.strip()}")
    assert result.returncode == 0, result.stderr
    assert words in result.stdout

"""A container against the process that joins it, its interpreter and the caller's terminal."""

from __future__ import annotations

import hashlib
import os
import pty
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from support.shell import Rpod

# Looks at every process that it sees: whose program is it, can it be opened, can it be written?
WATCH = r"""
import os
seen = open("/seen", "a", buffering=1)
me = os.getpid()
while True:
    for pid in os.listdir("/proc"):
        if not pid.isdigit() or int(pid) in (1, me):
            continue
        for name in ("exe", "cwd", "root", "fd/3", "map_files", "mem", "environ", "maps"):
            try:
                where = os.readlink(f"/proc/{pid}/{name}") if name in ("exe", "cwd", "root", "fd/3") else name
            except OSError:
                continue
            if name == "exe":
                seen.write(f"exe {where}\n")
                for flags in (os.O_WRONLY, os.O_RDWR | os.O_APPEND, os.O_PATH):
                    try:
                        fd = os.open(f"/proc/{pid}/exe", flags)
                        if flags == os.O_PATH:
                            fd = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY)
                        seen.write(f"open {where}\n")
                        if not where.startswith("/bin/"):
                            os.write(fd, b"owned")
                            seen.write(f"written {where}\n")
                        os.close(fd)
                    except OSError:
                        pass
            elif name in ("cwd", "root", "fd/3") and not where.startswith(("/", "pipe:", "socket:", "anon")):
                seen.write(f"odd {name} {where}\n")
            elif name == "mem":
                try:
                    os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))
                    seen.write(f"mem {os.readlink(f'/proc/{pid}/exe')}\n")
                except OSError:
                    pass
"""


@pytest.fixture
def copied_interpreter(tmp_path: Path) -> list[str]:
    """rpod under an interpreter that belongs to the user, as pyenv and uv have it: a canary that could be written."""
    root = tmp_path / "python"
    (root / "bin").mkdir(parents=True)
    shutil.copy(os.path.realpath(sys.executable), root / "bin" / "python")
    paths = [str(Path(__file__).parents[2]), sysconfig.get_path("purelib")]
    code = f"import sys; sys.path[:0] = {paths!r}; from rootless.__main__ import main; main()"
    return [str(root / "bin" / "python"), "-P", "-c", code]


def digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "options", [[], ["--privileged"], ["--cap-add", "SYS_PTRACE"]], ids=["", "privileged", "ptrace"]
)
def test_the_interpreter_behind_exec_is_out_of_reach(
    safe: Rpod, probe: str, copied_interpreter: list[str], options: list[str]
) -> None:
    """CVE-2019-5736: whatever the container sees of the joining process is a sealed copy of the static init."""
    before = digest(copied_interpreter[0])
    safe.ok(
        "run", "-d", "--name", "target", "-v", "/usr:/usr:ro", *options, probe, "/usr/bin/python3", "-c", WATCH
    )  # fmt: skip
    for argv in (["true"], ["/proc/self/exe"], ["sh", "-c", "sleep 0.05"], ["-w", "/tmp", "pwd"]) * 5:
        flags = argv[:2] if argv[0] == "-w" else []
        subprocess.run(
            [*copied_interpreter, "exec", *flags, "target", *argv[len(flags) :]],
            env=safe.env, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    seen = set(safe.ok("exec", "target", "cat", "/seen").splitlines())
    assert not [line for line in seen if "python" in line and "/usr/bin/python" not in line], seen
    assert not [line for line in seen if line.startswith("written")], seen
    assert digest(copied_interpreter[0]) == before


def test_a_container_that_shares_a_pid_namespace_sees_only_the_sealed_copy(
    safe: Rpod, probe: str, copied_interpreter: list[str]
) -> None:
    before = digest(copied_interpreter[0])
    safe.ok("run", "-d", "--name", "target", "-v", "/usr:/usr:ro", probe, "/usr/bin/python3", "-c", WATCH)
    for network in ("none", "host", "slirp4netns", "container:target") * 3:
        subprocess.run(
            [*copied_interpreter, "run", "--rm", "--pid", "container:target", "--network", network, probe, "true"],
            env=safe.env, capture_output=True, timeout=30, check=False,
        )  # fmt: skip
    seen = set(safe.ok("exec", "target", "cat", "/seen").splitlines())
    assert not [line for line in seen if line.startswith(("mem", "open", "written")) and "tmp" in line], seen
    assert digest(copied_interpreter[0]) == before


# ---- terminals


class Screen:
    """A pseudo-terminal with a command on it."""

    def __init__(self, rpod: Rpod, *argv: str) -> None:
        from support.shell import program

        self.pid, self.master = pty.fork()
        if self.pid == 0:
            os.execve(program()[0], [*program(), *argv], rpod.env)

    def finish(self) -> bytes:
        """Everything that it printed, to its end."""
        out = b""
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                break
            if not data:
                break
            out += data
        os.waitpid(self.pid, 0)
        os.close(self.master)
        return out


INJECT = """
import fcntl, os, sys, termios
for fd in range(3):
    for byte in b"touch owned\\n":
        try:
            fcntl.ioctl(fd, termios.TIOCSTI, bytes([byte]))
        except OSError as error:
            pass
print("done", os.ttyname(0) if os.isatty(0) else "no terminal")
"""


@pytest.mark.parametrize("options", [["-t"], ["-it"], []], ids=["t", "it", "pipes"])
def test_nothing_is_typed_into_the_callers_terminal(safe: Rpod, probe: str, options: list[str]) -> None:
    """TIOCSTI: the container's terminal is its own, and pipes are no terminal."""
    screen = Screen(safe, "run", "--rm", *options, "-v", "/usr:/usr:ro", probe, "python3", "-c", INJECT)
    time.sleep(0.01)
    out = screen.finish().decode()
    assert "done" in out
    assert ("/dev/" in out) == bool(options), out


OTHER_TERMINALS = """
mkdir /other && mount -t devpts -o newinstance,ptmxmode=0666 devpts /other && umount -l /dev/pts || exit 1
ln -s /other/ptmx /dev/pts/ptmx; echo faked > /dev/pts/0; touch /ready; sleep 1000
"""


def test_the_terminal_of_exec_is_the_masters_other_end(safe: Rpod, plain: str) -> None:
    """CVE-2025-52565: a path to a terminal may lead to something else by the time it is opened."""
    words = ("--cap-add", "SYS_ADMIN", "--network", "none", plain, "sh", "-c", OTHER_TERMINALS)
    safe.ok("run", "-d", "--name", "target", *words)
    wait_for(lambda: safe("exec", "target", "test", "-e", "/ready").code == 0)
    out = Screen(safe, "exec", "-t", "target", "sh", "-c", "test -t 0 && test -t 1 && echo terminal").finish()
    assert out.split() == [b"terminal"]


def test_passthrough_hands_no_keyboard_over(safe: Rpod, probe: str) -> None:
    words = ("-v", "/usr:/usr:ro", "--log-driver", "passthrough", probe, "python3", "-c", INJECT)
    out = Screen(safe, "run", "--rm", *words).finish()
    assert b"--log-driver passthrough-tty" in out, out
    assert b"touch owned" not in out and b"done" not in out, out


def test_a_program_that_prints_escape_sequences_into_tables(safe: Rpod, plain: str) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\r\n"
    safe.ok(
        "run",
        "-d",
        "--name",
        "shouter",
        "--label",
        f"x={evil}",
        "-e",
        f"X={evil}",
        plain,
        "sh",
        "-c",
        f": {evil!r}; {evil}sleep 1000",
    )
    for argv in (
        ["ps", "-a", "--no-trunc"], ["ps", "--format", "{{.Command}} {{.Labels}}"], ["inspect", "shouter"],
        ["inspect", "--format", "{{.Config.Env}}", "shouter"], ["top", "shouter"],
        ["ps", "--filter", f"label=x={evil}"],
        ["stop", evil], ["run", evil], ["exec", "shouter", evil], ["rm", evil], ["images", evil], ["logs", evil],
        ["run", "--rm", "--name", evil, plain], ["run", "-w", evil, plain], ["run", "-u", evil, plain, "true"],
        ["run", "--network", evil, plain], ["run", "-v", f"{evil}:/x", plain], ["--no-such" + evil], [evil],
        ["run", "--rm", plain, evil],
    ):  # fmt: skip
        out = Screen(safe, *argv).finish()
        assert b"\x1b]0" not in out, (argv, out)
        assert b"\x1b[2J" not in out, (argv, out)
        assert b"Traceback" not in out, (argv, out)
        assert b"bug in rpod" not in out, (argv, out)
    wait_for(lambda: True)

"""rpod as a service of systemd's: READY=1, the main process, and sockets that were opened before."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shell import program, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Done, Rpod

# The host's Python inside a container of busybox.
PYTHON = tuple(word for folder in ("/usr", "/lib", "/lib64") for word in ("-v", f"{folder}:{folder}:ro"))
SAY = """
import os, socket, sys, time
sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sock.sendto(sys.argv[1].encode(), os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""


class Manager:
    """The service manager's end of sd_notify."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "notify")
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.settimeout(20)

    def heard(self) -> list[str]:
        return self.socket.recv(4096).decode().split("\n")

    def fill(self) -> int:
        """Take all the room that there is for messages, so that whoever sends one waits; how many it took."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            for count in itertools.count():
                try:
                    sender.sendto(b"STATUS=full", self.path)
                except BlockingIOError:
                    return count
        raise AssertionError("there is always room")

    def silent(self) -> bool:
        self.socket.settimeout(0.5)
        try:
            return not self.heard()
        except TimeoutError:
            return True
        finally:
            self.socket.settimeout(20)


@pytest.fixture
def manager(runtime_base: Path, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(tmp_path)
    yield made
    made.socket.close()


def run(rpod: Rpod, manager: Manager, *words: str) -> Done:
    done = rpod("run", "-d", "--name", "web", *words, env={"NOTIFY_SOCKET": manager.path})
    assert done.code == 0, done
    return done


def parent(pid: str) -> str:
    """The parent's pid (PPid of proc(5)'s status)."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line.split()[1] for line in lines if line.startswith("PPid:"))


def main_pid(rpod: Rpod) -> str:
    return "MAINPID=" + rpod.ok("inspect", "--format", "{{.State.ConmonPid}}", "web")


def test_conmon_is_ready_when_the_program_runs(rpod: Rpod, image: str, manager: Manager) -> None:
    run(rpod, manager, "--sdnotify", "conmon", image, "sh", "-c", "test -z $NOTIFY_SOCKET && sleep 1000")
    assert manager.heard() == [main_pid(rpod), "READY=1"]
    assert rpod.ok("inspect", "--format", "{{.State.Status}}", "web") == "running", "it has no NOTIFY_SOCKET"


def test_the_main_process_is_systemds_child_when_it_is_told_of_it(rpod: Rpod, image: str, manager: Manager) -> None:
    count = manager.fill()
    options = ("--name", "web", "--sdnotify", "conmon", "--cgroups", "split")
    argv = [*program(), "run", "-d", *options, image, "sleep", "1000"]
    env = {**rpod.env, "NOTIFY_SOCKET": manager.path}
    with subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as running:
        wait_for(lambda: rpod("inspect", "--format", "{{.State.Status}}", "web").out == "running\n")
        waits = running.poll() is None
        group = Path(f"/proc/{running.pid}/cgroup").read_text().strip()
        above = parent(main_pid(rpod).removeprefix("MAINPID="))
        ancestors = {above, parent(above)}
        for _ in range(count):
            manager.heard()
        assert manager.heard() == [main_pid(rpod), "READY=1"]
    assert waits
    assert group.endswith("/supervisor"), "a cgroup with processes of its own cannot limit the container's"
    assert str(running.pid) not in ancestors
    assert running.returncode == 0


def test_in_the_foreground_this_command_stays_the_main_process(rpod: Rpod, image: str, manager: Manager) -> None:
    env = {"NOTIFY_SOCKET": manager.path}
    assert rpod("run", "--rm", "--sdnotify", "conmon", image, "true", env=env).code == 0
    assert manager.heard() == ["READY=1"]


@pytest.mark.parametrize("user", [("--user", "0"), ("--user", "1000"), ("--userns", "keep-id")])
def test_a_program_says_itself_that_it_is_ready(
    rpod: Rpod, image: str, manager: Manager, user: tuple[str, str]
) -> None:
    words = "STATUS=half\nMAINPID=1\nREADY=1\nFDSTORE=1"
    run(rpod, manager, *user, *PYTHON, image, "/usr/bin/python3", "-c", SAY, words)
    heard = sorted([manager.heard(), manager.heard()])  # a quick program speaks first, which systemd does not mind
    said = ["STATUS=half", "READY=1", ""]
    assert heard == [[main_pid(rpod)], said], "which process and which descriptors is not its business"


def test_ready_as_soon_as_it_is_healthy(rpod: Rpod, image: str, manager: Manager) -> None:
    health = ("--health-cmd", "test -e /well", "--health-interval", "200ms")
    run(rpod, manager, "--sdnotify", "healthy", *health, image, "sleep", "1000")
    assert manager.heard() == [main_pid(rpod)]
    assert manager.silent()
    rpod.ok("exec", "web", "touch", "/well")
    assert manager.heard() == ["READY=1"]
    assert "health" in rpod.fails("create", "--sdnotify", "healthy", image)
    assert "pray" in rpod.fails("create", "--sdnotify", "pray", image)


def test_ignore(rpod: Rpod, image: str, manager: Manager) -> None:
    run(rpod, manager, "--sdnotify", "ignore", "--env-host", image, "sh", "-c", "test -z $NOTIFY_SOCKET && sleep 1000")
    assert manager.silent()
    assert rpod.ok("inspect", "--format", "{{.State.Status}}", "web") == "running"


def test_a_restart_by_policy_tells_the_new_main_process(rpod: Rpod, image: str, manager: Manager) -> None:
    options = ("--sdnotify", "conmon", "--restart", "on-failure:1")
    script = "test -e /again && exec sleep 1000; touch /again; until test -e /go; do sleep 0.1; done; exit 1"
    run(rpod, manager, *options, image, "sh", "-c", script)
    last = main_pid(rpod)
    assert manager.heard() == [last, "READY=1"]
    count = manager.fill()
    rpod.ok("exec", "web", "touch", "/go")
    wait_for(lambda: rpod.ok("inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "web") == "1 running")
    above = parent(main_pid(rpod).removeprefix("MAINPID="))
    for _ in range(count):
        manager.heard()
    assert manager.heard() == [main_pid(rpod), "READY=1"]
    assert above != last.removeprefix("MAINPID="), "which is a subreaper"


ACCEPT = """
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()), (os.environ["LISTEN_PID"], os.getpid())
assert (os.environ["LISTEN_FDS"], os.environ["LISTEN_FDNAMES"]) == ("1", "web")
assert sorted(map(int, os.listdir("/proc/self/fd")))[:4] == [0, 1, 2, 3]
client, _ = socket.socket(fileno=3).accept()
client.sendall(b"hello from fd 3")
"""


# As systemd starts a service: the socket is descriptor 3, LISTEN_PID is the program's own.
ACTIVATE = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("options", [(), ("--init",), ("-d",)])
def test_socket_activation(rpod: Rpod, image: str, options: tuple[str, ...]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        words = ("run", "--rm", "--name", "web", *options, *PYTHON, image, "/usr/bin/python3", "-c", ACCEPT)
        process = subprocess.Popen(
            [sys.executable, "-c", ACTIVATE, str(listener.fileno()), *program(), *words],
            env={**rpod.env, "LISTEN_FDS": "1", "LISTEN_FDNAMES": "web"},
            pass_fds=(listener.fileno(),),
        )
        with socket.create_connection(listener.getsockname(), timeout=30) as client:
            assert client.recv(100) == b"hello from fd 3"
        assert process.wait(20) == 0


def test_descriptors_are_handed_on_and_to_nobody_else(rpod: Rpod, image: str) -> None:
    read_end, write_end = os.pipe()
    process = rpod.start(
        *(
            "run",
            "-d",
            "--name",
            "web",
            "--preserve-fds",
            "1",
            image,
            "sh",
            "-c",
            "echo mine >&3; exec 3>&-; sleep 1000",
        ),
        preexec_fn=lambda: os.dup2(write_end, 3, inheritable=True),
        close_fds=False,
    )
    assert process.wait(20) == 0
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        assert pipe.read() == b"mine\n", "its end is seen while the container runs: nobody else holds the pipe"
    assert "descriptor 3" in rpod.fails("run", "--rm", "--preserve-fds", "1", image, "true")

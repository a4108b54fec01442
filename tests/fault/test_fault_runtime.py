"""Processes killed and stopped under a container: ps tells the truth, rm -f works, nothing leaks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.leaks import Leaks
from support.shell import program, wait_for

from rootless.kernel import process

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Done, Rpod

ANSWER_S = 10.0


def answer(rpod: Rpod, *args: str, code: int = 0) -> str:
    """Standard output of a command that answers within the promised time, with ``code``."""
    begin = time.monotonic()
    done = rpod(*args)
    assert time.monotonic() - begin < ANSWER_S, done
    assert_words(done)
    assert done.code == code, done
    return done.out.strip()


def assert_words(done: Done) -> None:
    """What it said is for people."""
    assert "Traceback" not in done.err, done
    assert "bug in rpod" not in done.err, done


def run_record(rpod: Rpod, name: str) -> dict[str, object]:
    """state.json of a container."""
    ident = rpod.ok("inspect", "-f", "{{.Id}}", name)
    loaded: dict[str, object] = json.loads((rpod.data / "containers" / ident / "state.json").read_text())
    return loaded


def status(rpod: Rpod, name: str) -> str:
    """The status that ps shows, "" if it shows none."""
    return answer(rpod, "ps", "-a", "--filter", f"name=^{name}$", "--format", "{{.Status}}")


def victim(rpod: Rpod, name: str, who: str) -> int:
    """The pid of one process of the map."""
    record = run_record(rpod, name)
    if who == "init":
        return int(str(record["pid"]))
    if who == "monitor":
        return int(str(record["monitor_pid"]))
    helpers = record["helpers"]
    assert isinstance(helpers, list)
    for pid, _ in helpers:
        with open(f"/proc/{pid}/comm") as file:
            if file.read().strip() == who[:15]:
                return int(pid)
    raise AssertionError(f"no {who} among {helpers}")


# ---- each process of the map


@pytest.mark.parametrize("who", ["init", "monitor"])
def test_the_end_of_a_process_that_holds_the_container(checked: Rpod, image: str, who: str) -> None:
    checked.ok("run", "-d", "--name", "web", image, "sleep", "1000")
    init = victim(checked, "web", "init")
    os.kill(victim(checked, "web", who), signal.SIGKILL)
    wait_for(lambda: process.start_ticks(init) == 0, 5, "the end of the program")
    assert status(checked, "web").startswith("Exited (137)")
    assert answer(checked, "ps", "-q") == ""
    assert answer(checked, "wait", "web") == "137"
    answer(checked, "start", "web")
    assert status(checked, "web").startswith("Up")
    answer(checked, "rm", "-f", "-t", "0", "web")


@pytest.mark.parametrize("who", ["init", "monitor"])
def test_the_same_under_rm(checked: Rpod, image: str, who: str) -> None:
    leaks = Leaks(checked)
    checked.ok("run", "-d", "--rm", "--name", "web", image, "sleep", "1000")
    os.kill(victim(checked, "web", who), signal.SIGKILL)
    wait_for(lambda: status(checked, "web") == "", 5, "the removal")
    leaks.assert_none()


@pytest.mark.parametrize("who", ["slirp4netns", "fuse-overlayfs"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_the_end_of_a_helper(checked: Rpod, image: str, who: str, how: signal.Signals) -> None:
    checked.ok("--storage-driver", "fuse-overlayfs", "run", "-d", "--name", "web", image, "sleep", "1000")
    pid = victim(checked, "web", who)
    os.kill(pid, how)
    assert status(checked, "web").startswith("Up"), "the program goes on"
    if how == signal.SIGKILL:
        done = checked("exec", "web", "true", timeout_s=20)
        assert_words(done)
        assert done.code == 0 if who == "slirp4netns" else "root cannot be read" in done.err, done
    answer(checked, "rm", "-f", "-t", "0", "web")


@pytest.mark.parametrize("options", [["--rm"], []])
def test_the_end_of_the_client_in_the_foreground(checked: Rpod, image: str, options: list[str]) -> None:
    """The container goes on, as with Podman, and its monitor cleans up."""
    leaks = Leaks(checked)
    client = checked.start("run", *options, "--name", "web", image, "sleep", "3", stdin=subprocess.DEVNULL)
    wait_for(lambda: "Up" in status(checked, "web"), 10, "the start")
    client.kill()
    client.wait()
    assert status(checked, "web").startswith("Up")
    assert answer(checked, "wait", "web") == "0" if not options else True
    wait_for(lambda: not status(checked, "web").startswith("Up"), 8, "the end")
    if options:
        leaks.assert_none()
    else:
        assert status(checked, "web").startswith("Exited (0)")


@pytest.mark.parametrize("who", ["init", "monitor"])
def test_a_stopped_process_does_not_stop_ps_and_rm(checked: Rpod, image: str, who: str) -> None:
    checked.ok("run", "-d", "--name", "web", image, "sleep", "1000")
    os.kill(victim(checked, "web", who), signal.SIGSTOP)
    assert status(checked, "web").startswith("Up")
    begin = time.monotonic()
    done = checked("rm", "-f", "-t", "0", "web", timeout_s=40)
    assert done.code == 0, done
    assert time.monotonic() - begin < 15


def test_every_process_at_once(checked: Rpod, image: str) -> None:
    checked.ok("--storage-driver", "fuse-overlayfs", "run", "-d", "--name", "web", image, "sleep", "1000")
    record = run_record(checked, "web")
    helpers = record["helpers"]
    assert isinstance(helpers, list)
    for pid in (record["monitor_pid"], record["pid"], *(pair[0] for pair in helpers)):
        try:
            os.kill(int(str(pid)), signal.SIGKILL)
        except ProcessLookupError:
            pass  # another one's death took it along
    assert status(checked, "web").startswith("Exited (137)")
    answer(checked, "rm", "web")


# ---- the client, killed at swept system calls and moments


SWEPT = [
    ("openat", range(150, 420, 18)),
    ("mkdir", range(1, 8)),
    ("symlink", range(1, 3)),
    ("rename", range(1, 8, 2)),
    ("flock", range(1, 6)),
    ("pipe2", range(1, 4)),
    ("clone", range(1, 3)),
    ("fork", range(1, 3)),
    ("socketpair", range(1, 3)),
    ("poll", range(1, 3)),
    ("unlink", range(1, 6, 2)),
    ("wait4", range(1, 3)),
]


@pytest.mark.parametrize("options", [["--rm"], []], ids=["rm", "kept"])
@pytest.mark.parametrize(("syscall", "numbers"), SWEPT, ids=[name for name, _ in SWEPT])
def test_kill_the_client_at_a_system_call(
    rpod: Rpod, image: str, options: list[str], syscall: str, numbers: range
) -> None:
    """Only the client is traced (newuidmap could not be); the next command finishes what it left."""
    leaks = Leaks(rpod)
    for number in numbers:
        inject = ["-e", f"trace={syscall}", "-e", f"inject={syscall}:signal=KILL:when={number}"]
        argv = ["strace", "-qq", "-o", "/dev/null", *inject, *program(), "run", *options, image, "true"]
        done = subprocess.run(argv, env=rpod.env, capture_output=True, timeout=30, check=False)
        finish(rpod)
        leaks.assert_none()
        if done.returncode == 0:
            break  # the run has fewer of these calls


def finish(rpod: Rpod) -> None:
    """What a user does next: look, remove what is left, prune."""
    wait_for(lambda: answer(rpod, "ps", "-q") == "", 10, "the end of what went on")
    for ident in answer(rpod, "ps", "-aq", "--no-trunc").split():
        answer(rpod, "rm", "-f", ident)
    answer(rpod, "system", "prune", "--force")


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_kill_the_client_after_a_while(rpod: Rpod, image: str, verb: str) -> None:
    leaks = Leaks(rpod)
    for delay_ms in range(10, 170, 24):
        if verb == "exec":
            rpod.ok("run", "-d", "--name", "web", image, "sleep", "1000")
            inner = Leaks(rpod)
            client = rpod.start("exec", "web", "sleep", "2", stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        else:
            client = rpod.start("run", "--rm", image, "true", stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(delay_ms / 1000)
        client.kill()
        client.wait()
        if verb == "exec":
            inner.assert_none()
        finish(rpod) if verb == "run" else answer(rpod, "rm", "-f", "-t", "0", "web")
    leaks.assert_none()


# ---- the runtime directory


def test_a_logout_deletes_the_runtime_directory_under_a_live_container(checked: Rpod, image: str) -> None:
    checked.ok("run", "-d", "--name", "web", image, "sleep", "1000")
    record = run_record(checked, "web")
    shutil.rmtree(checked.runtime / "rpod")
    assert status(checked, "web").startswith("Up"), "it runs, and looking must not kill it"
    assert process.start_ticks(int(str(record["pid"]))) == record["start_ticks"]
    assert answer(checked, "exec", "web", "echo", "inside") == "inside"
    assert_words(checked("attach", "web"))
    answer(checked, "start", "web")
    assert run_record(checked, "web")["pid"] == record["pid"], "no second program on the same files"
    answer(checked, "rm", "web", code=2)
    answer(checked, "stop", "-t", "0", "web")
    assert status(checked, "web").startswith("Exited (137)")
    answer(checked, "start", "web")
    shutil.rmtree(checked.runtime / "rpod")
    answer(checked, "rm", "-f", "-t", "0", "web")


def test_a_reboot(checked: Rpod, image: str) -> None:
    """Everything is gone but the records, whose boot id is another one's."""
    checked.ok("run", "-d", "--name", "web", "--restart", "on-failure", image, "sleep", "1000")
    checked.ok("run", "-d", "--name", "gone", "--rm", image, "sleep", "1000")
    records = {name: run_record(checked, name) for name in ("web", "gone")}
    idents = {name: checked.ok("inspect", "-f", "{{.Id}}", name) for name in records}
    for name, record in records.items():
        os.kill(int(str(record["monitor_pid"])), signal.SIGKILL)
        wait_for(lambda record=record: process.start_ticks(int(str(record["pid"]))) == 0, 5, "the end")
        path = checked.data / "containers" / idents[name] / "state.json"
        os.rmdir(str(record["cgroup"]))
        path.write_text(json.dumps({**record, "boot_id": "0" * 36, "pid": os.getpid(), "monitor_pid": os.getpid()}))
    shutil.rmtree(checked.runtime / "rpod")
    assert status(checked, "web").startswith("Exited (255)")
    assert status(checked, "gone") == ""
    answer(checked, "start", "web")
    assert status(checked, "web").startswith("Up")


def test_a_recorded_pid_that_is_another_process_now(checked: Rpod, image: str) -> None:
    checked.ok("run", "-d", "--name", "web", image, "sleep", "1000")
    record = run_record(checked, "web")
    ident = checked.ok("inspect", "-f", "{{.Id}}", "web")
    os.kill(int(str(record["monitor_pid"])), signal.SIGKILL)
    wait_for(lambda: process.start_ticks(int(str(record["pid"]))) == 0, 5, "the end")
    innocent = subprocess.Popen(["sleep", "1000"])
    try:
        changed = {**record, "pid": innocent.pid, "monitor_pid": innocent.pid, "helpers": [[innocent.pid, 1]]}
        (checked.data / "containers" / ident / "state.json").write_text(json.dumps(changed))
        assert status(checked, "web").startswith("Exited")
        answer(checked, "stop", "web")
        answer(checked, "kill", "web", code=125)
        answer(checked, "exec", "web", "true", code=125)
        answer(checked, "rm", "-f", "web")
        assert innocent.poll() is None
    finally:
        innocent.kill()
        innocent.wait()


def test_a_lock_that_a_stopped_stranger_holds(checked: Rpod, image: str) -> None:
    """A verb's lock on one container delays nobody else."""
    checked.ok("create", "--name", "held", image, "true")
    ident = checked.ok("inspect", "-f", "{{.Id}}", "held")
    folder = checked.runtime / "rpod" / "containers" / ident
    holder = subprocess.Popen(["flock", str(folder / "lock"), "sleep", "1000"])
    wait_for((folder / "lock").exists, 5)
    holder.send_signal(signal.SIGSTOP)
    try:
        assert status(checked, "held").startswith("Created")
        answer(checked, "run", "--rm", image, "true")
        answer(checked, "start", "held")
        answer(checked, "rm", "-f", "held")
    finally:
        holder.send_signal(signal.SIGCONT)
        subprocess.run(["kill", "-9", str(holder.pid)], check=False)
        holder.wait()
        for line in checked.processes():
            assert "flock" not in line


# ---- many at once


def test_thirty_two_at_once(checked: Rpod, image: str) -> None:
    leaks = Leaks(checked)
    for _ in range(5):
        clients = [
            checked.start("run", "--rm", image, "echo", str(n), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for n in range(32)
        ]
        for number, client in enumerate(clients):
            out, _ = client.communicate(timeout=60)
            assert (client.returncode, out) == (0, f"{number}\n".encode())
    leaks.assert_none()


def test_verbs_against_each_other(checked: Rpod, image: str) -> None:
    leaks = Leaks(checked)
    for number in range(5):
        options = ["--rm"] if number % 2 else []
        checked.ok("run", "-d", "--name", "web", *options, image, "sleep", "1000")
        verbs = [
            ["stop", "-t", "1", "web"], ["kill", "web"], ["rm", "-f", "-t", "0", "web"], ["exec", "web", "sleep", "3"],
            ["rm", "-f", "-t", "0", "web"], ["ps", "-a"], ["start", "web"], ["restart", "-t", "0", "web"],
        ]  # fmt: skip
        clients = [checked.start(*v, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for v in verbs]
        for verb, client in zip(verbs, clients, strict=True):
            out, _ = client.communicate(timeout=30)
            assert b"Traceback" not in out, (verb, out)
            assert b"bug in rpod" not in out, (verb, out)
            assert client.returncode in (0, 1, 2, 125, 137), (verb, client.returncode, out)
        answer(checked, "rm", "-f", "-i", "-t", "0", "web")
        leaks.assert_none()


def test_one_name_for_eight(checked: Rpod, image: str) -> None:
    clients = [
        checked.start("create", "--name", "only", image, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    codes = [client.wait(30) for client in clients]
    for client in clients:
        assert client.stdout is not None
        assert client.stderr is not None
        assert b"Traceback" not in client.stderr.read()
        client.stdout.close()
        client.stderr.close()
    assert sorted(codes) == [0] + [125] * 7
    assert len(answer(checked, "ps", "-aq").split()) == 1


# ---- what is missing


def test_a_port_that_is_taken(checked: Rpod, image: str) -> None:
    leaks = Leaks(checked)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for options in (["--rm"], ["--rm", "-d"]):
            error = checked.fails("run", *options, "-p", f"127.0.0.1:{port}:80", image, "sleep", "1000")
            assert str(port) in error
            leaks.assert_none()
        checked.ok("create", "--name", "web", "-p", f"127.0.0.1:{port}:80", image, "sleep", "1000")
        assert str(port) in checked.fails("start", "web")
    answer(checked, "start", "web")


def test_newuidmap_that_is_not_setuid(checked: Rpod, image: str, tmp_path: Path) -> None:
    for name in ("newuidmap", "newgidmap"):
        found = shutil.which(name)
        assert found
        shutil.copy(found, tmp_path / name)
        (tmp_path / name).chmod(0o755)
    leaks = Leaks(checked)
    done = checked("run", "--rm", image, "true", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert_words(done)
    assert done.code == 125
    assert "newuidmap" in done.err
    assert "hint:" in done.err
    leaks.assert_none()


def test_newuidmap_that_hangs(checked: Rpod, image: str, tmp_path: Path) -> None:
    """The user interrupts: nothing is left."""
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\nexec sleep 5\n")
        (tmp_path / name).chmod(0o755)
    leaks = Leaks(checked)
    env = {**checked.env, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    client = subprocess.Popen([*program(), "run", "--rm", image, "true"], env=env, stderr=subprocess.DEVNULL)
    time.sleep(0.7)
    client.kill()
    client.wait()
    finish(checked)
    leaks.assert_none()


@pytest.mark.parametrize("limit", [8, 10, 12, 14, 16, 18, 20, 22, 24, 28])
def test_too_few_descriptors(checked: Rpod, image: str, limit: int) -> None:
    leaks = Leaks(checked)
    done = subprocess.run(
        ["prlimit", f"--nofile={limit}:{limit}", *program(), "run", "--rm", "-p", "127.0.0.1::80", image, "true"],
        env=checked.env, capture_output=True, timeout=30, check=False,
    )  # fmt: skip
    assert b"Traceback" not in done.stderr, done.stderr
    assert b"bug in rpod" not in done.stderr, done.stderr
    assert done.returncode in (0, 125), done
    finish(checked)
    leaks.assert_none()

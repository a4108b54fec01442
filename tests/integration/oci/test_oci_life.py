"""rpod-runtime as engines call it: every state and verb, exec, what it prints of itself, and what lies beside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import oci
from support.oci import Runtime, changed, shell
from support.shell import wait_for
from test_imports import ALLOWED as CHEAP

pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")


def test_a_whole_life(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    bundle = oci.write(
        tmp_path / "b", shell(changed(spec, "annotations", {"a": "b"}), "trap 'exit 3' TERM; sleep 1000 & wait")
    )
    runtime.detached("create", "--bundle", str(bundle), "--pid-file", str(tmp_path / "pid"), "c")
    state = runtime.state("c")
    assert state["status"] == "created"
    assert state["id"] == "c" and state["bundle"] == str(bundle) and state["annotations"] == {"a": "b"}
    assert int((tmp_path / "pid").read_text()) == state["pid"]
    assert "exists already" in runtime("create", "--bundle", str(bundle), "c").err
    runtime.ok("start", "c")
    assert runtime.status("c") == "running"
    assert runtime.ok("exec", "c", "sh", "-c", "hostname; cat /proc/1/comm").split() == ["box", "sh"]
    assert state["pid"] in json.loads(runtime.ok("ps", "--format", "json", "c"))
    assert "sleep 1000" in runtime.ok("ps", "c")
    assert [each["id"] for each in json.loads(runtime.ok("list", "-f", "json"))] == ["c"]
    wait_for(lambda: "1000" in runtime.ok("ps", "c"), what="the shell has its trap")
    runtime.ok("kill", "c")
    wait_for(lambda: runtime.status("c") == "stopped", what="the container stops")
    assert runtime.state("c")["pid"] == 0
    runtime.ok("delete", "c")
    assert "does not exist" in runtime("state", "c").err


VERBS = {
    "start": ("start", "c"),
    "kill": ("kill", "c", "KILL"),
    "kill all": ("kill", "--all", "c", "KILL"),
    "delete": ("delete", "c"),
    "exec": ("exec", "c", "true"),
    "pause": ("pause", "c"),
    "resume": ("resume", "c"),
    "ps": ("ps", "c"),
    "state": ("state", "c"),
    "update": ("update", "--resources", "-", "c"),
}
# runtime.md, "Operations": start only what is created, kill what is created or running, delete what is stopped.
ALLOWED = {
    "created": {"start", "kill", "kill all", "exec", "pause", "ps", "state", "update"},
    "running": {"kill", "kill all", "exec", "pause", "ps", "state", "update"},
    "paused": {"kill", "kill all", "resume", "ps", "state", "update"},
    "stopped": {"delete", "kill all", "state"},
}


@pytest.mark.parametrize("status", ALLOWED)
def test_every_state_against_every_verb(runtime: Runtime, spec: dict[str, Any], tmp_path: Path, status: str) -> None:
    bundle = oci.write(tmp_path / "b", shell(spec, "sleep 1000"))
    for verb, argv in VERBS.items():
        runtime.detached("create", "--bundle", str(bundle), "c")
        if status != "created":
            runtime.ok("start", "c")
        if status == "paused":
            runtime.ok("pause", "c")
        if status == "stopped":
            runtime.ok("kill", "c", "KILL")
            wait_for(lambda: runtime.status("c") == "stopped", what="the container stops")
        assert runtime.status("c") == status
        done = runtime(*argv, stdin=b'{"unified": {"cgroup.max.depth": "9"}}')
        assert (done.code == 0) == (verb in ALLOWED[status]), (status, verb, done)
        if done.code:
            assert f"it is {status}" in done.err
        runtime("resume", "c")
        runtime("delete", "--force", "c")


def test_delete_force_of_nothing_is_no_error(runtime: Runtime) -> None:
    runtime.ok("delete", "--force", "nobody")
    assert runtime("delete", "nobody").code == 1


def test_kill_all_reaches_every_process(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    bundle = oci.write(tmp_path / "b", shell(spec, "sleep 1000 & sleep 1000 & trap : USR1; while :; do wait; done"))
    runtime.detached("run", "--detach", "--bundle", str(bundle), "c")
    wait_for(lambda: len(json.loads(runtime.ok("ps", "-f", "json", "c"))) == 3, what="three processes")
    runtime.ok("kill", "--all", "c", "USR1")  # ends the two sleeps, the shell traps it
    wait_for(lambda: len(json.loads(runtime.ok("ps", "-f", "json", "c"))) == 1, what="the shell alone")


def test_run_gives_the_programs_code_and_passes_signals(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    assert runtime.run(tmp_path / "b", shell(spec, "exit 7")).code == 7
    assert runtime.run(tmp_path / "b", shell(spec, "cat; kill -9 $$"), stdin=b"through").out == "through"
    oci.write(tmp_path / "b", shell(spec, "trap 'exit 5' INT; echo ready; while :; do sleep 0.05; done"))
    argv = [runtime.program, "--root", str(runtime.root), "run", "--bundle", str(tmp_path / "b"), "c"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 5


@pytest.mark.parametrize(
    ("args", "code", "words"), [(["nope"], 127, "executable file not found"), (["/etc/passwd"], 126, "denied")]
)
def test_a_program_that_is_not_there(
    runtime: Runtime, spec: dict[str, Any], tmp_path: Path, args: list[str], code: int, words: str
) -> None:
    done = runtime.run(tmp_path / "b", changed(spec, "process.args", args))
    assert done.code == code and words in done.err


def test_exec_by_options_and_by_file(running: Runtime, tmp_path: Path) -> None:
    assert running.ok("exec", "-e", "A=b", "--cwd", "/bin", "c", "sh", "-c", "echo $A $PWD") == "b /bin"
    assert running("exec", "c", "sh", "-c", "exit 9").code == 9
    assert running("exec", "c", "nope").code == 127
    assert running.ok("exec", "--cap", "NET_RAW", "c", "grep", "CapEff", "/proc/self/status").endswith(
        "0000000000002000"
    )
    process = tmp_path / "process.json"
    process.write_text(
        json.dumps(
            {"args": ["sh", "-c", "echo $X; umask"], "cwd": "/", "env": [oci.PATH, "X=file"], "user": {"umask": 0o77}}
        )
    )
    assert running.ok("exec", "--process", str(process), "c").split() == ["file", "0077"]
    process.write_text(json.dumps({"args": ["true"], "cwd": 5}))
    done = running("exec", "--process", str(process), "c")
    assert "process.cwd must be an absolute path, not 5" in done.err and "config.md, Process" in done.err


def test_exec_detached_writes_its_pid(running: Runtime, tmp_path: Path) -> None:
    running.detached("exec", "--detach", "--pid-file", str(tmp_path / "pid"), "c", "sleep", "500")
    pid = int((tmp_path / "pid").read_text())
    assert Path(f"/proc/{pid}/cmdline").read_bytes() == b"sleep\x00500\x00"
    assert pid in json.loads(running.ok("ps", "-f", "json", "c"))


def test_preserved_descriptors(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    oci.write(tmp_path / "b", shell(spec, "echo to descriptor three >&3"))
    run = [runtime.program, "--root", str(runtime.root), "run", "--preserve-fds", "1", "--bundle", str(tmp_path / "b")]
    argv = ["bash", "-c", f'exec "$@" 3>&{write_end} {write_end}>&-', "sh", *run, "c"]
    with open(read_end, "rb") as pipe:
        subprocess.run(argv, pass_fds=[write_end], check=True, timeout=60)
        os.close(write_end)
        assert pipe.read() == b"to descriptor three\n"
    assert "is not open" in runtime.run(tmp_path / "b", spec, "--preserve-fds", "7").err


def test_features_and_spec(runtime: Runtime, rootfs: Path, tmp_path: Path) -> None:
    told = json.loads(runtime.ok("features"))
    assert {"time", "cgroup"} <= set(told["linux"]["namespaces"]) and "rro" in told["mountOptions"]
    assert "SCMP_ACT_NOTIFY" in told["linux"]["seccomp"]["actions"]
    runtime.ok("spec", "--rootless", "--bundle", str(tmp_path))
    written = json.loads((tmp_path / "config.json").read_text())
    assert "exists already" in runtime("spec", "--bundle", str(tmp_path)).err
    written = changed(changed(written, "root.path", str(rootfs)), "process.terminal", False)
    assert runtime.run(tmp_path, shell(written, "hostname")).out == "rpod\n"


def test_run_loads_nothing_slow(program: str, runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    oci.write(tmp_path / "b", spec)
    script = (
        "import sys; before = set(sys.modules); from rootless.oci import main; code = main.run(sys.argv[1:]); "
        "print(*sorted(m for m in set(sys.modules) - before if not m.startswith('rootless'))); sys.exit(code)"
    )
    argv = ["--root", str(runtime.root), "run", "--bundle", str(tmp_path / "b"), "c"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *argv], capture_output=True, text=True, timeout=60, check=True
    )
    assert set(done.stdout.split()) <= CHEAP


def test_a_create_that_was_killed_is_deleted(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    """The hook keeps ``create`` busy while everything is there: directory, cgroup, init."""
    hook = {"path": "/bin/sh", "args": ["sh", "-c", f": > {tmp_path}/here; exec sleep 1000"]}
    oci.write(tmp_path / "b", changed(spec, "hooks", {"createRuntime": [hook]}))
    argv = [runtime.program, "--root", str(runtime.root), "create", "--bundle", str(tmp_path / "b"), "c"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, process_group=0) as process:
        wait_for((tmp_path / "here").exists, what="the hook runs")
        assert runtime.status("c") == "creating"
        assert "it is creating" in runtime("start", "c").err
        os.killpg(process.pid, signal.SIGKILL)
    assert "it is creating" in runtime("delete", "c").err
    runtime.ok("delete", "--force", "c")


def test_a_damaged_state_is_no_traceback(running: Runtime) -> None:
    state = running.root / "c" / "state.json"
    good = state.read_bytes()
    for data in (b"", b"[]", good[:20]):
        state.write_bytes(data)
        done = running("state", "c")
        assert done.code == 1 and "cannot be read" in done.err and "bug" not in done.err
    state.write_bytes(good)


def test_a_cgroup_of_others_is_left_alone(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    own = Path("/proc/self/cgroup").read_text().splitlines()[-1].removeprefix("0::")
    bundle = oci.write(tmp_path / "b", changed(shell(spec, "sleep 1000"), "linux.cgroupsPath", own))
    runtime.detached("run", "--detach", "--bundle", str(bundle), "c")
    assert json.loads(runtime.ok("ps", "-f", "json", "c")) == [runtime.state("c")["pid"]]
    assert "no cgroup of its own" in runtime("pause", "c").err
    runtime.ok("delete", "--force", "c")
    assert Path(f"/sys/fs/cgroup{own}").is_dir()  # and this test lives

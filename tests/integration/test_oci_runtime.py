"""rpod-runtime as engines call it: the states, every property beside crun, hooks, and what is refused by name."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import oci
from support.oci import Runtime, changed
from support.shell import wait_for
from test_imports import ALLOWED as CHEAP
from test_limits import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Done

pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    return oci.install(tmp_path_factory.mktemp("bin"))


@pytest.fixture(scope="session")
def rootfs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return oci.unpack(tmp_path_factory.mktemp("rootfs"))


@pytest.fixture
def runtime(program: str, runtime_base: Path) -> Iterator[Runtime]:
    own = Runtime(program, Path(tempfile.mkdtemp(prefix="o", dir=runtime_base)))
    before = cgroups()
    yield own
    for ident in own.ok("list", "-q").split():
        own("delete", "--force", ident)
    assert list(own.root.iterdir()) == []
    wait_for(lambda: cgroups() <= before, what=f"no cgroup left behind: {cgroups() - before}")


def cgroups() -> set[str]:
    """The cgroups of containers below and beside ours."""
    own = Path("/proc/self/cgroup").read_text().splitlines()[-1].removeprefix("0::")
    place = Path("/sys/fs/cgroup" + own).parent
    return {str(path) for path in place.glob("**/rpod-*")} if place.is_dir() else set()


@pytest.fixture
def spec(rootfs: Path) -> dict[str, Any]:
    return oci.document(rootfs)


def shell(spec: dict[str, Any], script: str) -> dict[str, Any]:
    return changed(spec, "process.args", ["sh", "-c", script])


# ---- the life of a container ----


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


# ---- exec ----


@pytest.fixture
def running(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> Runtime:
    bundle = oci.write(tmp_path / "b", shell(spec, "sleep 1000"))
    runtime.detached("run", "--detach", "--bundle", str(bundle), "c")
    return runtime


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


# ---- the terminal ----


@contextlib.contextmanager
def console(folder: Path) -> Iterator[socket.socket]:
    """A socket that takes the terminal, as an engine listens on one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "tty.sock"))
        listener.listen()
        listener.settimeout(30)
        yield listener


def receive(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    return fds[0]


def read_until(fd: int, word: bytes) -> bytes:
    data = b""
    while word not in data:
        assert select.select([fd], [], [], 30)[0], data
        data += os.read(fd, 4096)
    return data


def test_the_terminal_goes_to_the_console_socket(
    runtime: Runtime, spec: dict[str, Any], tmp_path: Path, runtime_base: Path
) -> None:
    spec = changed(changed(spec, "process.terminal", True), "process.consoleSize", {"height": 33, "width": 77})
    bundle = oci.write(tmp_path / "b", shell(spec, "stty size; echo two; test -c /dev/console && tty; sleep 1000"))
    with console(runtime_base) as listener:
        runtime.detached("create", "--bundle", str(bundle), "--console-socket", str(runtime_base / "tty.sock"), "c")
        master = receive(listener)
        runtime.ok("start", "c")
        assert read_until(master, b"/dev/pts/0").startswith(b"33 77\ntwo\n/dev/pts/0")
        process = {
            "terminal": True,
            "consoleSize": {"height": 10, "width": 110},
            "args": ["sh", "-c", "stty size; tty; exec sleep 100"],
            "cwd": "/",
            "env": [oci.PATH],
        }
        (tmp_path / "process").write_text(json.dumps(process))
        socket_path = str(runtime_base / "tty.sock")
        argv = ("exec", "--detach", "--console-socket", socket_path, "--process", str(tmp_path / "process"), "c")
        runtime.detached(*argv)
        second = receive(listener)
        text = read_until(second, b"/dev/pts/1")
        assert text.startswith(b"10 110\n")  # from the start, and ONLCR is off
        os.close(second)
    os.close(master)
    (runtime_base / "tty.sock").unlink()


def test_a_terminal_needs_somebody_to_hold_it(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    bundle = oci.write(tmp_path / "b", changed(spec, "process.terminal", True))
    assert "--console-socket" in runtime("create", "--bundle", str(bundle), "c").err
    oci.write(bundle, spec)
    assert "process.terminal is false" in runtime("create", "--bundle", str(bundle), "--console-socket", "/x", "c").err


# ---- hooks ----


def test_hooks_run_in_order_with_the_state(
    runtime: Runtime, spec: dict[str, Any], rootfs: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\nprintf "%s " "$1" >> {log}\ncat >> {log}\necho >> {log}\n')
    script.chmod(0o755)
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    hooks: dict[str, Any] = {kind: [{"path": str(script), "args": ["hook", kind]}] for kind in kinds}
    # Inside: the path is the container's. /bin/true does not read its standard input, and that is no error.
    hooks["startContainer"] = [{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state"]}]
    spec = changed(shell(spec, "cat /tmp/state"), "hooks", hooks)
    done = runtime.run(tmp_path / "b", spec)
    assert json.loads(done.out)["status"] == "created"
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [kind for kind, _ in lines] == kinds
    states = {kind: json.loads(text) for kind, text in lines}
    assert {states[kind]["status"] for kind in kinds[:3]} == {"creating"}
    assert (states["poststart"]["status"], states["poststop"]["status"]) == ("running", "stopped")
    assert len({state["pid"] for state in states.values()}) == 1 and states["prestart"]["pid"] > 1


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_fails_ends_the_container(
    runtime: Runtime, spec: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    stop = tmp_path / "stopped"
    hooks = {kind: [{"path": "/bin/false"}], "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f": > {stop}"]}]}
    done = runtime.run(tmp_path / "b", changed(shell(spec, "echo never"), "hooks", hooks))
    assert done.code == 1 and done.out == "" and f"the {kind} hook /bin/false ended with 1" in done.err
    assert runtime.ok("list", "-q") == ""
    assert kind == "createContainer" or stop.exists()


def test_a_hook_has_a_timeout(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    hook = {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}
    done = runtime.run(tmp_path / "b", changed(spec, "hooks", {"createRuntime": [hook]}))
    assert "did not end within 1 s" in done.err
    done = runtime.run(
        tmp_path / "b", changed(shell(spec, "echo on"), "hooks", {"poststart": [{"path": "/bin/false"}]})
    )
    assert done.code == 0 and "poststart" in done.err


# ---- beside crun: the same bundle, the same answer ----

PROPERTIES: dict[str, tuple[str, object, str]] = {
    "user": ("process.user", {"uid": 0, "gid": 0, "umask": 0o27}, "id; umask"),
    "cwd": ("process.cwd", "/var/www", "pwd"),
    "env": ("process.env", [oci.PATH, "A=1", "B=x y"], "echo $A $B"),
    "hostname": ("hostname", "other", "hostname"),
    "rlimits": ("process.rlimits", [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}], "ulimit -n; ulimit -Hn"),
    "capabilities": (
        "process.capabilities",
        {
            name: ["CAP_KILL", "CAP_NET_RAW"]
            for name in ("bounding", "effective", "permitted", "inheritable", "ambient")
        },
        "grep Cap /proc/self/status",
    ),
    "no caps": ("process.capabilities", {}, "grep Cap /proc/self/status"),
    "noNewPrivileges": ("process.noNewPrivileges", True, "grep NoNewPrivs /proc/self/status"),
    "oomScoreAdj": ("process.oomScoreAdj", 500, "cat /proc/self/oom_score_adj"),
    "readonly root": ("root.readonly", True, "touch /x 2>&1; touch /tmp/x && echo tmp"),
    "masked": ("linux.maskedPaths", ["/proc/version", "/etc"], "cat /proc/version; ls -A /etc"),
    "readonly paths": ("linux.readonlyPaths", ["/tmp", "/nowhere"], "touch /tmp/x 2>&1"),
    "sysctl": (
        "linux.sysctl",
        {"net.ipv4.ip_forward": "1", "kernel.shmmax": "4096"},
        "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax",
    ),
    "personality": ("linux.personality", {"domain": "LINUX32"}, "uname -m"),
    "propagation": ("linux.rootfsPropagation", "rshared", "grep ' / / \\|shared' /proc/self/mountinfo | wc -l"),
    "devices": (
        "linux.devices",
        [{"path": "/dev/mine", "type": "c", "major": 1, "minor": 3}],
        "test -c /dev/null && echo yes",
    ),
    "seccomp": (
        "linux.seccomp",
        {
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 39},
                {
                    "names": ["kill"],
                    "action": "SCMP_ACT_ERRNO",
                    "args": [{"index": 1, "value": 10, "op": "SCMP_CMP_EQ"}],
                },
            ],
        },
        "mkdir /tmp/d 2>&1; kill -USR1 $$ 2>&1; grep Seccomp: /proc/self/status",
    ),
}


@pytest.mark.parametrize("name", PROPERTIES)
def test_the_same_as_crun(runtime: Runtime, spec: dict[str, Any], tmp_path: Path, name: str) -> None:
    path, value, script = PROPERTIES[name]
    spec = changed(shell(spec, script), path, value)
    other = Runtime("crun", runtime.root / "crun")
    ours, theirs = runtime.run(tmp_path / "b", spec), other.run(tmp_path / "b", spec)
    shutil.rmtree(other.root, ignore_errors=True)
    assert theirs.code in (0, 1), theirs
    assert (ours.out, ours.code) == (theirs.out, theirs.code), (ours, theirs)


MOUNTS: dict[str, tuple[dict[str, object], str]] = {
    "tmpfs": (
        {"type": "tmpfs", "source": "t", "options": ["size=8k", "mode=700", *oci.CLOSED]},
        "grep ' /m ' /proc/mounts | cut -d' ' -f3,4; stat -c %a /m",
    ),
    "bind": ({"type": "none", "source": "SOURCE", "options": ["bind"]}, "cat /m/file; touch /m/new && echo made"),
    "bind ro": ({"type": "bind", "source": "SOURCE", "options": ["bind", "ro"]}, "cat /m/file; touch /m/new 2>&1"),
    "rbind rro": ({"type": "bind", "source": "SOURCE", "options": ["rbind", "rro"]}, "touch /m/new 2>&1"),
    "file": ({"type": "bind", "source": "SOURCE/file", "options": ["bind", "nosuid", "noexec"]}, "cat /m"),
    "private": ({"type": "bind", "source": "SOURCE", "options": ["rbind", "rprivate"]}, "cat /m/file"),
    "copy up": (
        {"type": "tmpfs", "source": "t", "options": ["tmpcopyup"], "destination": "/var"},
        "cat /var/www/index.html",
    ),
    "mqueue": (
        {"type": "mqueue", "source": "mqueue", "options": oci.CLOSED},
        "grep ' /m ' /proc/mounts | cut -d' ' -f3",
    ),
    "sysfs": ({"type": "sysfs", "source": "sysfs", "options": ["ro", *oci.CLOSED]}, "ls /m"),
}


@pytest.mark.parametrize("name", MOUNTS)
def test_the_same_mount_as_crun(runtime: Runtime, spec: dict[str, Any], tmp_path: Path, name: str) -> None:
    mount, script = MOUNTS[name]
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("content\n")
    mount = {"destination": "/m", **mount, "source": str(mount["source"]).replace("SOURCE", str(source))}
    spec["mounts"].append(mount)
    other = Runtime("crun", runtime.root / "crun")
    outputs: list[Done] = []
    for each in (runtime, other):
        outputs.append(each.run(tmp_path / "b", shell(spec, script)))
        (source / "new").unlink(missing_ok=True)
    shutil.rmtree(other.root, ignore_errors=True)
    assert (outputs[0].out, outputs[0].code) == (outputs[1].out, outputs[1].code), outputs


# ---- what crun 1.8 does not have ----


def test_a_time_namespace_with_offsets(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    spec["linux"]["namespaces"].append({"type": "time"})
    spec["linux"]["timeOffsets"] = {"boottime": {"secs": 864000}, "monotonic": {"secs": 1000, "nanosecs": 5}}
    done = runtime.run(tmp_path / "b", shell(spec, "cat /proc/uptime; cat /proc/self/timens_offsets"))
    uptime = float(done.out.split()[0])
    assert uptime > 864000 + float(Path("/proc/uptime").read_text().split()[0]) - 60
    assert done.out.split("\n")[1].split() == ["monotonic", "1000", "5"]
    oci.write(tmp_path / "b", shell(spec, "sleep 1000"))
    runtime.detached("run", "--detach", "--bundle", str(tmp_path / "b"), "c")
    assert float(runtime.ok("exec", "c", "cat", "/proc/uptime").split()[0]) > 864000


def test_scheduler_and_priorities(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    spec["process"]["scheduler"] = {"policy": "SCHED_BATCH", "nice": 17}
    spec["process"]["ioPriority"] = {"class": "IOPRIO_CLASS_IDLE", "priority": 0}
    done = runtime.run(tmp_path / "b", shell(spec, "cut -d' ' -f19,41 /proc/self/stat; ionice"))
    assert done.out.split("\n")[:2] == ["17 3", "idle"], done
    spec["process"]["scheduler"] = {"policy": "SCHED_FIFO", "priority": 5}
    assert "process.scheduler cannot be applied" in runtime.run(tmp_path / "b", spec).err


def test_exec_cpu_affinity(running: Runtime, tmp_path: Path) -> None:
    process = {"args": ["grep", "Cpus_allowed_list", "/proc/self/status"], "cwd": "/", "env": [oci.PATH]}
    path = tmp_path / "process.json"
    path.write_text(json.dumps({**process, "execCPUAffinity": {"initial": "0", "final": "0"}}))
    assert running.ok("exec", "--process", str(path), "c").split()[1] == "0"


def test_domainname(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    done = runtime.run(
        tmp_path / "b", shell(changed(spec, "domainname", "example.org"), "cat /proc/sys/kernel/domainname")
    )
    assert done.out == "example.org\n"


def test_joined_namespaces(running: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    pid = running.state("c")["pid"]
    for namespace in spec["linux"]["namespaces"]:
        if namespace["type"] != "mount":
            namespace["path"] = f"/proc/{pid}/ns/{ {'network': 'net'}.get(namespace['type'], namespace['type']) }"
    del spec["linux"]["uidMappings"], spec["linux"]["gidMappings"]
    oci.write(
        tmp_path / "two", shell(spec, "for n in pid net ipc uts user; do readlink /proc/self/ns/$n; done; hostname")
    )
    done = running("run", "--bundle", str(tmp_path / "two"), "d")
    wanted = [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("pid", "net", "ipc", "uts", "user")]
    assert done.out.split() == [*wanted, "box"], done


def test_the_users_subordinate_ids(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    from rootless.kernel import userns

    ranges = userns.read_ranges()
    for key, own, found in (("uidMappings", os.geteuid(), ranges.uids), ("gidMappings", os.getegid(), ranges.gids)):
        spec["linux"][key] = [
            {"containerID": 0, "hostID": own, "size": 1},
            {"containerID": 1, "hostID": found[0][0], "size": 1000},
        ]
    spec["process"]["user"] = {"uid": 5, "gid": 6, "additionalGids": [7, 8]}
    done = runtime.run(tmp_path / "b", shell(spec, "id"))
    assert done.out == "uid=5 gid=6 groups=7,8\n", done


def test_a_seccomp_agent_gets_the_listener(
    runtime: Runtime, spec: dict[str, Any], tmp_path: Path, runtime_base: Path
) -> None:
    path = runtime_base / "agent.sock"
    spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG"],
        "listenerPath": str(path),
        "listenerMetadata": "told",
        "syscalls": [{"names": ["chroot"], "action": "SCMP_ACT_NOTIFY"}],
    }
    assert "nobody listens" in runtime.run(tmp_path / "b", spec).err
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        listener.settimeout(30)
        oci.write(tmp_path / "b", shell(spec, "sleep 1000"))
        runtime.detached("run", "--detach", "--bundle", str(tmp_path / "b"), "c")
        connection, _ = listener.accept()
        with connection:
            data, fds, _, _ = socket.recv_fds(connection, 65536, 1)
        assert os.readlink(f"/proc/self/fd/{fds[0]}") == "anon_inode:seccomp notify"
        os.close(fds[0])
    state = json.loads(data)
    assert state["fds"] == ["seccompFd"] and state["metadata"] == "told" and state["state"]["id"] == "c"
    assert state["pid"] == runtime.state("c")["pid"]
    path.unlink()


# ---- what is wrong is named, and nothing is left ----

WRONG = {
    "ociVersion": ("7.0.0", "ociVersion", "Specification version"),
    "process.cwd": ("relative", "process.cwd must be an absolute path", "config.md, Process"),
    "process.args": ([], "process.args is empty", "config.md, Process"),
    "process.args.0": (5, "process.args[0] must be a string", "config.md, Process"),
    "process.env": ({}, "process.env must be a list", "config.md, Process"),
    "process.user.uid": (-1, "process.user.uid must be a whole number from 0 to 4294967294", "config.md, Process"),
    "process.user.gid": (4294967295, "process.user.gid must be a whole number from 0", "config.md, Process"),
    "process.user.additionalGids": ([1 << 32], "additionalGids[0] must be a whole number", "config.md, Process"),
    "process.rlimits": ([{"type": "RLIMIT_X", "soft": 1, "hard": 1}], "unknown limit 'RLIMIT_X'", "config.md, Process"),
    "process": (None, "process is missing", "config.md, Process"),
    "root": (None, "root is missing", "config.md, Root"),
    "root.path": ("/no/such/place", "root.path: /no/such/place is no directory", "config.md, Root"),
    "mounts.0.destination": ("proc", "destination must be an absolute path", "config.md, Mounts"),
    "mounts.0.type": (5, "mounts[0].type must be a string", "config.md, Mounts"),
    "mounts.0.options": (["nosuch=1"], "cannot mount proc at /proc", ""),
    "mounts.1": (
        {"destination": "/m", "type": "fuse-overlayfs"},
        "mounts[1].type fuse-overlayfs does not work",
        "bind",
    ),
    "linux.namespaces.0": ({"type": "mount"}, "linux.namespaces has 'mount' twice", "config-linux.md, Namespaces"),
    "linux.namespaces.0.type": (
        "nope",
        "linux.namespaces[0].type must be one of pid, network",
        "config-linux.md, Namespaces",
    ),
    "linux.namespaces.4": ({"type": "mount", "path": "/proc/1/ns/mnt"}, "a mount namespace cannot be joined", ""),
    "linux.namespaces.5": ({"type": "cgroup"}, "linux.uidMappings needs a user namespace", "User namespace mappings"),
    "linux.namespaces.0.path": ("/no/such", "a namespace cannot be joined", ""),
    "linux.uidMappings": (
        [{"containerID": 5, "hostID": 1, "size": 1}],
        "must map container id 0",
        "User namespace mappings",
    ),
    "linux.uidMappings.0.hostID": (1, "a single id must be your own", ""),
    "linux.intelRdt": ({"closID": "x"}, "linux.intelRdt does not work here", "root's"),
    "linux.mountLabel": ("x", "linux.mountLabel does not work here", ""),
    "linux.resources.memory.swappiness": (5, "linux.resources.memory.swappiness does not work here", "cgroup v1"),
    "linux.resources.memory.limit": (
        "1G",
        "linux.resources.memory.limit must be a whole number",
        "config-linux.md, Memory",
    ),
    "linux.seccomp": (
        {"defaultAction": "SCMP_ACT_MAYBE"},
        "config.json: linux.seccomp: unknown action 'SCMP_ACT_MAYBE'",
        "known are",
    ),
    "linux.maskedPaths": (["/proc/keys", "proc/kcore"], "linux.maskedPaths[1] must be an absolute path", "Masked"),
    "linux.readonlyPaths": ([""], "linux.readonlyPaths[0] must be an absolute path, not ''", "Readonly Paths"),
    "linux.namespaces.1.path": ("proc", "linux.namespaces[1].path must be an absolute path", "Namespaces"),
    "linux.sysctl": ({"kernel.panic": "1"}, "config.json: linux.sysctl kernel.panic=1: ", ""),
    "linux.resources.unified": (
        {"nosuch.max": "1"},
        "config.json: linux.resources.unified.nosuch.max needs the cgroup controller 'nosuch'",
        "",
    ),
    "linux.rootfsPropagation": ("most", "linux.rootfsPropagation must be one of shared", "Rootfs Mount Propagation"),
    "linux.timeOffsets": ({"boottime": {"secs": 1}}, "linux.timeOffsets needs a new time namespace", "Offset for Time"),
    "linux.devices": ([{"path": "/dev/x", "type": "c", "major": 9999, "minor": 1}], "", ""),
    "hooks": (
        {"prestart": [{"path": "relative"}]},
        "hooks.prestart[0].path must be an absolute path, not 'relative'",
        "Hooks",
    ),
    "hooks.poststop": ([{}], "hooks.poststop[0].path is missing", "Hooks"),
    "process.scheduler": ({"policy": "SCHED_ODD"}, "process.scheduler.policy must be one of", "config.md, Process"),
    "process.apparmorProfile": ("mine", "AppArmor", ""),
    "vm": ({"kernel": {}}, "vm does not work here", "config-vm.md"),
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_named(runtime: Runtime, spec: dict[str, Any], tmp_path: Path, path: str) -> None:
    value, message, section = WRONG[path]
    log = tmp_path / "log"
    bundle = oci.write(tmp_path / "b", changed(spec, path, value))
    done = runtime("--log", str(log), "--log-format", "json", "create", "--bundle", str(bundle), "c")
    assert done.code == 1 and done.err.startswith("rpod-runtime: "), done
    assert "this is a bug" not in done.err
    assert message in done.err and section in done.err, done
    entry = json.loads(log.read_text())
    assert entry["level"] == "error" and message in entry["msg"]
    assert list(runtime.root.iterdir()) == []


def test_a_bundle_that_is_none(runtime: Runtime, tmp_path: Path) -> None:
    assert "config.json cannot be read" in runtime("create", "--bundle", str(tmp_path), "c").err
    (tmp_path / "config.json").write_text('{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}')
    assert "duplicate key" in runtime("create", "--bundle", str(tmp_path), "c").err
    assert "invalid container id" in runtime("create", "--bundle", str(tmp_path), "../c").err
    assert "unknown option --nope" in runtime("create", "--nope", "c").err
    assert "--rootless false" in runtime("--rootless", "false", "list").err
    assert "--log-format xml: unknown" in runtime("--log-format", "xml", "list").err
    assert "checkpoint is not there" in runtime("checkpoint", "c").err


def test_unknown_properties_are_ignored(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    spec["novel"] = {"x": 1}
    spec["linux"]["novel"] = [1]
    # Two that the engine writes into its own config.json mean nothing in another's.
    (tmp_path / "shown" / "part").mkdir(parents=True)
    bind = {"destination": "/m", "type": "bind", "source": str(tmp_path / "shown"), "options": ["rbind"]}
    spec["mounts"].append(bind | {"subpath": "part"})
    device = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "source": "/dev/zero"}
    spec["linux"]["devices"] = [device]
    assert runtime.run(tmp_path / "b", shell(spec, "ls /m; echo fine")).out == "part\nfine\n"


def test_features_and_spec(runtime: Runtime, rootfs: Path, tmp_path: Path) -> None:
    told = json.loads(runtime.ok("features"))
    assert {"time", "cgroup"} <= set(told["linux"]["namespaces"]) and "rro" in told["mountOptions"]
    assert "SCMP_ACT_NOTIFY" in told["linux"]["seccomp"]["actions"]
    runtime.ok("spec", "--rootless", "--bundle", str(tmp_path))
    written = json.loads((tmp_path / "config.json").read_text())
    assert "exists already" in runtime("spec", "--bundle", str(tmp_path)).err
    written = changed(changed(written, "root.path", str(rootfs)), "process.terminal", False)
    assert runtime.run(tmp_path, shell(written, "hostname")).out == "rpod\n"


# ---- limits ----


def test_limits_at_create_and_update(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    """Files of the cgroup itself need no controller, so that this runs wherever a cgroup is delegated."""
    spec = changed(shell(spec, "sleep 1000"), "linux.resources.unified", {"cgroup.max.depth": "5"})
    bundle = oci.write(tmp_path / "b", spec)
    runtime.detached("run", "--detach", "--bundle", str(bundle), "c")
    place = Path(json.loads((runtime.root / "c" / "state.json").read_text())["cgroup"])
    assert (place / "cgroup.max.depth").read_text() == "5\n"
    runtime.ok("update", "--resources", "-", "c", stdin=b'{"unified": {"cgroup.max.descendants": "7"}}')
    assert (place / "cgroup.max.descendants").read_text() == "7\n"
    told = json.loads(runtime.ok("events", "--stats", "c"))
    assert told["type"] == "stats" and told["data"]["cpu"]["usage"]["total"] > 0
    done = runtime("update", "--resources", "-", "c", stdin=b'{"pids": {"limit": "many"}}')
    assert "linux.resources.pids.limit must be a whole number" in done.err
    assert "--pids-limit x: it is a whole number" in runtime("update", "--pids-limit", "x", "c").err
    done = runtime("update", "--resources", "-", "c", stdin=b'{"unified": {"nosuch.max": "1"}}')
    assert done.code == 1 and "linux.resources.unified.nosuch.max needs the cgroup controller" in done.err
    both = b'{"unified": {"cgroup.max.depth": "9", "cgroup.max.descendants": "many"}}'
    done = runtime("update", "--resources", "-", "c", stdin=both)
    assert done.code == 1 and "linux.resources.unified.cgroup.max.descendants cannot be set" in done.err
    assert (place / "cgroup.max.depth").read_text() == "5\n", "all of it or nothing"
    kept = json.loads((runtime.root / "c" / "config.json").read_text())["linux"]["resources"]
    assert kept == {"unified": {"cgroup.max.depth": "5", "cgroup.max.descendants": "7"}}


@pytest.mark.skipif("cpu" not in CONTROLLERS, reason="the kernel or its administrator gives no cpu controller")
def test_a_limit_that_is_not_given_stays(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    """cpu.max holds a quota and its period in one file."""
    spec = changed(shell(spec, "sleep 1000"), "linux.resources.cpu", {"quota": 20000, "period": 50000})
    runtime.detached("run", "--detach", "--bundle", str(oci.write(tmp_path / "b", spec)), "c")
    place = Path(json.loads((runtime.root / "c" / "state.json").read_text())["cgroup"])
    assert (place / "cpu.max").read_text() == "20000 50000\n"
    runtime.ok("update", "--cpu-quota", "10000", "c")
    runtime.ok("update", "--cpu-period", "40000", "c")
    assert (place / "cpu.max").read_text() == "10000 40000\n"


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


# ---- faults, and what lies beside ----


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

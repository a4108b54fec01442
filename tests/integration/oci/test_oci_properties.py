"""Every property of config.json: the same bundle through crun, and what crun 1.8 does not have."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import oci
from support.oci import Runtime, changed, shell

if TYPE_CHECKING:
    from support.shell import Done

pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")


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

"""The defaults table: capabilities, system calls, closed paths, limits, as a program inside meets them."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.shell import Rpod

ENOSYS, EPERM = 38, 1

# One system call a line, by its x86_64 number: harmless if it works, telling if it does not.
CALLS = {
    "keyctl": (250, (0, -3 & 0xFFFFFFFF, 0, 0)),
    "add_key": (248, (0, 0, 0, 0)),
    "request_key": (249, (0, 0, 0, 0)),
    "mount": (165, (0, 0, 0, 0)),
    "umount2": (166, (0, 0)),
    "unshare": (272, (0x10000000,)),
    "setns": (308, (0, 0)),
    "clone3": (435, (0, 0)),
    "clone with CLONE_NEWUSER": (56, (0x10000000, 0, 0, 0, 0)),
    "clone with CLONE_NEWUSER and high bits": (56, (0xFFFF_0000_1000_0000 - (1 << 64), 0, 0, 0, 0)),
    "bpf": (321, (0, 0, 0)),
    "perf_event_open": (298, (0, 0, 0, 0, 0)),
    "userfaultfd": (323, (0,)),
    "io_uring_setup": (425, (1, 0)),
    "open_by_handle_at": (304, (0, 0, 0)),
    "fsopen": (430, (0, 0)),
    "move_mount": (429, (0, 0, 0, 0, 0)),
    "open_tree": (428, (0, 0, 0)),
    "init_module": (175, (0, 0, 0)),
    "kexec_load": (246, (0, 0, 0, 0)),
    "reboot": (169, (0, 0, 0, 0)),
    "swapon": (167, (0, 0)),
    "iopl": (172, (3,)),
    "syslog": (103, (3, 0, 0)),
    "acct": (163, (0,)),
    "pivot_root": (155, (0, 0)),
    "quotactl": (179, (0, 0, 0, 0)),
    "personality of another kind": (135, (0x0400000,)),
    "socket AF_VSOCK": (41, (40, 1, 0)),
    "socket AF_VSOCK under high bits": (41, ((1 << 40) | 40, 1, 0)),
    "socket AF_ALG": (41, (38, 5, 0)),
    "x32 keyctl": (0x40000000 | 250, (0, 0, 0, 0)),
}
NOT_PERMITTED = frozenset(
    "mount umount2 unshare setns bpf perf_event_open open_by_handle_at init_module reboot iopl syslog acct "
    "quotactl".split()
)
OPEN_CALLS = {"getpid": (39, ()), "socket AF_UNIX": (41, (1, 1, 0)), "chroot to nowhere": (161, (0,))}

PROBE = """
import ctypes, errno, glob, json, os, resource, sys
libc = ctypes.CDLL(None, use_errno=True)
calls = json.loads(sys.argv[1])
result = {"errno": {}}
for name, (number, args) in calls.items():
    ctypes.set_errno(0)
    value = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(a) for a in args])
    result["errno"][name] = ctypes.get_errno() if value == -1 else 0
    if value == 0 and number == 56:
        os._exit(99)
result["status"] = dict(line.rstrip().split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
result["limits"] = {n: resource.getrlimit(getattr(resource, n)) for n in ("RLIMIT_NOFILE", "RLIMIT_NPROC")}
result["umask"] = os.umask(0)
result["dev"] = sorted(os.listdir("/dev"))
result["mounts"] = {line.split()[4]: line.split()[5] for line in open("/proc/self/mountinfo")}
def readable(path):
    try:
        return bool(os.listdir(path)) if os.path.isdir(path) else bool(open(path, "rb").read(1))
    except OSError:
        return False
def writable(path):
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError as error:
        return error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)
    return True
masked = sys.argv[2].split()
result["masked"] = [p for g in masked for p in glob.glob(g) if readable(p)]
result["writable"] = [p for p in sys.argv[3].split() if writable(p)]
print(json.dumps(result))
"""
MASKED = """/proc/acpi /proc/kcore /proc/keys /proc/latency_stats /proc/sched_debug /proc/scsi /proc/timer_list
/proc/timer_stats /proc/interrupts /proc/asound /sys/devices/virtual/powercap /sys/firmware /sys/fs/selinux
/sys/devices/system/cpu/cpu*/thermal_throttle"""
READONLY = """/proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/kernel/hostname /proc/sys/vm/drop_caches
/proc/sys/net/ipv4/ip_forward /proc/irq/default_smp_affinity /sys/kernel/mm/ksm/run /sys/power/state
/sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/cgroup.subtree_control"""
CLOSED = ("bus", "fs", "irq", "sys", "sysrq-trigger")  # below /proc
DEVICES = {"console", "core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
           "stdout", "tty", "urandom", "zero"}  # fmt: skip


def look(rpod: Rpod, image: str, *options: str) -> dict[str, dict[str, object]]:
    """What the probe found, run with ``options``."""
    calls = json.dumps({**CALLS, **OPEN_CALLS})
    out = rpod.ok("run", "--rm", "-v", "/usr:/usr:ro", *options, image, "python3", "-c", PROBE, calls, MASKED, READONLY)
    found: dict[str, dict[str, object]] = json.loads(out.splitlines()[-1])
    return found


def _refusal(name: str) -> int:
    """Old calls that lack a capability answer as the kernel would, all others as if they were not there."""
    return EPERM if name in NOT_PERMITTED else ENOSYS


def capabilities(found: dict[str, dict[str, object]]) -> dict[str, int]:
    """The five sets as numbers."""
    return {name: int(str(found["status"][name]), 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb")}


# CHOWN DAC_OVERRIDE FOWNER FSETID KILL SETGID SETUID SETPCAP NET_BIND_SERVICE SYS_CHROOT SETFCAP
DEFAULT_SET = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 8, 10, 18, 31))


def test_the_defaults_of_a_container(safe: Rpod, probe: str) -> None:
    found = look(safe, probe)
    assert capabilities(found) == {
        "CapBnd": DEFAULT_SET, "CapEff": DEFAULT_SET, "CapPrm": DEFAULT_SET, "CapInh": 0, "CapAmb": 0
    }  # fmt: skip
    assert {name: found["errno"][name] for name in CALLS} == {name: _refusal(name) for name in CALLS}
    assert all(found["errno"][name] != ENOSYS for name in OPEN_CALLS)
    assert found["masked"] == []
    assert found["writable"] == []
    assert found["umask"] == 0o022
    assert found["status"]["Seccomp"] == "2"
    assert set(found["dev"]) <= DEVICES
    limits = found["limits"]
    assert all(soft == hard for soft, hard in limits.values())  # type: ignore[misc]
    for path, wanted in (
        *((f"/proc/{name}", "ro") for name in os.listdir("/proc") if name in CLOSED),
        ("/proc", "nosuid,nodev,noexec"), ("/sys", "ro,nosuid,nodev,noexec"), ("/dev/shm", "nodev"),
    ):  # fmt: skip
        assert set(wanted.split(",")) <= set(str(found["mounts"].get(path)).split(",")), path


def test_a_user_other_than_root_has_no_capability(safe: Rpod, probe: str) -> None:
    sets = capabilities(look(safe, probe, "--user", "1000:1000"))
    assert sets == {"CapBnd": DEFAULT_SET, "CapEff": 0, "CapPrm": 0, "CapInh": 0, "CapAmb": 0}


def test_everything_can_be_dropped(safe: Rpod, probe: str) -> None:
    found = look(safe, probe, "--cap-drop", "all", "--security-opt", "no-new-privileges")
    assert set(capabilities(found).values()) == {0}
    assert found["status"]["NoNewPrivs"] == "1"
    assert {name: found["errno"][name] for name in CALLS} == {name: _refusal(name) for name in CALLS}


def test_set_id_programs_gain_nothing_under_no_new_privileges(safe: Rpod, probe: str) -> None:
    show = '/tmp/python -c "import os; print(os.geteuid())"'
    script = f"cp /usr/bin/python3 /tmp/python; chmod 4755 /tmp/python; exec su user -c '{show}'"
    argv = ["-v", "/usr:/usr:ro", probe, "sh", "-c", script]
    assert safe.ok("run", "--rm", *argv) == "0"
    alone = ["--security-opt", "no-new-privileges", "--security-opt", "seccomp=unconfined"]
    assert safe.ok("run", "--rm", *alone, *argv) == "1000"


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_what_exec_and_a_terminal_get_is_the_same(safe: Rpod, plain: str, verb: str) -> None:
    safe.ok("run", "-d", "--name", "target", plain, "sleep", "1000")
    argv = ["run", "--rm", "-t", plain] if verb == "run" else ["exec", "-t", "target"]
    lines = safe.ok(*argv, "grep", "-E", "Cap|Seccomp:", "/proc/self/status").split()
    values = dict(zip(lines[::2], lines[1::2], strict=True))
    mask = f"{DEFAULT_SET:016x}"
    assert values == {
        "CapInh:": "0" * 16, "CapPrm:": mask, "CapEff:": mask, "CapBnd:": mask, "CapAmb:": "0" * 16, "Seccomp:": "2"
    }  # fmt: skip


@pytest.mark.parametrize("option", ["apparmor=no-such-profile", "seccomp=/nonexistent", "label=type:x", "nonsense"])
def test_a_profile_that_cannot_be_applied_is_an_error(safe: Rpod, plain: str, option: str) -> None:
    assert option.partition("=")[0] in safe.fails("run", "--rm", "--security-opt", option, plain, "true").lower()


def test_the_pids_limit(safe: Rpod, plain: str) -> None:
    done = safe("run", "--rm", "--pids-limit", "20", plain, "sh", "-c", "for i in $(seq 40); do sleep 1 & done; wait")
    if done.code == 125:
        assert "'pids'" in done.err  # not delegated here: refused by name, never ignored
    else:
        assert "fork" in done.err

"""What is printed: list, ps, events, features, and a config.json to begin with."""

from __future__ import annotations

import json
import os

from rootless.errors import LaunchError, StateError, UsageError, os_reason
from rootless.kernel import fastjson, files, spawn
from rootless.kernel.syscalls_rare import SECCOMP_FLAGS
from rootless.oci import lifecycle, store
from rootless.runtime import mount_flags, security
from rootless.runtime.hooks import KINDS
from rootless.runtime.seccomp_compile import ACTIONS, ARCHES, OPERATORS
from rootless.spec import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.oci.store import Container


def emit(value: object) -> None:
    """JSON for people and programs."""
    print(json.dumps(value, indent=2))


def list_(root: str, form: str, *, quiet: bool) -> None:
    """All containers: a table, JSON, or ids alone."""
    containers = store.everything(root)
    if quiet:
        for container in containers:
            print(container.ident)
    elif _format(form) == "json":
        print(fastjson.dumps([container.report() for container in containers]))
    else:
        rows: list[tuple[str, ...]] = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        for container in containers:
            told = container.report()
            owner = _owner(container)
            rows.append(
                (
                    container.ident,
                    str(told["pid"]),
                    str(told["status"]),
                    str(told["bundle"]),
                    str(told["created"]),
                    owner,
                )
            )
        _table(rows)


def _owner(container: Container) -> str:
    import pwd

    uid = os.stat(container.directory).st_uid
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _format(text: str) -> str:
    if text not in ("", "table", "json"):
        raise UsageError(f"--format {text}: unknown", "table or json")
    return text or "table"


def _table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def ps(container: Container, form: str, options: list[str]) -> None:
    """The container's processes: pids as JSON, or the lines of ps(1) about them."""
    container.demand("list the processes of", "created", "running", "paused")
    pids = lifecycle.processes(container)
    if _format(form) == "json":
        print(fastjson.dumps(pids))
        return
    program = spawn.which("ps")
    if program is None:
        raise LaunchError("ps is not installed", "--format json")
    result = spawn.run([program, *(options or ["-ef"])])
    if result.code:
        raise UsageError(f"ps: {result.text}")
    heading, *lines = result.text.splitlines()
    column = next((index for index, word in enumerate(heading.split()) if word == "PID"), -1)
    if column < 0:
        raise UsageError("ps prints no PID with these options")
    print(heading)
    for line in lines:
        if line.split()[column] in map(str, pids):
            print(line)


# ---- events --stats ----


def stats(container: Container) -> dict[str, object]:
    """One record of statistics, in the form of runc's events (cgroup v2)."""
    container.demand("read statistics of", "created", "running", "paused")
    path = container.state.cgroup
    if not path:
        raise StateError(f"container {container.ident!r} has no cgroup of its own", "rpod doctor delegation")
    cpu = _pairs(f"{path}/cpu.stat")
    memory = _pairs(f"{path}/memory.stat")
    events = _pairs(f"{path}/memory.events")
    return {
        "type": "stats",
        "id": container.ident,
        "data": {
            "cpu": {
                "usage": {
                    "total": cpu.get("usage_usec", 0) * 1000,
                    "kernel": cpu.get("system_usec", 0) * 1000,
                    "user": cpu.get("user_usec", 0) * 1000,
                },
                "throttling": {
                    "periods": cpu.get("nr_periods", 0),
                    "throttledPeriods": cpu.get("nr_throttled", 0),
                    "throttledTime": cpu.get("throttled_usec", 0) * 1000,
                },
            },
            "memory": {
                "cache": memory.get("file", 0),
                "usage": {
                    "limit": _number(f"{path}/memory.max"),
                    "usage": _number(f"{path}/memory.current"),
                    "max": _number(f"{path}/memory.peak"),
                    "failcnt": events.get("max", 0),
                },
                "swap": {"limit": _number(f"{path}/memory.swap.max"), "usage": _number(f"{path}/memory.swap.current")},
                "raw": memory,
            },
            "pids": {"current": _number(f"{path}/pids.current"), "limit": _number(f"{path}/pids.max")},
            "blkio": {"ioServiceBytesRecursive": _io(f"{path}/io.stat")},
        },
    }


def _read(path: str) -> str:
    """A file of the cgroup; "" where its controller is not delegated."""
    try:
        return files.read_file(path).decode()
    except OSError:
        return ""


def _pairs(path: str) -> dict[str, int]:
    return {name: int(value) for name, _, value in (line.partition(" ") for line in _read(path).splitlines())}


def _number(path: str) -> int:
    """0 stands for "max" and for a file that is not there, as in runc's."""
    text = _read(path).strip()
    return int(text) if text.isdecimal() else 0


def _io(path: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = []
    for line in _read(path).splitlines():
        device, *pairs = line.split()
        major, _, minor = device.partition(":")
        for pair in pairs:
            key, _, value = pair.partition("=")
            if operation := {"rbytes": "Read", "wbytes": "Write"}.get(key):
                found.append({"major": int(major), "minor": int(minor), "op": operation, "value": int(value)})
    return found


# ---- features ----


def features() -> dict[str, object]:
    """features.md and features-linux.md of the specification."""
    return {
        "ociVersionMin": "1.0.0",
        "ociVersionMax": store.OCI_VERSION,
        "hooks": list(KINDS),
        "mountOptions": mount_flags.known_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"],
            "capabilities": list(security.known_capabilities()),
            "cgroup": {"v1": False, "v2": True, "systemd": False, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(ACTIONS),
                "operators": sorted(f"SCMP_CMP_{name}" for name in OPERATORS),
                "archs": sorted(ARCHES),
                "knownFlags": sorted(SECCOMP_FLAGS),
                "supportedFlags": sorted(SECCOMP_FLAGS),
            },
            "apparmor": {"enabled": os.path.isdir("/sys/kernel/security/apparmor")},
            "selinux": {"enabled": os.path.exists("/sys/fs/selinux/enforce")},
            "intelRdt": {"enabled": False},
            "memoryPolicy": {},
            "mountExtensions": {"idmap": {"enabled": True}},
            "netDevices": {"enabled": False},
        },
        "annotations": {"org.rpod.version": _version()},
        "potentiallyUnsafeConfigAnnotations": [],
    }


def _version() -> str:
    import rootless

    return rootless.__version__


def print_version() -> None:
    """The program's and the specification's."""
    print(f"rpod-runtime version {_version()}\nspec: {store.OCI_VERSION}")


# ---- spec ----


def write_spec(directory: str) -> None:
    """Write a config.json for a root file system in ``rootfs``. StateError where there is one."""
    path = os.path.join(directory, "config.json")
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(json.dumps(template(), indent="\t") + "\n")
    except FileExistsError:
        raise StateError(f"{path} exists already", "remove it first") from None
    except OSError as error:
        raise LaunchError(f"{path}: {os_reason(error)}") from error


def template() -> dict[str, object]:
    """A shell in new namespaces, as runc's ``spec --rootless`` has it."""
    closed = ["nosuid", "noexec", "nodev"]
    capabilities = ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]
    kinds = ("pid", "network", "ipc", "uts", "mount", "cgroup", "user")
    return {
        "ociVersion": OCI_VERSION,
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
            "cwd": "/",
            "capabilities": dict.fromkeys(("bounding", "effective", "permitted"), capabilities),
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "rpod",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {
                "destination": "/dev",
                "type": "tmpfs",
                "source": "tmpfs",
                "options": ["nosuid", "strictatime", "mode=755", "size=65536k"],
            },
            {
                "destination": "/dev/pts",
                "type": "devpts",
                "source": "devpts",
                "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
            },
            {
                "destination": "/dev/shm",
                "type": "tmpfs",
                "source": "shm",
                "options": [*closed, "mode=1777", "size=65536k"],
            },
            {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": closed},
            {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": [*closed, "ro"]},
            {
                "destination": "/sys/fs/cgroup",
                "type": "cgroup",
                "source": "cgroup",
                "options": [*closed, "relatime", "ro"],
            },
        ],
        "linux": {
            "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
            "namespaces": [{"type": kind} for kind in kinds],
            "maskedPaths": list(security.MASKED_PATHS),
            "readonlyPaths": list(security.READONLY_PATHS),
        },
    }

"""``rpod version`` (hot path) and ``rpod info``: this rpod and this machine, in Podman's layout."""

from __future__ import annotations

import os
import time

import rootless
from rootless import paths
from rootless.engine.gotypes import Map, Struct
from rootless.kernel import files, spawn, syscalls, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.config import Config

# Go's names of architectures, which images and Podman's output use.
_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
NETWORKS = ("slirp4netns", "pasta", "host", "none", "container")


def architecture() -> str:
    """This machine's architecture as images name it."""
    return _GO_ARCH.get(syscalls.MACHINE, syscalls.MACHINE)


def version() -> dict[str, object]:
    """``{"Client": {Version, PythonVersion, Built (s since the epoch), BuiltTime, OsArch, Os}}``."""
    import sys

    built = int(os.stat(rootless.__file__).st_mtime)
    return {
        "Client": {
            "Version": rootless.__version__,
            "PythonVersion": sys.version.partition(" ")[0],
            "Built": built,
            "BuiltTime": time.ctime(built),
            "OsArch": f"linux/{architecture()}",
            "Os": "linux",
        }
    }


def info() -> dict[str, object]:
    """Everything that ``rpod info`` shows: host, plugins, registries, store, version."""
    from rootless import config

    settings = config.load()
    return {
        "host": _host(settings),
        "plugins": {"log": list(config.LOG_DRIVERS), "network": list(NETWORKS), "volume": ["local"]},
        "registries": Map(search=list(settings.registries.search)),
        "store": _store(settings),
        "version": version()["Client"],
    }


def _host(settings: Config) -> Struct:
    from rootless.kernel import cgroup2
    from rootless.runtime import cgroup

    memory = _meminfo()
    helpers = f"{os.path.dirname(rootless.__file__)}/_bin"
    cgroup_version = "v2" if cgroup2.unified() else "v1"
    fields = {
        "arch": architecture(),
        "cgroupControllers": cgroup2.controllers(cgroup2.own_path()),
        "cgroupManager": cgroup.manager(settings.engine.cgroup_manager),
        "cgroupVersion": cgroup_version,
        "cpuUtilization": _cpu_utilization(),
        "cpus": len(os.sched_getaffinity(0)),
        "distribution": _distribution(),
        "eventLogger": settings.events.logger,
        "hostname": os.uname().nodename,
        "idMappings": _id_mappings(),
        "kernel": os.uname().release,
        "logDriver": settings.containers.log_driver,
        "memFree": memory.get("MemFree", 0),
        "memTotal": memory.get("MemTotal", 0),
        "monitor": {"path": f"{helpers}/rpod-monitor", "version": rootless.__version__},
        "ociRuntime": _runtime(settings, f"{helpers}/rpod-init"),
        "os": "linux",
        "pasta": _program("pasta"),
        "security": _security(),
        "serviceIsRemote": False,
        "slirp4netns": _program("slirp4netns"),
        "swapFree": memory.get("SwapFree", 0),
        "swapTotal": memory.get("SwapTotal", 0),
        "uptime": _uptime(),
    }
    return Struct(fields, {"CgroupsVersion": cgroup_version})  # so Go's field is called


def _runtime(settings: Config, own: str) -> dict[str, object]:
    """Who starts new containers, and what it says of its version."""
    from rootless.engine import other_runtime

    path = other_runtime.find(settings.engine.runtime)
    if not path:
        return {"name": "rpod", "path": own, "version": rootless.__version__}
    return {"name": os.path.basename(path), "path": path, "version": spawn.run([path, "--version"]).text}


def _meminfo() -> dict[str, int]:
    """/proc/meminfo in bytes (proc(5): the file says kB and means KiB)."""
    found = {}
    for line in files.read_file("/proc/meminfo").decode().splitlines():
        key, _, rest = line.partition(":")
        fields = rest.split()
        if fields and fields[0].isdecimal():
            found[key] = int(fields[0]) * 1024
    return found


def _cpu_utilization() -> dict[str, float]:
    """Percent of all processors' time since boot (/proc/stat, proc(5))."""
    ticks = [int(n) for n in files.read_file("/proc/stat").split(b"\n", 1)[0].split()[1:]]
    total = sum(ticks[:8]) or 1
    shares = (("userPercent", ticks[0] + ticks[1]), ("systemPercent", ticks[2]), ("idlePercent", ticks[3]))
    return {name: round(100 * part / total, 2) for name, part in shares}


def _distribution() -> dict[str, str]:
    """os-release(5): the distribution's id, version and codename."""
    known: dict[str, str] = {}
    for path in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            text = files.read_file(path).decode("utf-8", "replace")
        except OSError:
            continue
        for line in text.splitlines():
            key, _, value = line.partition("=")
            known[key] = value.strip().strip("\"'")
        break
    names = (("codename", "VERSION_CODENAME"), ("distribution", "ID"), ("version", "VERSION_ID"))
    return {name: known[key] for name, key in names if known.get(key)}


def _id_mappings() -> dict[str, object]:
    maps = userns.default_map(userns.read_ranges())
    return {
        name: [{"container_id": e.inside, "host_id": e.outside, "size": e.size} for e in extents]
        for name, extents in (("gidmap", maps.gids), ("uidmap", maps.uids))
    }


def _program(name: str) -> Struct:
    """Where a helper program is and what it calls its version; empty if it is not installed."""
    path = spawn.which(name)
    found = {} if path is None else {"executable": path, "version": spawn.run([path, "--version"]).text}
    return Struct(found, {"executable": "", "version": ""})


def _security() -> Struct:
    from rootless.runtime import security

    try:
        modules = files.read_file("/sys/kernel/security/lsm").decode().split(",")
    except OSError:
        modules = []
    capabilities = ",".join(security.DEFAULT_CAPABILITIES)
    fields = {
        "apparmorEnabled": "apparmor" in modules,
        "capabilities": capabilities,
        "rootless": os.geteuid() != 0,
        "seccompEnabled": os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
        "selinuxEnabled": os.path.exists("/sys/fs/selinux/enforce"),
    }
    return Struct(fields, {"DefaultCapabilities": capabilities})  # so Go's field is called


def _uptime() -> str:
    """Time since boot as Podman prints it: ``26h 3m 4.50s (Approximately 1.08 days)``."""
    seconds = float(files.read_file("/proc/uptime").split()[0])
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{hours}h {minutes}m {rest:.2f}s"
    return text if hours < 24 else f"{text} (Approximately {hours / 24:.2f} days)"


def _store(settings: Config) -> dict[str, object]:
    from rootless.storage import drivers
    from rootless.storage.images import ImageStore
    from rootless.storage.placement import filesystem_of

    data = paths.data()
    files.make_private(data)
    space = os.statvfs(data)
    return {
        "configFile": paths.user_config(),
        "containerStore": _container_counts(),
        "graphDriverName": drivers.choose(settings.storage.driver, data),
        "graphOptions": Map(),
        "graphRoot": data,
        "graphRootAllocated": space.f_blocks * space.f_frsize,
        "graphRootUsed": (space.f_blocks - space.f_bfree) * space.f_frsize,
        "graphStatus": Map({"Backing Filesystem": filesystem_of(data)[0]}),
        "imageStore": {"number": len(ImageStore(data).all())},
        "runRoot": paths.runtime(),
        "volumePath": f"{data}/volumes",
    }


def _container_counts() -> Mapping[str, int]:
    from rootless.state.containers import Containers

    counts = {"number": 0, "paused": 0, "running": 0, "stopped": 0}
    for container in Containers().all():
        status = container.state().status
        counts["number"] += 1
        counts[status if status in ("paused", "running") else "stopped"] += 1
    return counts

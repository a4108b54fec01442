"""``stats``: what containers use, from the files of their cgroups and the counters of their networks.

Where the memory or pids controller is not delegated to the user, the processes are asked one by one; what
is resident in several of them is then counted several times, and ``memory_exact`` is false.
"""

from __future__ import annotations

import os
import time

from rootless.kernel import cgroup2, files, process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


class Sample:
    """What a container has used up to ``time_ns``; bytes, nanoseconds, counts. None where nobody can tell."""

    __slots__ = (
        "block_in",
        "block_out",
        "cpu_ns",
        "cpu_system_ns",
        "id",
        "memory",
        "memory_exact",
        "memory_limit",
        "name",
        "net_in",
        "net_out",
        "pids",
        "running",
        "started_ns",
        "time_ns",
    )

    def __init__(self, ident: str, name: str) -> None:
        self.id = ident
        self.name = name
        self.running = False
        self.time_ns = time.time_ns()
        self.started_ns = self.time_ns
        self.cpu_ns = 0
        self.cpu_system_ns = 0
        self.memory = 0
        self.memory_exact = True
        self.memory_limit = 0
        self.net_in: int | None = 0
        self.net_out: int | None = 0
        self.block_in: int | None = 0
        self.block_out: int | None = 0
        self.pids = 0

    def cpu_percent(self, before: Sample | None) -> float:
        """Of one processor, since ``before``, or since the start."""
        since_ns, used_ns = (before.time_ns, before.cpu_ns) if before else (self.started_ns, 0)
        return 100 * max(0, self.cpu_ns - used_ns) / max(1, self.time_ns - since_ns)

    def memory_percent(self) -> float:
        """Of what it may use."""
        return 100 * self.memory / self.memory_limit if self.memory_limit else 0.0


def sample(container: Container) -> Sample:
    """Look at one container; all is zero for one that does not run."""
    result = Sample(container.id, container.name)
    state = container.state()
    if not state.running or state.run is None:
        return result
    result.running = True
    result.started_ns = state.run.started_ns
    group, init = state.run.cgroup, state.run.pid
    pids = cgroup2.processes(group) if group else process.in_namespace_of(init)
    _cpu(state.run.cgroup, pids, result)
    _memory(state.run.cgroup, pids, result)
    _block(state.run.cgroup, result)
    _network(container.record.network, state.run.pid, result)
    count = _number(f"{state.run.cgroup}/pids.current") if state.run.cgroup else None
    result.pids = sum(map(_threads, pids)) if count is None else count
    return result


def _text(path: str) -> str:
    try:
        return files.read_file(path).decode("ascii", "replace")
    except OSError:
        return ""


def _number(path: str) -> int | None:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else None


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc(5), field 3); [] for a process that is gone."""
    return _text(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _threads(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[17]) if fields else 0


def _pairs(path: str) -> dict[str, int]:
    """A file of ``key number`` lines."""
    return {key: int(value) for key, _, value in (line.partition(" ") for line in _text(path).splitlines())}


def _cpu(cgroup: str, pids: list[int], result: Sample) -> None:
    stat = _pairs(f"{cgroup}/cpu.stat") if cgroup else {}
    if stat:  # there without any controller
        result.cpu_ns = stat.get("usage_usec", 0) * 1000
        result.cpu_system_ns = stat.get("system_usec", 0) * 1000
        return
    for fields in filter(None, map(_stat, pids)):
        result.cpu_ns += (int(fields[11]) + int(fields[12])) * _TICK_NS
        result.cpu_system_ns += int(fields[12]) * _TICK_NS


def _memory(cgroup: str, pids: list[int], result: Sample) -> None:
    total = _machine_memory()
    used = _number(f"{cgroup}/memory.current") if cgroup else None
    limit = _number(f"{cgroup}/memory.max") if cgroup else None
    result.memory_limit = total if limit is None else min(limit, total)
    if used is not None:
        result.memory = used
        return
    result.memory_exact = False
    for pid in pids:
        fields = _text(f"/proc/{pid}/statm").split()
        result.memory += int(fields[1]) * _PAGE_BYTES if fields else 0


def _machine_memory() -> int:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def _block(cgroup: str, result: Sample) -> None:
    if not cgroup or not os.path.exists(f"{cgroup}/io.stat"):
        result.block_in = result.block_out = None
        return
    counts = [word.partition("=") for line in _text(f"{cgroup}/io.stat").splitlines() for word in line.split()[1:]]
    result.block_in = sum(int(value) for key, _, value in counts if key == "rbytes")
    result.block_out = sum(int(value) for key, _, value in counts if key == "wbytes")


def _network(mode: str, pid: int, result: Sample) -> None:
    """The bytes through all interfaces but lo; the host's own network is not the container's."""
    if mode == "host":
        result.net_in = result.net_out = None
        return
    lines = [line.partition(":") for line in _text(f"/proc/{pid}/net/dev").splitlines()[2:]]
    counts = [rest.split() for name, _, rest in lines if name.strip() != "lo"]
    result.net_in = sum(int(fields[0]) for fields in counts)
    result.net_out = sum(int(fields[8]) for fields in counts)

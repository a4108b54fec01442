"""``top``: the processes of a container, with ps's and podman's descriptors."""

from __future__ import annotations

import os
import time

from rootless.engine import start
from rootless.errors import UsageError
from rootless.kernel import files, userns
from rootless.state.container import Container, not_running

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.kernel.userns import Extent

_DEFAULT = ["user", "pid", "ppid", "%cpu", "elapsed", "tty", "time", "args"]
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024


class Process:
    """One process, read from the host's /proc at one moment."""

    __slots__ = ("args", "fields", "gid", "name", "pid", "status", "uid")

    def __init__(self, pid: int, maps: userns.IdMap) -> None:
        base = f"/proc/{pid}"
        stat = files.read_file(f"{base}/stat").decode("utf-8", "replace")
        opening, closing = stat.index("("), stat.rindex(")")
        self.pid = pid
        self.name = stat[opening + 1 : closing]
        self.fields = stat[closing + 2 :].split()
        lines = files.read_file(f"{base}/status").decode("utf-8", "replace").splitlines()
        self.status = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
        command = files.read_file(f"{base}/cmdline").replace(b"\0", b" ").decode("utf-8", "replace").strip()
        self.args = command or f"[{self.name}]"
        self.uid = _inside(maps.uids, int(self.status["Uid"].split()[1]))
        self.gid = _inside(maps.gids, int(self.status["Gid"].split()[1]))

    def inner_pid(self) -> int:
        """Its pid in the container."""
        return int(self.status["NSpid"].split()[-1])

    def elapsed_s(self) -> float:
        """How long ago it started."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(self.fields[19]) / _TICKS

    def cpu_s(self) -> float:
        """Processor time, user and system."""
        return (int(self.fields[11]) + int(self.fields[12])) / _TICKS


def _inside(extents: list[Extent], outside: int) -> int:
    for extent in extents:
        if extent.outside <= outside < extent.outside + extent.size:
            return extent.inside + outside - extent.outside
    return 65534


def _elapsed(process: Process) -> str:
    seconds = process.elapsed_s()
    if seconds < 60:
        return f"{seconds:.9g}s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{rest}s" if hours else f"{minutes}m{rest}s"


def _cpu_time(process: Process) -> str:
    seconds = process.cpu_s()
    return "0s" if not seconds else f"{seconds:g}s"


def _tty(process: Process) -> str:
    number = int(process.fields[4])
    return "?" if not number else f"pts/{(number & 0xFF) | (number >> 12 & 0xFFF00)}"


class _Table:
    """Names of ids and of parents, as the container has them."""

    def __init__(self, processes: list[Process], users: dict[int, str], groups: dict[int, str]) -> None:
        self.inner = {p.pid: p.inner_pid() for p in processes}
        self.users = users
        self.groups = groups


_COLUMNS: dict[str, tuple[str, Callable[[Process, _Table], str]]] = {
    "user": ("USER", lambda p, t: t.users.get(p.uid, str(p.uid))),
    "group": ("GROUP", lambda p, t: t.groups.get(p.gid, str(p.gid))),
    "uid": ("UID", lambda p, _: str(p.uid)),
    "huser": ("HUSER", lambda p, _: p.status["Uid"].split()[1]),
    "hgroup": ("HGROUP", lambda p, _: p.status["Gid"].split()[1]),
    "pid": ("PID", lambda p, _: str(p.inner_pid())),
    "hpid": ("HPID", lambda p, _: str(p.pid)),
    "ppid": ("PPID", lambda p, t: str(t.inner.get(int(p.fields[1]), 0))),
    "pgid": ("PGID", lambda p, t: str(t.inner.get(int(p.fields[2]), 0))),
    "pcpu": ("%CPU", lambda p, _: f"{100 * p.cpu_s() / max(p.elapsed_s(), 0.001):.3f}"),
    "etime": ("ELAPSED", lambda p, _: _elapsed(p)),
    "time": ("TIME", lambda p, _: _cpu_time(p)),
    "tty": ("TTY", lambda p, _: _tty(p)),
    "comm": ("COMMAND", lambda p, _: p.name),
    "args": ("COMMAND", lambda p, _: p.args),
    "nice": ("NI", lambda p, _: p.fields[16]),
    "state": ("STATE", lambda p, _: p.fields[0]),
    "vsz": ("VSZ", lambda p, _: str(int(p.fields[20]) // 1024)),
    "rss": ("RSS", lambda p, _: str(int(p.fields[21]) * _PAGE_KIB)),
    "capeff": ("EFFECTIVE CAPS", lambda p, _: p.status["CapEff"]),
    "seccomp": ("SECCOMP", lambda p, _: {"0": "disabled", "1": "strict", "2": "filter"}[p.status["Seccomp"]]),
}
_ALIASES = {"%cpu": "pcpu", "elapsed": "etime", "pids": "pid", "command": "args", "ni": "nice", "tt": "tty"}


def top(container: Container, descriptors: list[str]) -> list[list[str]]:
    """A table, the header first. Raises UsageError for an unknown descriptor."""
    if not container.state().running:
        raise not_running(container)
    wanted = [name.lower() for item in descriptors for name in item.split(",")] or _DEFAULT
    columns = []
    for name in wanted:
        known = _COLUMNS.get(_ALIASES.get(name, name))
        if known is None:
            raise UsageError(f"unknown descriptor {name!r}", f"known are {', '.join(_COLUMNS)}")
        columns.append(known)
    processes = _processes(container)
    table = _names(container, processes)
    return [[header for header, _ in columns], *([show(p, table) for _, show in columns] for p in processes)]


def _processes(container: Container) -> list[Process]:
    """All processes in the pid namespace of the container's init."""
    run = container.run_record()
    if run is None:
        raise not_running(container)
    maps = start.id_map(container.record, userns.read_ranges())
    try:
        namespace = os.readlink(f"/proc/{run.pid}/ns/pid")
    except OSError:
        raise not_running(container) from None
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                found.append(Process(int(entry), maps))
        except OSError:
            continue  # another user's, or gone
    return sorted(found, key=lambda p: p.inner_pid())


def _names(container: Container, processes: list[Process]) -> _Table:
    """User and group names by the container's own files."""
    from rootless.engine import enter
    from rootless.runtime import mounts, users

    def read(root_fd: int) -> object:
        root = mounts.Root(root_fd)
        return [users.id_names(root, "/etc/passwd"), users.id_names(root, "/etc/group")]

    answer = enter.inside(container, read)
    assert isinstance(answer, list)
    user_names, group_names = ({int(key): str(name) for key, name in pairs} for pairs in answer)
    return _Table(processes, user_names, group_names)

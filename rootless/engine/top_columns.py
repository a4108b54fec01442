"""What ``top`` can show of a process: the descriptors of podman-top, and ps(1)'s words for them."""

from __future__ import annotations

import os
import pwd
import time

from rootless.errors import UsageError
from rootless.kernel import files, times
from rootless.runtime.security import known_capabilities

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.kernel.userns import Extent, IdMap

_NS = 1_000_000_000
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_SECCOMP = {"0": "disabled", "1": "strict", "2": "filter"}
DEFAULT = ("user", "pid", "ppid", "pcpu", "etime", "tty", "time", "args")


class Process:
    """One process, read from the host's /proc at one moment."""

    __slots__ = ("args", "fields", "maps", "name", "pid", "status")

    def __init__(self, pid: int, maps: IdMap) -> None:
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
        self.maps = maps

    def uid(self, which: int) -> int:
        """Its user id in the container: 0 the real one, 1 the effective one."""
        return _inside(self.maps.uids, int(self.status["Uid"].split()[which]))

    def gid(self, which: int) -> int:
        """Its group id in the container, likewise."""
        return _inside(self.maps.gids, int(self.status["Gid"].split()[which]))

    def groups(self) -> list[int]:
        """Its other groups, as ids of the host."""
        return [int(word) for word in self.status["Groups"].split()]

    def label(self) -> str:
        """Its security context, "?" without a security module that has one."""
        try:
            return files.read_file(f"/proc/{self.pid}/attr/current").rstrip(b"\0\n").decode("utf-8", "replace") or "?"
        except OSError:
            return "?"

    def started_ns(self) -> int:
        """When it started, since the epoch, to the second."""
        return int(time.time() - self.elapsed_s()) * _NS

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


def _tty(process: Process) -> str:
    number = int(process.fields[4])
    return "?" if not number else f"pts/{(number & 0xFF) | (number >> 12 & 0xFFF00)}"


def _capabilities(mask: str) -> str:
    bits, known = int(mask, 16), known_capabilities()
    if bits == (1 << len(known)) - 1:
        return "full"
    names = [name.removeprefix("CAP_") for number, name in enumerate(known) if bits >> number & 1]
    return ",".join(sorted(names)) or "none"


def _host_user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _host_group(gid: int) -> str:
    import grp

    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _start_time(process: Process) -> str:
    local = time.localtime(process.started_ns() // _NS)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", local)


class Names:
    """Names of ids and pids of parents, as the container has them."""

    def __init__(self, processes: list[Process], users: dict[int, str], groups: dict[int, str]) -> None:
        self.inner = {p.pid: p.inner_pid() for p in processes}
        self._users = users
        self._groups = groups

    def user(self, uid: int) -> str:
        """A user of the container."""
        return self._users.get(uid, str(uid))

    def group(self, gid: int) -> str:
        """A group of the container."""
        return self._groups.get(gid, str(gid))


Column = tuple[str, "Callable[[Process, Names], str]"]
COLUMNS: dict[str, Column] = {
    "args": ("COMMAND", lambda p, _: p.args),
    "capamb": ("AMBIENT CAPS", lambda p, _: _capabilities(p.status["CapAmb"])),
    "capbnd": ("BOUNDING CAPS", lambda p, _: _capabilities(p.status["CapBnd"])),
    "capeff": ("EFFECTIVE CAPS", lambda p, _: _capabilities(p.status["CapEff"])),
    "capinh": ("INHERITED CAPS", lambda p, _: _capabilities(p.status["CapInh"])),
    "capprm": ("PERMITTED CAPS", lambda p, _: _capabilities(p.status["CapPrm"])),
    "comm": ("COMMAND", lambda p, _: p.name),
    "etime": ("ELAPSED", lambda p, _: times.format_duration(round(p.elapsed_s() * _NS))),
    "group": ("GROUP", lambda p, t: t.group(p.gid(1))),
    "groups": ("GROUPS", lambda p, t: ",".join(t.group(_inside(p.maps.gids, gid)) for gid in p.groups())),
    "hgroup": ("HGROUP", lambda p, _: _host_group(int(p.status["Gid"].split()[1]))),
    "hgroups": ("HGROUPS", lambda p, _: ",".join(_host_group(gid) for gid in p.groups())),
    "hpid": ("HPID", lambda p, _: str(p.pid)),
    "huser": ("HUSER", lambda p, _: _host_user(int(p.status["Uid"].split()[1]))),
    "label": ("LABEL", lambda p, _: p.label()),
    "nice": ("NI", lambda p, _: p.fields[16]),
    "pcpu": ("%CPU", lambda p, _: f"{100 * p.cpu_s() / max(p.elapsed_s(), 0.001):.3f}"),
    "pgid": ("PGID", lambda p, t: str(t.inner.get(int(p.fields[2]), 0))),
    "pid": ("PID", lambda p, _: str(p.inner_pid())),
    "ppid": ("PPID", lambda p, t: str(t.inner.get(int(p.fields[1]), 0))),
    "rgroup": ("RGROUP", lambda p, t: t.group(p.gid(0))),
    "rss": ("RSS", lambda p, _: str(int(p.fields[21]) * _PAGE_KIB)),
    "ruser": ("RUSER", lambda p, t: t.user(p.uid(0))),
    "seccomp": ("SECCOMP", lambda p, _: _SECCOMP[p.status["Seccomp"]]),
    "state": ("STATE", lambda p, _: p.fields[0]),
    "stime": ("STIME", lambda p, _: _start_time(p)),
    "time": ("TIME", lambda p, _: times.format_duration(round(p.cpu_s() * _NS))),
    "tty": ("TTY", lambda p, _: _tty(p)),
    "uid": ("UID", lambda p, _: str(p.uid(1))),
    "user": ("USER", lambda p, t: t.user(p.uid(1))),
    "vsz": ("VSZ", lambda p, _: str(int(p.fields[20]) // 1024)),
}
# The codes of AIX's ps, and other words of ps(1) for the same.
_ALIASES = {
    "%C": "pcpu",
    "%G": "group",
    "%P": "ppid",
    "%U": "user",
    "%a": "args",
    "%c": "comm",
    "%g": "rgroup",
    "%n": "nice",
    "%p": "pid",
    "%r": "pgid",
    "%t": "etime",
    "%u": "ruser",
    "%x": "time",
    "%y": "tty",
    "%z": "vsz",
    "%cpu": "pcpu",
    "elapsed": "etime",
    "pids": "pid",
    "command": "args",
    "cmd": "args",
    "ni": "nice",
    "tt": "tty",
    "tname": "tty",
    "ucmd": "comm",
    "ucomm": "comm",
    "pgrp": "pgid",
    "cputime": "time",
    "euser": "user",
    "uname": "user",
    "euid": "uid",
    "egroup": "group",
    "vsize": "vsz",
    "rssize": "rss",
    "s": "state",
    "stat": "state",
    "start": "stime",
    "lstart": "stime",
}
_FULL = ("user", "pid", "ppid", "pcpu", "stime", "tty", "time", "args")
_BSD = ("user", "pid", "pcpu", "vsz", "rss", "tty", "state", "stime", "time", "args")
# Letters of ps(1) that choose processes, of which all are shown here anyway.
_CHOICE = frozenset("eAadxw")


def chosen(words: list[str]) -> list[Column]:
    """Columns of descriptors, or of the arguments of ps: ``-ef``, ``aux``, ``-eo pid,args``. Raises UsageError."""
    words = words[1:] if words[:1] == ["--"] else words
    if not words:
        return [COLUMNS[name] for name in DEFAULT]
    if words[0].startswith("-") or set(words[0]) <= set("auxwf"):
        return _of_ps(words)
    return _named(words)


def _named(words: list[str]) -> list[Column]:
    columns = []
    for name in (part for word in words for part in word.split(",")):
        known = COLUMNS.get(_ALIASES.get(name) or _ALIASES.get(name.lower(), name.lower()))
        if known is None:
            raise UsageError(f"unknown descriptor {name!r}", f"known are {', '.join(COLUMNS)}")
        columns.append(known)
    return columns


def _of_ps(words: list[str]) -> list[Column]:
    names: tuple[str, ...] = ()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            if set(word) - set("auxwf"):
                raise UsageError(f"the argument {word!r} of ps is not understood", "-ef, aux or -eo pid,args")
            names = names or (_BSD if "u" in word else DEFAULT)
            continue
        letters, found, lists = word[1:].partition("o")
        if set(letters) - _CHOICE - {"f"}:
            raise UsageError(f"the argument {word!r} of ps is not understood", "-ef, aux or -eo pid,args")
        if found:
            lists = lists or (rest.pop(0) if rest else "")
            if not lists:
                raise UsageError(f"the argument {word!r} of ps wants a list", "-eo pid,args")
            return _named([lists, *rest])
        names = names or (_FULL if "f" in letters else ())
    return [COLUMNS[name] for name in names or DEFAULT]

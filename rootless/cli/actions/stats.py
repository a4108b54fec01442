"""``stats``: a table of what containers use, once or again and again."""

from __future__ import annotations

import contextlib
import io
import sys
import time

from rootless.cli import output
from rootless.cli.actions.names import Each, one
from rootless.errors import NotFoundError, UsageError
from rootless.kernel import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.stats import Sample
    from rootless.state.container import Container

_LAYOUT = output.Layout(
    {
        "ID": "ID",
        "ContainerID": "CONTAINER ID",
        "Name": "NAME",
        "CPUPerc": "CPU %",
        "CPU": "CPU",
        "CPUNano": "CPU NANO",
        "CPUSystemNano": "CPU SYSTEM NANO",
        "SystemNano": "SYSTEM NANO",
        "MemUsage": "MEM USAGE / LIMIT",
        "MemUsageBytes": "MEM USAGE / LIMIT",
        "MemLimit": "MEM LIMIT",
        "MemPerc": "MEM %",
        "NetIO": "NET IO",
        "NetInput": "NET INPUT",
        "NetOutput": "NET OUTPUT",
        "BlockIO": "BLOCK IO",
        "BlockInput": "BLOCK INPUT",
        "BlockOutput": "BLOCK OUTPUT",
        "PIDS": "PIDS",
        "PIDs": "PIDS",
        "UpTime": "CPU TIME",
        "Up": "CPU TIME",
        "Duration": "DURATION",
        "AVGCPU": "AVG CPU %",
        "AvgCPU": "AVG CPU",
    },
    ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDS", "UpTime", "AVGCPU"),
)
_UNKNOWN = "--"


def stats(
    *,
    containers: list[str],
    all: bool,
    format: str,
    interval: int,
    latest: bool,
    no_reset: bool,
    no_stream: bool,
    no_trunc: bool,
) -> int:
    """Show what containers use: the named ones, or all that run, every ``interval`` seconds."""
    if interval < 1:
        raise UsageError(f"--interval {interval}: it is a number of seconds from 1 on")
    named = [known or one(typed) for typed, known in _named(containers, latest=latest, everything=all)]
    before: dict[str, Sample] = {}
    screen = _Screen(in_place=sys.stdout.isatty() and not no_reset and not no_stream)
    while True:
        samples = _samples(named, everything=all)
        with screen:
            _show(samples, before, format, full=no_trunc)
        if no_stream:
            return 0
        before = {item.id: item for item in samples}
        time.sleep(interval)


def _named(names: list[str], *, latest: bool, everything: bool) -> list[tuple[str, Container | None]]:
    if names or latest:
        return Each().choose(names, latest=latest, all=everything).targets
    return []


def _samples(named: list[Container], *, everything: bool) -> list[Sample]:
    from rootless.engine import stats as engine
    from rootless.state.containers import Containers

    chosen = [container for container in named if container.exists()]
    if named and not chosen:
        raise NotFoundError(f"no such container: {named[0].id[:12]} (it was removed)", "rpod ps -a")
    if not named:
        chosen = sorted(Containers().all(), key=lambda container: container.record.created_ns)
    samples = [engine.sample(container) for container in chosen]
    return samples if named or everything else [item for item in samples if item.running]


class _Screen:
    """What is printed inside of it takes the place of what was printed before, without a flicker."""

    def __init__(self, *, in_place: bool) -> None:
        self._in_place = in_place
        self._begin = "\x1b[2J"
        self._buffer = io.StringIO()
        self._redirection = contextlib.ExitStack()

    def __enter__(self) -> None:
        if self._in_place:
            self._buffer = io.StringIO()
            self._redirection.enter_context(contextlib.redirect_stdout(self._buffer))

    def __exit__(self, *_: object) -> None:
        self._redirection.close()
        if self._in_place:
            from rootless.kernel.tty import window_size

            rows, _columns = window_size(1)
            lines = self._buffer.getvalue().splitlines()[: max(2, rows - 1) if rows else None]
            sys.stdout.write(f"{self._begin}\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J")
            self._begin = ""
        sys.stdout.flush()


def _show(samples: list[Sample], before: dict[str, Sample], format_: str, *, full: bool) -> None:
    rows = [_fields(item, before.get(item.id), full=full) for item in samples]
    output.listing(rows, _LAYOUT, format_, [_json(row) for row in rows])


def _both(first: int | None, second: int | None) -> str:
    if first is None or second is None:
        return f"{_UNKNOWN} / {_UNKNOWN}"
    return f"{output.size(first, digits=4)} / {output.size(second, digits=4)}"


def _fields(item: Sample, before: Sample | None, *, full: bool) -> dict[str, Any]:
    """What templates see: Podman's names. A memory that was summed up over processes has a ``~``."""
    mark = "" if item.memory_exact else "~"
    percent = item.cpu_percent(before)
    return {
        "ID": item.id if full else item.id[:12],
        "ContainerID": item.id,
        "Name": item.name,
        "CPUPerc": f"{percent:.2f}%",
        "CPU": round(percent, 2),
        "CPUNano": item.cpu_ns,
        "CPUSystemNano": item.cpu_system_ns,
        "SystemNano": item.time_ns,
        "MemUsage": f"{mark}{_both(item.memory, item.memory_limit)}",
        "MemUsageBytes": f"{mark}{_binary(item.memory)} / {_binary(item.memory_limit)}",
        "MemLimit": item.memory_limit,
        "MemPerc": f"{mark}{item.memory_percent():.2f}%",
        "NetIO": _both(item.net_in, item.net_out),
        "NetInput": item.net_in or 0,
        "NetOutput": item.net_out or 0,
        "BlockIO": _both(item.block_in, item.block_out),
        "BlockInput": item.block_in or 0,
        "BlockOutput": item.block_out or 0,
        "PIDS": str(item.pids),
        "PIDs": item.pids,
        "UpTime": times.format_duration(item.cpu_ns),
        "Up": times.format_duration(item.cpu_ns),
        "Duration": item.cpu_ns,
        "AVGCPU": f"{item.cpu_percent(None):.2f}%",
        "AvgCPU": round(item.cpu_percent(None), 2),
    }


def _binary(size_bytes: int) -> str:
    """``23.54GiB``: powers of 1024 and four digits, as Docker prints them."""
    value = float(size_bytes)
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    index = 0
    while value >= 1024 and index < len(units) - 1:
        value /= 1024
        index += 1
    return f"{value:.4g}{units[index]}"


def _json(row: dict[str, Any]) -> dict[str, str]:
    """A row as ``podman stats --format json`` has it."""
    return {
        "id": row["ID"],
        "name": row["Name"],
        "cpu_time": row["UpTime"],
        "cpu_percent": row["CPUPerc"],
        "avg_cpu": row["AVGCPU"],
        "mem_usage": row["MemUsage"],
        "mem_percent": row["MemPerc"],
        "net_io": row["NetIO"],
        "block_io": row["BlockIO"],
        "pids": row["PIDS"],
    }

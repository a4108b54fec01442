"""Other limits for a cgroup that processes live in: all of them, or none."""

from __future__ import annotations

import os

from rootless.errors import LimitError, os_reason
from rootless.kernel import files
from rootless.runtime import cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.spec import Resources

_FILES = {
    "memory": "memory.max",
    "memory_swap": "memory.swap.max",
    "memory_reservation": "memory.low",
    "cpu_quota_us": "cpu.max",
    "cpu_period_us": "cpu.max",
    "cpu_shares": "cpu.weight",
    "cpuset_cpus": "cpuset.cpus",
    "cpuset_mems": "cpuset.mems",
    "pids": "pids.max",
    "io_weight": "io.weight",
    "io_device_weights": "io.weight",
    "io_throttles": "io.max",
}


def change(path: str, names: list[str], resources: Resources) -> Callable[[], None]:
    """Set the limits ``names`` (fields of Resources, or files of its ``unified``) of the cgroup directory ``path``.

    The cgroup is a leaf that belongs to the user, below a scope that systemd has delegated, so nobody sets
    it back. Returns what undoes it. Raises LimitError, with everything as it was.
    """
    if not path:
        raise LimitError("it has no cgroup of its own, so it cannot be limited", "rpod doctor")
    base = os.path.dirname(path)
    kept = frozenset(set(cgroup.wanted_limits(resources)) - set(names))
    cgroup.refuse_limits(resources, kept, cgroup.controllers(base))
    cgroup.enable(base, {cgroup.controller_of(name) for name in names} & set(cgroup.controllers(base)))
    before: list[tuple[str, str]] = []

    def undo() -> None:
        for file, text in reversed(before):
            _restore(file, text)

    for name in names:
        file = f"{path}/{_file_of(path, name)}"
        try:
            before.append((file, files.read_file(file).decode()))
            cgroup.set_limit(path, name, resources)
        except OSError as error:
            undo()
            raise LimitError(f"the limit cannot be set: {os_reason(error)}") from error
    return undo


def _file_of(path: str, name: str) -> str:
    file = _FILES.get(name, name)
    return "io.bfq.weight" if file == "io.weight" and os.path.exists(f"{path}/io.bfq.weight") else file


def _restore(file: str, text: str) -> None:
    """Write back what was read; files with a line for each disk want one line a write, and "default" for a new one."""
    lines = text.splitlines() or [""]
    if os.path.basename(file).startswith("io."):
        known = {line.split()[0] for line in lines if line}
        now = {line.split()[0] for line in files.read_file(file).decode().splitlines()}
        empty = "rbps=max wbps=max riops=max wiops=max" if file.endswith("io.max") else "default"
        lines = [*(line for line in lines if line), *(f"{device} {empty}" for device in sorted(now - known))]
    for line in lines:
        files.write_plain(file, f"{line}\n")

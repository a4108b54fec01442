"""Other limits for a cgroup that processes live in: all of them, or none."""

from __future__ import annotations

import os

from rootless.errors import LimitError, os_reason
from rootless.kernel import cgroup2, files
from rootless.runtime import limits, limits_rare

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.resources import Resources


def change(path: str, names: list[str], resources: Resources) -> Callable[[], None]:
    """Set the limits ``names`` (fields of Resources, or files of its ``unified``) of the cgroup directory ``path``.

    The cgroup is a leaf that belongs to the user, below a scope that systemd has delegated, so nobody sets
    it back. Returns what undoes it. Raises LimitError, with everything as it was.
    """
    if not path:
        raise LimitError("it has no cgroup of its own, so it cannot be limited", "rpod doctor delegation")
    base = os.path.dirname(path)
    kept = frozenset(set(limits.wanted(resources)) - set(names))
    available = cgroup2.controllers(base)
    limits.refuse(resources, kept, available, live=True)
    limits.enable(base, [name for name in names if limits.controller_of(name) in available])
    before: list[tuple[str, str]] = []

    def undo() -> None:
        for file, text in reversed(before):
            _restore(file, text)

    for name in names:
        file = f"{path}/{limits.file_of(name)}"
        if file.endswith("/io.weight"):
            file = limits_rare.weight_file(file)
        try:
            before.append((file, files.read_file(file).decode()))
            limits.write(path, name, resources)
        except OSError as error:
            undo()
            raise LimitError(f"{limits.name_of(name, resources)} cannot be set: {os_reason(error)}") from error
    return undo


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

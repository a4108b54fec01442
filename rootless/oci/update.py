"""``update``: other limits for a container that runs."""

from __future__ import annotations

import os
import sys

from rootless.errors import LimitError, UsageError, os_reason
from rootless.kernel import fastjson, files
from rootless.oci import schema
from rootless.oci.bundle import rare_limits
from rootless.runtime import cgroup
from rootless.spec import Resources, SpecError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.oci.options import Parsed
    from rootless.oci.store import Container

_PLACES = {  # option -> where linux.resources has it
    "memory": ("memory", "limit"),
    "memory-reservation": ("memory", "reservation"),
    "memory-swap": ("memory", "swap"),
    "cpu-period": ("cpu", "period"),
    "cpu-quota": ("cpu", "quota"),
    "cpu-share": ("cpu", "shares"),
    "cpu-burst": ("cpu", "burst"),
    "cpu-idle": ("cpu", "idle"),
    "cpuset-cpus": ("cpu", "cpus"),
    "cpuset-mems": ("cpu", "mems"),
    "blkio-weight": ("blockIO", "weight"),
    "pids-limit": ("pids", "limit"),
}
_WORDS = ("cpuset-cpus", "cpuset-mems")


def update(container: Container, parsed: Parsed) -> None:
    """Set the limits that are given. LimitError where the kernel or a missing controller refuses."""
    container.demand("update", "created", "running", "paused")
    document = _document(parsed)
    schema.check(document, "linux.resources")
    resources = Resources.from_json(document)
    resources.unified.update(rare_limits(document))
    path = container.state.cgroup
    wanted = cgroup.wanted_limits(resources)
    if wanted and not path:
        raise LimitError(f"container {container.ident!r} has no cgroup of its own", "rpod doctor")
    memory = document.get("memory") or {}
    assert isinstance(memory, dict)
    if memory.get("checkBeforeUpdate"):
        _check_usage(path, resources)
    cgroup.refuse_limits(resources, frozenset(), cgroup.controllers(path))
    for name in wanted:
        try:
            cgroup.set_limit(path, name, resources)
        except OSError as error:
            raise LimitError(f"linux.resources: {name} cannot be set: {os_reason(error)}") from error


def _document(parsed: Parsed) -> dict[str, object]:
    """``linux.resources`` as a file or standard input gives it, and as options give it."""
    document: dict[str, object] = {}
    if source := parsed.text("resources"):
        try:
            data = sys.stdin.buffer.read() if source == "-" else files.read_file(source)
            found = fastjson.loads(data)
        except (OSError, fastjson.JSONError) as error:
            raise SpecError(f"--resources {source}: {error}") from error
        if not isinstance(found, dict):
            raise SpecError(f"--resources {source}: it must hold an object", "runtime-spec, config-linux.md")
        document = found
    for option, (group, key) in _PLACES.items():
        if option in parsed.options:
            part = document.setdefault(group, {})
            assert isinstance(part, dict)
            part[key] = parsed.text(option) if option in _WORDS else _number(option, parsed.text(option))
    return document


def _number(option: str, text: str) -> int:
    if not text.removeprefix("-").isdecimal():
        raise UsageError(f"--{option} {text}: it is a whole number")
    return int(text)


def _check_usage(path: str, resources: Resources) -> None:
    """A limit below what is in use would kill the container (config-linux.md, "Memory", checkBeforeUpdate)."""
    if resources.memory is None or resources.memory < 0:
        return
    used = int(files.read_file(os.path.join(path, "memory.current")))
    if used > resources.memory:
        raise LimitError(f"the container uses {used} bytes of memory, more than the new limit {resources.memory}")

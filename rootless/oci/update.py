"""``update``: other limits for a container that runs."""

from __future__ import annotations

import os
import sys

from rootless.checked import SpecError
from rootless.errors import LimitError, StateError, UsageError, os_reason
from rootless.kernel import fastjson, files
from rootless.kernel.numbers import decimal
from rootless.oci import lifecycle, schema
from rootless.oci.bundle import complete_resources
from rootless.resources import Resources
from rootless.runtime import limits, live_limits

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
    """Set the limits that are given, all of them or none. LimitError where the kernel or a missing controller refuses.

    A limit may depend on one that is not given (swap on memory, a quota on its period): that one is as it was.
    """
    asked = _document(parsed)
    schema.check(asked, "linux.resources")
    names = limits.wanted(_resources(asked))
    with container.lock():
        container.demand("update", "created", "running", "paused")
        document = lifecycle.document(container)
        linux = document.setdefault("linux", {})
        assert isinstance(linux, dict)
        linux["resources"] = merged = _merged(linux.get("resources") or {}, asked)
        resources = _resources(merged)
        if "memory" in names and resources.memory_swap is not None and "memory_swap" not in names:
            names.append("memory_swap")  # the kernel counts swap apart from memory
        memory = asked.get("memory") or {}
        assert isinstance(memory, dict)
        if memory.get("checkBeforeUpdate"):
            _check_usage(container.state.cgroup, resources)
        undo = live_limits.change(container.state.cgroup, names, resources)
        try:
            container.keep(document)
        except OSError as error:
            undo()
            raise StateError(
                f"the limits of container {container.ident!r} cannot be kept: {os_reason(error)}"
            ) from error


def _resources(described: dict[str, object]) -> Resources:
    resources = Resources.from_json(described)
    complete_resources(resources, described)
    return resources


def _merged(own: dict[str, object], asked: dict[str, object]) -> dict[str, object]:
    """``asked`` laid over ``own``, group by group."""
    result = dict(own)
    for group, value in asked.items():
        before = own.get(group)
        result[group] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
    return result


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
    number = decimal(text.removeprefix("-"), (1 << 63) - 1)
    if number is None:
        raise UsageError(f"--{option} {text}: it is a whole number")
    return -number if text.startswith("-") else number


def _check_usage(path: str, resources: Resources) -> None:
    """A limit below what is in use would kill the container (config-linux.md, "Memory", checkBeforeUpdate)."""
    if resources.memory is None or resources.memory < 0:
        return
    used = int(files.read_file(os.path.join(path, "memory.current")))
    if used > resources.memory:
        raise LimitError(f"the container uses {used} bytes of memory, more than the new limit {resources.memory}")

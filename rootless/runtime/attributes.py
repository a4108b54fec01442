"""What a process of config.json can be that the engine's never are: scheduler, I/O priority, CPUs, personality.

Source: opencontainers/runtime-spec, config.md ("Linux Process") and config-linux.md ("Personality").
"""

from __future__ import annotations

import os

from rootless.errors import LaunchError, UnsupportedError, os_reason
from rootless.kernel import files, syscalls_rare

# linux/sched.h, linux/ioprio.h, linux/personality.h; the schema of the OCI front knows the same names.
POLICIES = {
    "SCHED_OTHER": 0,
    "SCHED_FIFO": 1,
    "SCHED_RR": 2,
    "SCHED_BATCH": 3,
    "SCHED_ISO": 4,
    "SCHED_IDLE": 5,
    "SCHED_DEADLINE": 6,
}
SCHED_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 1,
    "SCHED_FLAG_RECLAIM": 2,
    "SCHED_FLAG_DL_OVERRUN": 4,
    "SCHED_FLAG_KEEP_POLICY": 8,
    "SCHED_FLAG_KEEP_PARAMS": 16,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 32,
    "SCHED_FLAG_UTIL_CLAMP_MAX": 64,
}
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
DOMAINS = {"LINUX": 0, "LINUX32": 8}


class Attributes:
    """Attributes of one process, taken from checked JSON: ``process`` and ``linux.personality``."""

    __slots__ = ("_affinity", "_io_priority", "_personality", "_scheduler", "_selinux")

    def __init__(self, process: dict[str, object], personality: dict[str, object], *, second: bool) -> None:
        """``second``: this is an exec's process, the only one that ``execCPUAffinity`` is about."""
        self._scheduler = _object(process, "scheduler")
        self._io_priority = _object(process, "ioPriority")
        self._affinity = _object(process, "execCPUAffinity") if second else {}
        self._personality = personality
        self._selinux = str(process.get("selinuxLabel") or "")

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)

    def apply(self) -> None:
        """Make this process so. LaunchError names the property that the kernel refuses."""
        for name, step in (
            ("process.scheduler", self._schedule),
            ("process.ioPriority", self._prioritise),
            ("process.execCPUAffinity", self._pin),
            ("linux.personality", self._personate),
            ("process.selinuxLabel", self._label),
        ):
            try:
                step()
            except OSError as error:
                raise LaunchError(f"config.json: {name} cannot be applied: {os_reason(error)}") from error

    def _schedule(self) -> None:
        wanted = self._scheduler
        if not wanted:
            return
        policy = POLICIES[str(wanted["policy"])]
        flags = wanted.get("flags") or []
        assert isinstance(flags, list)
        bits = sum(SCHED_FLAGS[flag] for flag in set(flags))
        times = (_number(wanted, "runtime"), _number(wanted, "deadline"), _number(wanted, "period"))
        syscalls_rare.sched_setattr(policy, bits, _number(wanted, "nice"), _number(wanted, "priority"), times)

    def _prioritise(self) -> None:
        if self._io_priority:
            class_ = IO_CLASSES[str(self._io_priority["class"])]
            syscalls_rare.ioprio_set(class_, _number(self._io_priority, "priority"))

    def _pin(self) -> None:
        for moment in ("initial", "final"):
            text = self._affinity.get(moment)
            if text:
                os.sched_setaffinity(0, parse_cpus(str(text)))

    def _personate(self) -> None:
        if self._personality:
            syscalls_rare.personality(DOMAINS[str(self._personality["domain"])])

    def _label(self) -> None:
        if not self._selinux:
            return
        if not os.path.exists("/sys/fs/selinux/enforce"):
            raise UnsupportedError("config.json: process.selinuxLabel: SELinux is not enabled in this kernel")
        files.write_plain("/proc/thread-self/attr/exec", self._selinux)


def parse_cpus(text: str) -> set[int]:
    """``0-3,7`` as a set. Raises ValueError."""
    found: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        found |= set(range(int(first), int(last if dash else first) + 1))
    return found


def _object(value: dict[str, object], key: str) -> dict[str, object]:
    found = value.get(key) or {}
    assert isinstance(found, dict)
    return found


def _number(value: dict[str, object], key: str) -> int:
    found = value.get(key) or 0
    assert isinstance(found, int)
    return found

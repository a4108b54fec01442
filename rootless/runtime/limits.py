"""The limits of a cgroup: what each is called, whether its controller is there, and how it is written."""

from __future__ import annotations

import errno
import os

from rootless.errors import LimitError, os_reason
from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.resources import Resources

_LIMITS = {  # field of Resources -> the file, whose name begins with the controller's, and the option
    "memory": ("memory.max", "--memory"),
    "memory_swap": ("memory.swap.max", "--memory-swap"),
    "memory_reservation": ("memory.low", "--memory-reservation"),
    "cpu_quota_us": ("cpu.max", "--cpus"),
    "cpu_period_us": ("cpu.max", "--cpu-period"),
    "cpu_shares": ("cpu.weight", "--cpu-shares"),
    "cpuset_cpus": ("cpuset.cpus", "--cpuset-cpus"),
    "cpuset_mems": ("cpuset.mems", "--cpuset-mems"),
    "pids": ("pids.max", "--pids-limit"),
    "io_weight": ("io.weight", "--blkio-weight"),
    "io_device_weights": ("io.weight", "--blkio-weight-device"),
    "io_throttles": ("io.max", "--device-read-bps"),
}
_WITHOUT = "--limits best-effort starts it without"
_THROTTLE_OPTIONS = {
    "rbps": "--device-read-bps",
    "riops": "--device-read-iops",
    "wbps": "--device-write-bps",
    "wiops": "--device-write-iops",
}


def wanted(resources: Resources) -> list[str]:
    """The limits that are set, by the name of their Resources field; a file of ``unified`` by its own name."""
    return [name for name in _LIMITS if getattr(resources, name) not in (None, "", [])] + list(resources.unified)


def file_of(limit: str) -> str:
    """The file of one of ``wanted``."""
    return _LIMITS[limit][0] if limit in _LIMITS else limit


def controller_of(limit: str) -> str:
    """The controller of one of ``wanted``; "" for the cgroup's own files (cgroup.max.depth)."""
    name = file_of(limit).partition(".")[0]
    return "" if name == "cgroup" else name


def refuse(resources: Resources, optional: frozenset[str], available: list[str], *, live: bool = False) -> None:
    """LimitError for a limit that is set, not ``optional``, and whose controller is not ``available``.

    ``live``: the container runs, and options of its creation are of no help.
    """
    for limit in wanted(resources):
        controller = controller_of(limit)
        if controller and controller not in available and limit not in optional:
            raise LimitError(
                f"{name_of(limit, resources)} needs the cgroup controller {controller!r}, "
                "which is not delegated to this user",
                _delegation_hint() if live or resources.foreign else f"{_WITHOUT}; to have it: {_delegation_hint()}",
            )


def lacking(resources: Resources, available: list[str]) -> list[str]:
    """A line for each limit that is set and does not hold, for its controller is not ``available``.

    The number of processes is left out: it is limited by default, and nobody may have asked.
    """
    return [
        f"{name_of(limit, resources)} does not hold: the cgroup controller {controller_of(limit)!r} is not delegated"
        for limit in wanted(resources)
        if limit != "pids" and controller_of(limit) not in ("", *available)
    ]


def name_of(limit: str, resources: Resources) -> str:
    """How whoever asked for one of ``wanted`` calls it: by the option, or by the property of another's config.json."""
    if resources.foreign:
        return f"config.json: {resources.property_of(limit)}"
    if limit == "io_throttles":
        return _THROTTLE_OPTIONS[resources.io_throttles[0][0]]
    return _LIMITS[limit][1] if limit in _LIMITS else f"--cgroup-conf {limit}"


def _delegation_hint() -> str:
    """What `rpod doctor` says. A new login alone is not enough: a lingering user's systemd keeps what it was given."""
    if not os.path.isdir("/run/systemd/system"):
        return "rpod doctor delegation"
    folder = "/etc/systemd/system/user@.service.d"
    return (
        f"sudo mkdir -p {folder} && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee "
        f"{folder}/rpod-delegate.conf && sudo systemctl daemon-reload && "
        f"sudo systemctl restart user@{os.geteuid()}.service"
    )


def enable(base: str, limits: list[str]) -> None:
    """Let the cgroup directory ``base`` hand the controllers of ``limits`` to its children. Raises LimitError."""
    controllers = {controller_of(limit) for limit in limits} - {""}
    if not controllers:
        return
    try:
        have = files.read_file(f"{base}/cgroup.subtree_control").decode().split()
        missing = sorted(controllers - set(have))
        if missing:
            files.write_plain(f"{base}/cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise LimitError(
                f"the cgroup {base} holds processes, so the kernel lets it limit no children",
                "start rpod under: systemd-run --user --scope -p Delegate=yes",
            ) from error
        raise LimitError(f"cgroup controllers cannot be enabled: {os_reason(error)}", _delegation_hint()) from error


def write(path: str, name: str, resources: Resources) -> None:
    """Write one of ``wanted`` into the cgroup directory ``path``. Raises OSError."""
    if name == "memory":
        value = _or_max(resources.memory)
    elif name == "memory_swap":
        swap = resources.memory_swap or 0
        value = "max" if swap < 0 else str(max(0, swap - (resources.memory or 0)))
    elif name in ("cpu_quota_us", "cpu_period_us"):
        value = f"{_or_max(resources.cpu_quota_us)} {resources.cpu_period_us or 100000}"
    elif name == "cpu_shares":
        # The conversion that runc and crun use from cgroup v1's 2..262144 to v2's 1..10000.
        value = str(1 + ((resources.cpu_shares or 2) - 2) * 9999 // 262142)
    elif name == "pids":
        value = _or_max(resources.pids)
    else:
        from rootless.runtime import limits_rare

        limits_rare.write(f"{path}/{file_of(name)}", name, resources)
        return
    files.write_plain(f"{path}/{file_of(name)}", value)


def _or_max(value: int | None) -> str:
    return "max" if value is None or value < 0 else str(value)

"""Resource options as people type them become the limits of a cgroup; ``run``, ``create`` and ``update`` share them."""

from __future__ import annotations

import os
import stat

from rootless.engine import values
from rootless.errors import UsageError, os_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.options import ResourceOptions
    from rootless.resources import Resources

_CPU_PERIOD_US = 100000
_LEAST_MEMORY = 1 << 19
# Option -> (key of io.max, whether its rate is a size in bytes a second).
_THROTTLES = {
    "device_read_bps": ("rbps", True),
    "device_read_iops": ("riops", False),
    "device_write_bps": ("wbps", True),
    "device_write_iops": ("wiops", False),
}


def apply(options: ResourceOptions, limits: Resources) -> None:
    """Set in ``limits`` what ``options`` say, and leave the rest alone. Raises UsageError."""
    _memory(options, limits)
    _cpu(options, limits)
    _io(options, limits)
    if options.pids_limit:
        pids = values.integer(options.pids_limit, "--pids-limit", low=-1)
        limits.pids = pids if pids > 0 else None
    for key, value in values.pairs(options.cgroup_conf, "--cgroup-conf").items():
        if "/" in key or "." not in key or not value:
            raise UsageError(f"--cgroup-conf {key}={value}: it is FILE=VALUE", "such as memory.high=1073741824")
        limits.unified[key] = value


def _memory(options: ResourceOptions, limits: Resources) -> None:
    if options.memory:
        limits.memory = values.size(options.memory, "--memory")
        if limits.memory < _LEAST_MEMORY:
            raise UsageError(f"--memory {options.memory}: no program fits; the least is 512k")
    if options.memory_swap:
        if limits.memory is None:
            raise UsageError("--memory-swap needs --memory")
        limits.memory_swap = -1 if options.memory_swap == "-1" else values.size(options.memory_swap, "--memory-swap")
        if 0 <= limits.memory_swap < limits.memory:
            raise UsageError("--memory-swap is memory plus swap: it cannot be less than --memory")
    if options.memory_reservation:
        limits.memory_reservation = values.size(options.memory_reservation, "--memory-reservation")
        if limits.memory is not None and limits.memory_reservation > limits.memory:
            raise UsageError("--memory-reservation cannot be more than --memory")


def _cpu(options: ResourceOptions, limits: Resources) -> None:
    if options.cpus and (options.cpu_period or options.cpu_quota):
        raise UsageError("--cpus and --cpu-period or --cpu-quota exclude each other", "--cpus sets both")
    if options.cpus:
        limits.cpu_quota_us = _cpu_quota(options.cpus)
        limits.cpu_period_us = _CPU_PERIOD_US
    if options.cpu_period:
        limits.cpu_period_us = values.integer(str(options.cpu_period), "--cpu-period", low=1000, high=1000000)
    if options.cpu_quota:
        # Below 1 ms the kernel refuses it; a negative one is no limit.
        low = 1000 if options.cpu_quota > 0 else -(1 << 62)
        limits.cpu_quota_us = values.integer(str(options.cpu_quota), "--cpu-quota", low=low)
    if options.cpu_shares:
        limits.cpu_shares = values.integer(str(options.cpu_shares), "--cpu-shares", low=2, high=262144)
    if options.cpuset_cpus:
        limits.cpuset_cpus = _cpuset(options.cpuset_cpus, "--cpuset-cpus")
    if options.cpuset_mems:
        limits.cpuset_mems = _cpuset(options.cpuset_mems, "--cpuset-mems")


def _cpu_quota(text: str) -> int:
    try:
        cpus = float(text)
    except ValueError:
        cpus = -1.0
    if not 0.01 <= cpus <= 8192:
        raise UsageError(f"--cpus {text}: it is a number such as 1.5")
    return int(cpus * _CPU_PERIOD_US)


def _cpuset(text: str, option: str) -> str:
    if not all(part.replace("-", "", 1).isdecimal() for part in text.split(",")):
        raise UsageError(f"{option} {text}: it is a list such as 0-2,4")
    return text


def _io(options: ResourceOptions, limits: Resources) -> None:
    if options.blkio_weight:
        limits.io_weight = _weight(options.blkio_weight, "--blkio-weight")
    for text in options.blkio_weight_device:
        path, colon, weight = text.rpartition(":")
        if not colon:
            raise UsageError(f"--blkio-weight-device {text}: it is DEVICE:WEIGHT")
        major, minor = _block_device(path, f"--blkio-weight-device {text}")
        limits.io_device_weights.append((major, minor, _weight(weight, "--blkio-weight-device")))
    for field, (key, sized) in _THROTTLES.items():
        option = "--" + field.replace("_", "-")
        for text in getattr(options, field):
            path, colon, rate = text.rpartition(":")
            if not colon:
                raise UsageError(f"{option} {text}: it is DEVICE:RATE", f"{option} /dev/sda:{'1mb' if sized else 1000}")
            amount = values.size(rate, option) if sized else values.integer(rate, option, low=1)
            limits.io_throttles.append((key, *_block_device(path, f"{option} {text}"), amount))


def _weight(text: str, option: str) -> int:
    return values.integer(text, option, low=10, high=1000)


def _block_device(path: str, option: str) -> tuple[int, int]:
    try:
        info = os.stat(path)
    except OSError as error:
        raise UsageError(f"{option}: {os_reason(error)}") from error
    if not stat.S_ISBLK(info.st_mode):
        raise UsageError(f"{option}: {path} is not a block device", "lsblk lists them")
    return os.major(info.st_rdev), os.minor(info.st_rdev)

"""The limits of a cgroup that few containers have: NUMA nodes, disks, and files by their own names."""

from __future__ import annotations

import os

from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Resources


def set_rare(path: str, name: str, resources: Resources) -> None:
    """Write the limit ``name`` (of ``cgroup.wanted_limits``) into the cgroup directory ``path``. Raises OSError."""
    if name in ("cpuset_cpus", "cpuset_mems"):
        files.write_plain(f"{path}/{name.replace('_', '.')}", getattr(resources, name))
    elif name == "memory_reservation":
        files.write_plain(f"{path}/memory.low", str(resources.memory_reservation))
    elif name == "io_weight":
        _write_weight(path, "default", resources.io_weight or 0)
    elif name == "io_device_weights":
        for major, minor, weight in resources.io_device_weights:
            _write_weight(path, f"{major}:{minor}", weight)
    elif name == "io_throttles":
        for key, major, minor, rate in resources.io_throttles:
            files.write_plain(f"{path}/io.max", f"{major}:{minor} {key}={rate}")
    else:
        files.write_plain(f"{path}/{name}", resources.unified[name])


def _write_weight(path: str, what: str, weight: int) -> None:
    """BFQ takes cgroup v1's weights; io.weight is 1 to 10000, and runc and crun convert like this."""
    if os.path.exists(f"{path}/io.bfq.weight"):
        files.write_plain(f"{path}/io.bfq.weight", f"{what} {weight}")
    else:
        files.write_plain(f"{path}/io.weight", f"{what} {1 + (weight - 10) * 9999 // 990}")

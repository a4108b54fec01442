"""The limits of a cgroup that few containers have: NUMA nodes, disks, and files by their own names."""

from __future__ import annotations

import os

from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.resources import Resources


def write(file: str, name: str, resources: Resources) -> None:
    """Write the limit ``name`` (of ``limits.wanted``) into its ``file`` of a cgroup. Raises OSError."""
    if name in ("cpuset_cpus", "cpuset_mems"):
        files.write_plain(file, getattr(resources, name))
    elif name == "memory_reservation":
        files.write_plain(file, str(resources.memory_reservation))
    elif name == "io_weight":
        _write_weight(file, "default", resources.io_weight or 0)
    elif name == "io_device_weights":
        for major, minor, weight in resources.io_device_weights:
            _write_weight(file, f"{major}:{minor}", weight)
    elif name == "io_throttles":
        for key, major, minor, rate in resources.io_throttles:
            files.write_plain(file, f"{major}:{minor} {key}={rate}")
    else:
        files.write_plain(file, resources.unified[name])


def weight_file(file: str) -> str:
    """Where the weight goes that belongs into ``file``, an io.weight: BFQ has a file of its own."""
    own = f"{os.path.dirname(file)}/io.bfq.weight"
    return own if os.path.exists(own) else file


def _write_weight(file: str, what: str, weight: int) -> None:
    """BFQ takes cgroup v1's weights; io.weight is 1 to 10000, and runc and crun convert like this."""
    place = weight_file(file)
    files.write_plain(place, f"{what} {weight if place != file else 1 + (weight - 10) * 9999 // 990}")

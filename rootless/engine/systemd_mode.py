"""``--systemd``: a container whose first process is systemd, a whole system with services of its own.

What systemd expects of its container: https://systemd.io/CONTAINER_INTERFACE, and
podman-run(1), "--systemd".
"""

from __future__ import annotations

import uuid

from rootless.engine import facts
from rootless.errors import LimitError, UsageError
from rootless.runtime import cgroup
from rootless.spec import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.options import ContainerOptions
    from rootless.spec import Spec
    from rootless.state.record import ContainerRecord

_SIGRTMIN_3 = 37
_CGROUP = "/sys/fs/cgroup"
_TMPFS = ("/run", "/run/lock", "/tmp", "/var/log/journal")


def note(options: ContainerOptions, record: ContainerRecord, stop_signal: str) -> None:
    """Decide what the record keeps; ``stop_signal`` is the user's or the image's. Raises UsageError, LimitError."""
    if options.init:
        raise UsageError("--init makes no sense with systemd, which is an init", "--systemd=false, or no --init")
    if cgroup.manager(facts.cgroup_manager(record)) == "none":
        raise LimitError(
            "systemd needs a control group of its own, and none is delegated to this user", "rpod doctor delegation"
        )
    if not stop_signal:
        record.stop_signal = _SIGRTMIN_3


def amend(record: ContainerRecord, spec: Spec) -> None:
    """Change the finished ``spec``: memory where systemd writes, its own cgroups writable. Raises UsageError."""
    if spec.namespaces.get("cgroup") != "":
        raise UsageError("systemd needs a cgroup namespace of its own", "leave --cgroupns out")
    taken = {mount.destination for mount in spec.mounts}
    own = {mount.destination for mount in record.mounts}
    first = next((n for n, mount in enumerate(spec.mounts) if mount.destination in own), len(spec.mounts))
    spec.mounts[first:first] = [
        Mount(path, "tmpfs", "tmpfs", ["nosuid", "nodev", "rprivate", "tmpcopyup", f"mode={_mode(path)}"])
        for path in _TMPFS
        if path not in taken
    ]
    groups = Mount(_CGROUP, "cgroup2", "cgroup2", ["nosuid", "noexec", "nodev"])
    places = [n for n, mount in enumerate(spec.mounts) if mount.destination == _CGROUP]
    if places:
        spec.mounts[places[0]] = groups
    else:
        spec.mounts.insert(first, groups)
    spec.process.env.append(f"container_uuid={uuid.UUID(record.id[:32])}")


def _mode(path: str) -> str:
    return "1777" if path in ("/tmp", "/run/lock") else "755"

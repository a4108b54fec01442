"""Where a container's cgroup is, as ``linux.cgroupsPath`` and the options say."""

from __future__ import annotations

import os

from rootless import log
from rootless.errors import LimitError, UsageError, os_reason
from rootless.kernel import cgroup2
from rootless.runtime import cgroup, limits, scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.oci.options import Parsed
    from rootless.spec import Spec

_NOTHING_OPTIONAL: frozenset[str] = frozenset()


def create(spec: Spec, name: str, parsed: Parsed, announce: Callable[[str], None]) -> cgroup.Cgroup:
    """Make the cgroup, called ``name`` unless config.json has a path, and set its limits.

    Without a delegated place there is none, if nothing is to be limited. ``announce`` is told the
    directory before it is made. One that is there already is joined, and is not the container's own.
    Raises LimitError with nothing left behind.
    """
    manager = _manager(parsed)
    if manager == "none":
        return _without(spec)
    if manager == "systemd":
        slice_, unit = _unit(spec.cgroups_path, name)
        base, leaf = scope.make(unit, f"container {name}", slice_), "container"
    else:
        base, leaf = _place(spec, name)
        if not _can_make(base):
            return _without(spec)
    if not os.path.exists(f"{base}/{leaf}"):
        announce(f"{base}/{leaf}")
    return cgroup.make(base, leaf, spec.resources, _NOTHING_OPTIONAL, fresh=False)


def _manager(parsed: Parsed) -> str:
    wanted = parsed.text("cgroup-manager", "systemd" if parsed.flag("systemd-cgroup") else "cgroupfs")
    if wanted not in ("cgroupfs", "systemd", "disabled"):
        raise UsageError(f"--cgroup-manager {wanted}: unknown", "cgroupfs, systemd or disabled")
    return "none" if wanted == "disabled" or not cgroup2.unified() else wanted


def _without(spec: Spec) -> cgroup.Cgroup:
    if wanted := limits.wanted(spec.resources):
        name = limits.name_of(wanted[0], spec.resources)
        raise LimitError(f"{name} cannot be set: no cgroup is delegated to this user", "rpod doctor delegation")
    log.debug("no cgroup is delegated to this user: the container stays in the caller's")
    return cgroup.Cgroup("")


def _unit(path: str, name: str) -> tuple[str, str]:
    """The slice and the scope of ``SLICE:PREFIX:NAME``."""
    if not path:
        return "", f"rpod-{name}.scope"
    fields = path.split(":")
    if len(fields) != 3 or not fields[2]:
        raise UsageError(f"config.json: linux.cgroupsPath must be SLICE:PREFIX:NAME for systemd, not {path!r}")
    slice_, prefix, own = fields
    return slice_, f"{prefix}-{own}.scope" if prefix else f"{own}.scope"


def _place(spec: Spec, name: str) -> tuple[str, str]:
    """The parent directory and the name of the new cgroup."""
    path = os.path.normpath(spec.cgroups_path) if spec.cgroups_path else ""
    if not path:
        return cgroup.delegated_parent(spec.resources, _NOTHING_OPTIONAL, ""), f"rpod-{name}"
    if ".." in path.split("/"):
        raise UsageError(f"config.json: linux.cgroupsPath {spec.cgroups_path!r} leads out of the hierarchy")
    start = cgroup2.MOUNT if path.startswith("/") else cgroup2.own_path()
    base, leaf = os.path.split(f"{start}/{path.strip('/')}")
    return base, leaf


def _can_make(base: str) -> bool:
    """Make the directories above the cgroup; False where the user may not."""
    try:
        os.makedirs(base, exist_ok=True)
    except PermissionError:
        return False
    except OSError as error:
        raise LimitError(f"the cgroup {base} cannot be made: {os_reason(error)}", "rpod doctor delegation") from error
    return os.access(base, os.W_OK)

"""The cgroup of one container: where it is made, and how others get into it.

With systemd, a transient scope with delegation is asked for over the user's bus, and holds
two leaves: ``monitor`` and ``container`` (only leaves may hold processes, cgroup-v2.rst
"No Internal Process Constraint"). Without it, a child is made where the caller was
delegated one. Without either the container runs in the caller's cgroup, and any limit
that was asked for is an error.
"""

from __future__ import annotations

import os

from rootless.errors import LimitError, os_reason
from rootless.kernel import cgroup2, files, spawn
from rootless.runtime import limits, scope

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.resources import Resources

_SUPERVISOR = "supervisor"  # Podman's name for the leaf of the monitor
_HINT_DELEGATE = "systemd-run --user --scope -p Delegate=yes rpod …"


def manager(wanted: str) -> str:
    """Which manager serves: systemd, cgroupfs, split or none; ``wanted`` may be "auto"."""
    if wanted != "auto":
        return wanted
    if not cgroup2.unified():
        return "none"
    if scope.available() and spawn.which("busctl"):
        return "systemd"
    return "cgroupfs" if os.access(f"{cgroup2.own_path()}/cgroup.procs", os.W_OK) else "none"


class Cgroup:
    """The directory of a container's cgroup, made and limited; "" where there is none.

    ``owned``: it was made for the container, so that everything in it is the container's. ``lacking``
    says which limits the user asked for do not hold in it.
    """

    __slots__ = ("lacking", "owned", "path")

    def __init__(self, path: str, *, owned: bool = True, lacking: list[str] | None = None) -> None:
        self.path = path
        self.owned = owned
        self.lacking = lacking or []

    def open(self) -> int:
        """A descriptor for a process to be born into it; -1 where there is none."""
        return os.open(self.path, os.O_PATH | os.O_DIRECTORY) if self.path else -1


def create(
    ident: str,
    resources: Resources,
    *,
    parent: str,
    wanted_manager: str,
    optional: frozenset[str],
    announce: Callable[[str], None],
    stop_timeout_s: int,
) -> Cgroup:
    """Make the cgroup of container ``ident`` and set its limits.

    ``optional`` names limits (defaults, not the user's wish) that are left out where their
    controller is missing. ``announce`` is told the directory before it is made. Raises LimitError,
    with nothing left behind.
    """
    chosen = manager(wanted_manager)
    if chosen == "none":
        limits.refuse(resources, optional, [])
        return Cgroup("", lacking=limits.lacking(resources, []))
    if chosen == "split":
        base, leaf = split_own(), f"rpod-{ident}"
    elif chosen == "systemd":
        # A name for each start: systemd learns late that the last one's scope is empty, and a restart would meet it.
        unit = f"rpod-{ident}-{os.getpid()}.scope"
        base, leaf = scope.make(unit, f"rpod container {ident[:12]}", parent, stop_timeout_s), "container"
    else:
        base, leaf = delegated_parent(resources, optional, parent), f"rpod-{ident}"
    announce(f"{base}/{leaf}")
    return make(base, leaf, resources, optional)


def make(base: str, leaf: str, resources: Resources, optional: frozenset[str], *, fresh: bool = True) -> Cgroup:
    """Make the cgroup ``leaf`` below the directory ``base`` and set its limits. Raises LimitError, with nothing left.

    ``fresh``: one that a killed launcher left there is emptied and removed first, else it is taken as it is.
    """
    available = cgroup2.controllers(base)
    possible = _possible(resources, optional, available)
    limits.enable(base, possible)
    path = f"{base}/{leaf}"
    owned = fresh
    limit = ""
    try:
        owned = _make_directory(path, fresh)
        for limit in possible:
            limits.write(path, limit, resources)
    except OSError as error:
        if owned:
            cgroup2.remove(path)
        if limit:  # such as a disk without a scheduler that weighs
            what, hint = f"{limits.name_of(limit, resources)} cannot be set", "leave it out, or give another value"
        else:
            what, hint = "the container's cgroup cannot be made", "rpod doctor delegation"
        raise LimitError(f"{what}: {os_reason(error)}", hint) from error
    return Cgroup(path, owned=owned, lacking=limits.lacking(resources, available))


def check(resources: Resources, *, parent: str, wanted_manager: str, optional: frozenset[str]) -> None:
    """LimitError where a start from here could not set these limits. Makes nothing.

    What systemd would delegate to a scope is known only when there is one.
    """
    chosen = manager(wanted_manager)
    if chosen == "none":
        limits.refuse(resources, optional, [])
    elif chosen == "cgroupfs" and not parent:
        limits.refuse(resources, optional, cgroup2.controllers(delegated_parent(resources, optional, parent)))


def _make_directory(path: str, fresh: bool) -> bool:
    """Make a cgroup; False where there was one already that is taken as it is."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not fresh:
            return False
        cgroup2.remove(path)
        os.mkdir(path, 0o755)
    return True


def _possible(resources: Resources, optional: frozenset[str], available: list[str]) -> list[str]:
    limits.refuse(resources, optional, available)
    return [name for name in limits.wanted(resources) if limits.controller_of(name) in ("", *available)]


def delegated_parent(resources: Resources, optional: frozenset[str], parent: str) -> str:
    """The cgroup to make the container's in: the caller's, or its parent when that one must stay free of processes."""
    own = cgroup2.own_path()
    if parent:
        base = f"{own}/{parent.strip('/')}" if not parent.startswith("/") else cgroup2.MOUNT + parent
        try:
            os.makedirs(base, exist_ok=True)
        except OSError as error:
            raise LimitError(f"--cgroup-parent {parent}: {os_reason(error)}") from error
        return base
    outer = os.path.dirname(own)
    limited = [name for name in limits.wanted(resources) if name not in optional]
    if limited and outer.startswith(cgroup2.MOUNT) and os.access(f"{outer}/cgroup.procs", os.W_OK):
        return outer
    if not own or not os.access(f"{own}/cgroup.procs", os.W_OK):
        raise LimitError(
            "without systemd's help a container's cgroup is made in the caller's, which is not delegated to the user",
            _HINT_DELEGATE,
        )
    return own


def split_own() -> str:
    """This process's own cgroup, cleared for the container's: this process and its parent move to a leaf beside it."""
    base = cgroup2.own_path()
    if not base:
        raise LimitError("--cgroups split needs cgroup v2", "rpod doctor delegation")
    if os.path.basename(base) == _SUPERVISOR:
        base = os.path.dirname(base)  # moved already, or a restart by the monitor
    try:
        os.makedirs(f"{base}/{_SUPERVISOR}", exist_ok=True)
        present = files.read_file(f"{base}/cgroup.procs").decode().split()
        for pid in (os.getppid(), os.getpid()):
            if str(pid) in present:
                files.write_plain(f"{base}/{_SUPERVISOR}/cgroup.procs", str(pid))
    except OSError as error:
        raise LimitError(
            f"--cgroups split: this cgroup is not delegated to the user: {os_reason(error)}",
            f"Delegate=yes in the unit, or: {_HINT_DELEGATE}",
        ) from error
    return base


def reach(path: str, *, limited: bool) -> Cgroup:
    """The cgroup for a child of this process to be born into, so that it is in the container's, ``path``.

    Where this process lies outside of what is delegated to the user (an ssh session), only systemd may
    cross the border: it moves this process, whose children are then born there by themselves. One that
    cannot be moved stays outside if nothing is limited, else LimitError. Call this before the
    container's namespaces are joined: there busctl would be the image's program, and with nsdelegate the
    kernel refuses (ENOENT) to leave a cgroup that the joined cgroup namespace does not show.
    """
    if not path or _may_migrate(cgroup2.own_path(), path):
        return Cgroup(path)
    if not scope.attach(path) and limited:
        raise LimitError(
            "the container's cgroup cannot be entered from here, and without it the limits would not hold",
            "systemd-run --user --scope rpod exec …",
        )
    return Cgroup("")


def _may_migrate(source: str, target: str) -> bool:
    """Whether the user may write to their common ancestor (cgroup-v2.rst, "Delegation Containment")."""
    return bool(source) and os.access(f"{os.path.commonpath((source, target))}/cgroup.procs", os.W_OK)

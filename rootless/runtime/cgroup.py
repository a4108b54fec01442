"""cgroup v2 for one container: where it lives, what limits it, how it is removed.

With systemd, a transient scope with delegation is asked for over the user's bus, and holds
two leaves: ``monitor`` and ``container`` (only leaves may hold processes, cgroup-v2.rst
"No Internal Process Constraint"). Without it, a child is made where the caller was
delegated one. Without either the container runs in the caller's cgroup, and any limit
that was asked for is an error.
"""

from __future__ import annotations

import errno
import os
import select
import time

from rootless.errors import LimitError, os_reason
from rootless.kernel import files, spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.spec import Resources

MOUNT = "/sys/fs/cgroup"
_SCOPE_WAIT_S = 5.0
_FREEZE_WAIT_S = 10.0
# At logout and shutdown, between SIGTERM and SIGKILL. systemd's own 90 s would hold up every reboot, for a program
# that is process 1 of its namespace ignores SIGTERM unless it handles it. As long as `rpod stop` waits by default.
_SCOPE_STOP_S = 10
_SUPERVISOR = "supervisor"  # Podman's name for the leaf of the monitor
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")
_CONTROLLER_OF = {
    "memory": "memory",
    "memory_swap": "memory",
    "memory_reservation": "memory",
    "cpu_quota_us": "cpu",
    "cpu_period_us": "cpu",
    "cpu_shares": "cpu",
    "cpuset_cpus": "cpuset",
    "cpuset_mems": "cpuset",
    "pids": "pids",
    "io_weight": "io",
    "io_device_weights": "io",
    "io_throttles": "io",
}
_OPTION_OF = {
    "memory": "--memory",
    "memory_swap": "--memory-swap",
    "memory_reservation": "--memory-reservation",
    "cpu_quota_us": "--cpus",
    "cpu_period_us": "--cpu-period",
    "cpu_shares": "--cpu-shares",
    "cpuset_cpus": "--cpuset-cpus",
    "cpuset_mems": "--cpuset-mems",
    "pids": "--pids-limit",
    "io_weight": "--blkio-weight",
    "io_device_weights": "--blkio-weight-device",
    "rbps": "--device-read-bps",
    "riops": "--device-read-iops",
    "wbps": "--device-write-bps",
    "wiops": "--device-write-iops",
}


def unified() -> bool:
    """Whether the machine shows a pure cgroup v2 hierarchy."""
    return os.path.exists(f"{MOUNT}/cgroup.controllers")


def own_path() -> str:
    """The directory of this process's cgroup, "" without cgroup v2."""
    if not unified():
        return ""
    for line in files.read_file("/proc/self/cgroup").decode().splitlines():
        if line.startswith("0::"):
            return MOUNT + line[3:].rstrip("/")
    return ""


def controllers(path: str) -> list[str]:
    """The controllers that are delegated to the cgroup directory ``path``."""
    try:
        return files.read_file(f"{path}/cgroup.controllers").decode().split()
    except OSError:
        return []


def has_systemd() -> bool:
    """Whether the user's systemd can be asked over its bus."""
    runtime = _runtime_directory()
    return os.path.exists(f"{runtime}/systemd/private") and os.path.exists(f"{runtime}/bus")


def _runtime_directory() -> str:
    """XDG_RUNTIME_DIR, or where it would be: su and cron do not set it, and the user's systemd is there just so."""
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"


def _call_manager(busctl: str, *words: str) -> spawn.Result:
    """Call a method of the user's systemd."""
    env = {**spawn.clean_environment(), "XDG_RUNTIME_DIR": _runtime_directory()}
    return spawn.run([busctl, "--user", "call", *_MANAGER, *words], env=env)


def manager(wanted: str) -> str:
    """Which manager serves: systemd, cgroupfs, split or none; ``wanted`` may be "auto"."""
    if wanted != "auto":
        return wanted
    if not unified():
        return "none"
    if has_systemd() and spawn.which("busctl"):
        return "systemd"
    return "cgroupfs" if os.access(f"{own_path()}/cgroup.procs", os.W_OK) else "none"


def wanted_limits(resources: Resources) -> list[str]:
    """The limits that are set, by the name of their Resources field; a file of ``unified`` by its own name."""
    return [name for name in _CONTROLLER_OF if getattr(resources, name) not in (None, "", [])] + list(resources.unified)


def controller_of(limit: str) -> str:
    """The controller of one of ``wanted_limits``; "" for the cgroup's own files (cgroup.max.depth)."""
    name = _CONTROLLER_OF.get(limit) or limit.partition(".")[0]
    return "" if name == "cgroup" else name


class Cgroup:
    """The directory of a container's cgroup, made and limited; "" where there is none.

    ``owned``: it was made for the container, so that everything in it is the container's.
    """

    __slots__ = ("owned", "path")

    def __init__(self, path: str, *, owned: bool = True) -> None:
        self.path = path
        self.owned = owned

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
    stop_timeout_s: int = _SCOPE_STOP_S,
) -> Cgroup:
    """Make the cgroup of container ``ident`` and set its limits.

    ``optional`` names limits (defaults, not the user's wish) that are left out where their
    controller is missing. ``announce`` is told the directory before it is made. Raises LimitError,
    with nothing left behind.
    """
    chosen = manager(wanted_manager)
    if chosen == "none":
        refuse_limits(resources, optional, [])
        return Cgroup("")
    if chosen == "split":
        base, leaf = _split_own(), f"rpod-{ident}"
    elif chosen == "systemd":
        # A name for each start: systemd learns late that the last one's scope is empty, and a restart would meet it.
        scope = systemd_scope(
            f"rpod-{ident}-{os.getpid()}.scope", f"rpod container {ident[:12]}", parent, stop_timeout_s
        )
        base, leaf = scope, "container"
    else:
        base, leaf = delegated_parent(resources, optional, parent), f"rpod-{ident}"
    announce(f"{base}/{leaf}")
    return make(base, leaf, resources, optional)


def make(base: str, leaf: str, resources: Resources, optional: frozenset[str], *, fresh: bool = True) -> Cgroup:
    """Make the cgroup ``leaf`` below the directory ``base`` and set its limits. Raises LimitError, with nothing left.

    ``fresh``: one that a killed launcher left there is emptied and removed first, else it is taken as it is.
    """
    limits = _possible(resources, optional, controllers(base))
    enable(base, {controller_of(name) for name in limits} - {""})
    path = f"{base}/{leaf}"
    owned = fresh
    try:
        owned = _make_directory(path, fresh)
        for name in limits:
            set_limit(path, name, resources)
    except OSError as error:
        if owned:
            remove(path)
        raise LimitError(f"the container's cgroup cannot be made: {os_reason(error)}", "rpod doctor") from error
    return Cgroup(path, owned=owned)


def check(resources: Resources, *, parent: str, wanted_manager: str, optional: frozenset[str]) -> None:
    """LimitError where a start from here could not set these limits. Makes nothing.

    What systemd would delegate to a scope is known only when there is one.
    """
    chosen = manager(wanted_manager)
    if chosen == "none":
        refuse_limits(resources, optional, [])
    elif chosen == "cgroupfs" and not parent:
        refuse_limits(resources, optional, controllers(delegated_parent(resources, optional, parent)))


def _make_directory(path: str, fresh: bool) -> bool:
    """Make a cgroup; False where there was one already that is taken as it is."""
    try:
        os.mkdir(path, 0o755)
    except FileExistsError:
        if not fresh:
            return False
        remove(path)
        os.mkdir(path, 0o755)
    return True


def _possible(resources: Resources, optional: frozenset[str], available: list[str]) -> list[str]:
    refuse_limits(resources, optional, available)
    return [name for name in wanted_limits(resources) if controller_of(name) in ("", *available)]


def refuse_limits(resources: Resources, optional: frozenset[str], available: list[str]) -> None:
    """LimitError for a limit that is set, not ``optional``, and whose controller is not ``available``."""
    for name in wanted_limits(resources):
        controller = controller_of(name)
        if controller and controller not in available and name not in optional:
            option = _option_of(name, resources)
            raise LimitError(
                f"{option} needs the cgroup controller {controller!r}, which is not delegated to this user",
                _delegation_hint(),
            )


def _option_of(limit: str, resources: Resources) -> str:
    """The option that sets one of ``wanted_limits``."""
    if limit == "io_throttles":
        limit = resources.io_throttles[0][0]
    return _OPTION_OF.get(limit) or f"--cgroup-conf {limit}"


def _delegation_hint() -> str:
    """What `rpod doctor` says. A new login alone is not enough: a lingering user's systemd keeps what it was given."""
    if not os.path.isdir("/run/systemd/system"):
        return "rpod doctor"
    folder = "/etc/systemd/system/user@.service.d"
    return (
        f"sudo mkdir -p {folder} && printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | sudo tee "
        f"{folder}/rpod-delegate.conf && sudo systemctl daemon-reload && "
        f"sudo systemctl restart user@{os.geteuid()}.service"
    )


def delegated_parent(resources: Resources, optional: frozenset[str], parent: str) -> str:
    """The cgroup to make the container's in: the caller's, or its parent when that one must stay free of processes."""
    own = own_path()
    if parent:
        base = f"{own}/{parent.strip('/')}" if not parent.startswith("/") else MOUNT + parent
        try:
            os.makedirs(base, exist_ok=True)
        except OSError as error:
            raise LimitError(f"--cgroup-parent {parent}: {os_reason(error)}") from error
        return base
    outer = os.path.dirname(own)
    limited = [name for name in wanted_limits(resources) if name not in optional]
    if limited and outer.startswith(MOUNT) and os.access(f"{outer}/cgroup.procs", os.W_OK):
        return outer
    return own


def _split_own() -> str:
    """The caller's own cgroup, cleared for the container's: its processes that are ours move to a leaf beside it."""
    base = own_path()
    if not base:
        raise LimitError("--cgroups split needs cgroup v2", "rpod doctor")
    if os.path.basename(base) == _SUPERVISOR:
        base = os.path.dirname(base)  # a restart by the monitor, which is there already
    try:
        os.makedirs(f"{base}/{_SUPERVISOR}", exist_ok=True)
        present = files.read_file(f"{base}/cgroup.procs").decode().split()
        for pid in (os.getppid(), os.getpid()):
            if str(pid) in present:
                files.write_plain(f"{base}/{_SUPERVISOR}/cgroup.procs", str(pid))
    except OSError as error:
        raise LimitError(
            f"--cgroups split: this cgroup is not delegated to the user: {os_reason(error)}",
            "Delegate=yes in the unit, or: systemd-run --user --scope -p Delegate=yes rpod …",
        ) from error
    return base


def enable(base: str, wanted: set[str]) -> None:
    """Let the cgroup directory ``base`` hand the controllers ``wanted`` to its children. Raises LimitError."""
    if not wanted:
        return
    try:
        have = files.read_file(f"{base}/cgroup.subtree_control").decode().split()
        missing = sorted(wanted - set(have))
        if missing:
            files.write_plain(f"{base}/cgroup.subtree_control", " ".join(f"+{name}" for name in missing))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise LimitError(
                f"the cgroup {base} holds processes, so the kernel lets it limit no children",
                "start rpod under: systemd-run --user --scope -p Delegate=yes",
            ) from error
        raise LimitError(f"cgroup controllers cannot be enabled: {os_reason(error)}", _delegation_hint()) from error


def set_limit(path: str, name: str, resources: Resources) -> None:
    """Write one of ``wanted_limits`` into the cgroup directory ``path``. Raises OSError."""
    if name == "memory":
        files.write_plain(f"{path}/memory.max", _or_max(resources.memory))
    elif name == "memory_swap":
        swap = resources.memory_swap or 0
        files.write_plain(f"{path}/memory.swap.max", "max" if swap < 0 else str(max(0, swap - (resources.memory or 0))))
    elif name in ("cpu_quota_us", "cpu_period_us"):
        files.write_plain(f"{path}/cpu.max", f"{_or_max(resources.cpu_quota_us)} {resources.cpu_period_us or 100000}")
    elif name == "cpu_shares":
        # The conversion that runc and crun use from cgroup v1's 2..262144 to v2's 1..10000.
        files.write_plain(f"{path}/cpu.weight", str(1 + ((resources.cpu_shares or 2) - 2) * 9999 // 262142))
    elif name == "pids":
        files.write_plain(f"{path}/pids.max", _or_max(resources.pids))
    else:
        from rootless.runtime import limits

        limits.set_rare(path, name, resources)


def _or_max(value: int | None) -> str:
    return "max" if value is None or value < 0 else str(value)


def systemd_scope(name: str, description: str, parent: str, stop_timeout_s: int = _SCOPE_STOP_S) -> str:
    """Ask systemd for the scope ``name`` in the slice ``parent`` ("": the user's own) around this process.

    Returns its directory after moving this process to its leaf ``monitor``. Raises LimitError.
    """
    busctl = spawn.which("busctl")
    if busctl is None:
        raise LimitError("busctl is not installed, so systemd cannot be asked for a scope", "install systemd")
    if parent and not parent.endswith(".slice"):
        raise LimitError(f"--cgroup-parent {parent}: systemd wants the name of a slice", "--cgroup-parent NAME.slice")
    properties = [
        *("Description", "s", description),
        *("PIDs", "au", "1", str(os.getpid())),
        *("Delegate", "b", "true"),
        *("CollectMode", "s", "inactive-or-failed"),
        *("TimeoutStopUSec", "t", str(max(1, stop_timeout_s) * 1_000_000)),
    ]
    count = 5
    if parent:
        properties += ["Slice", "s", parent]
        count += 1
    arguments = ("StartTransientUnit", "ssa(sv)a(sa(sv))", name, "fail", str(count), *properties, "0")
    result = _call_manager(busctl, *arguments)
    if result.code:
        raise LimitError(f"systemd refused a scope: {result.text[:200]}", "systemctl --user status")
    deadline = time.monotonic() + _SCOPE_WAIT_S
    while not own_path().endswith(name):
        if time.monotonic() > deadline:
            raise LimitError(f"systemd did not start {name} in {_SCOPE_WAIT_S:.0f} s", "systemctl --user status")
        time.sleep(0.002)
    base = own_path()
    os.makedirs(f"{base}/monitor", exist_ok=True)
    files.write_plain(f"{base}/monitor/cgroup.procs", str(os.getpid()))
    return base


def reach(path: str, *, limited: bool) -> Cgroup:
    """The cgroup for a child of this process to be born into, so that it is in the container's, ``path``.

    Where this process lies outside of what is delegated to the user (an ssh session), only systemd may
    cross the border: it moves this process, whose children are then born there by themselves. One that
    cannot be moved stays outside if nothing is limited, else LimitError. Call this before the
    container's namespaces are joined: there busctl would be the image's program, and with nsdelegate the
    kernel refuses (ENOENT) to leave a cgroup that the joined cgroup namespace does not show.
    """
    if not path or _may_migrate(own_path(), path):
        return Cgroup(path)
    if not _attach_by_systemd(path) and limited:
        raise LimitError(
            "the container's cgroup cannot be entered from here, and without it the limits would not hold",
            "systemd-run --user --scope rpod exec …",
        )
    return Cgroup("")


def _may_migrate(source: str, target: str) -> bool:
    """Whether the user may write to their common ancestor (cgroup-v2.rst, "Delegation Containment")."""
    return bool(source) and os.access(f"{os.path.commonpath((source, target))}/cgroup.procs", os.W_OK)


def _attach_by_systemd(path: str) -> bool:
    unit, leaf = os.path.split(path)
    name = os.path.basename(unit)
    busctl = spawn.which("busctl")
    if busctl is None or not has_systemd() or not name.endswith((".scope", ".service")):
        return False
    return _call_manager(busctl, "AttachProcessesToUnit", "ssau", name, f"/{leaf}", "1", str(os.getpid())).code == 0


def kill(path: str) -> None:
    """Kill everything in a cgroup (cgroup.kill, Linux 5.14; else one by one)."""
    try:
        files.write_plain(f"{path}/cgroup.kill", "1")
    except FileNotFoundError:
        try:
            pids = files.read_file(f"{path}/cgroup.procs").split()
        except OSError:
            return
        for pid in pids:
            os.kill(int(pid), 9)
    except OSError:
        pass  # it went away in between


def remove(path: str) -> None:
    """Remove a container's cgroup with the ones made below it; what is still busy is killed first."""
    if not path:
        return
    for _ in range(50):
        try:
            _remove_tree(path)
            return
        except FileNotFoundError:
            return
        except OSError:
            kill(path)
            time.sleep(0.01)


def _remove_tree(path: str) -> None:
    try:
        os.rmdir(path)  # without a descriptor: they may have run out
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            _remove_tree(entry.path)
    os.rmdir(path)


def freeze(path: str, frozen: bool) -> None:
    """Freeze or thaw a cgroup, and wait until all of it is (cgroup-v2.rst, "cgroup.freeze").

    Raises LimitError where there is no cgroup; OSError(ETIMEDOUT), with the cgroup thawed again, where
    a process hangs in the kernel.
    """
    if not path:
        raise LimitError("it has no cgroup of its own, so it cannot be frozen", "rpod doctor")
    files.write_plain(f"{path}/cgroup.freeze", "1" if frozen else "0")
    if not _await_event(path, b"frozen 1" if frozen else b"frozen 0"):
        files.write_plain(f"{path}/cgroup.freeze", "0")
        raise TimeoutError(errno.ETIMEDOUT, "a process hangs in the kernel and does not stop", path)


def _await_event(path: str, line: bytes) -> bool:
    """Wait for a line of cgroup.events; the kernel reports a change as POLLPRI. False after _FREEZE_WAIT_S."""
    fd = os.open(f"{path}/cgroup.events", os.O_RDONLY)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        deadline = time.monotonic() + _FREEZE_WAIT_S
        while line not in os.pread(fd, 4096, 0):
            rest_s = deadline - time.monotonic()
            if rest_s <= 0:
                return False
            poll.poll(rest_s * 1000)
        return True
    finally:
        os.close(fd)

"""Scopes of the user's systemd: the only way to a cgroup of one's own where systemd rules the hierarchy.

systemd is asked through busctl(1), which comes with it.
"""

from __future__ import annotations

import os
import time

from rootless.errors import LimitError
from rootless.kernel import cgroup2, files, spawn

_WAIT_S = 5.0
# At logout and shutdown, between SIGTERM and SIGKILL. systemd's own 90 s would hold up every reboot, for a program
# that is process 1 of its namespace ignores SIGTERM unless it handles it. As long as `rpod stop` waits by default.
_STOP_S = 10
_MANAGER = ("org.freedesktop.systemd1", "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager")


def available() -> bool:
    """Whether the user's systemd can be asked over its bus."""
    runtime = _runtime_directory()
    return os.path.exists(f"{runtime}/systemd/private") and os.path.exists(f"{runtime}/bus")


def make(name: str, description: str, parent: str, stop_timeout_s: int = _STOP_S) -> str:
    """Ask systemd for the scope ``name`` in the slice ``parent`` ("": the user's own) around this process.

    Returns its directory after moving this process to its leaf ``monitor``. Raises LimitError.
    """
    busctl = spawn.which("busctl")
    if busctl is None:
        raise LimitError("busctl is not installed, so systemd cannot be asked for a scope", "install systemd")
    if parent and not parent.endswith(".slice"):
        raise LimitError(f"the cgroup parent {parent!r}: systemd wants the name of a slice", "NAME.slice")
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
    deadline = time.monotonic() + _WAIT_S
    while not cgroup2.own_path().endswith(name):
        if time.monotonic() > deadline:
            raise LimitError(f"systemd did not start {name} in {_WAIT_S:.0f} s", "systemctl --user status")
        time.sleep(0.002)
    base = cgroup2.own_path()
    os.makedirs(f"{base}/monitor", exist_ok=True)
    files.write_plain(f"{base}/monitor/cgroup.procs", str(os.getpid()))
    return base


def attach(path: str) -> bool:
    """Let systemd move this process to the cgroup directory ``path``, a leaf of a scope or service; whether it did."""
    unit, leaf = os.path.split(path)
    name = os.path.basename(unit)
    busctl = spawn.which("busctl")
    if busctl is None or not available() or not name.endswith((".scope", ".service")):
        return False
    return _call_manager(busctl, "AttachProcessesToUnit", "ssau", name, f"/{leaf}", "1", str(os.getpid())).code == 0


def _runtime_directory() -> str:
    """XDG_RUNTIME_DIR, or where it would be: su and cron do not set it, and the user's systemd is there just so."""
    return os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.geteuid()}"


def _call_manager(busctl: str, *words: str) -> spawn.Result:
    """Call a method of the user's systemd."""
    env = {**spawn.clean_environment(), "XDG_RUNTIME_DIR": _runtime_directory()}
    return spawn.run([busctl, "--user", "call", *_MANAGER, *words], env=env)

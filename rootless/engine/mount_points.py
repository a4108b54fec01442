"""What ``mount`` and ``image mount`` share: the namespace that they need, and what is mounted in it."""

from __future__ import annotations

import os

from rootless.errors import StateError
from rootless.kernel import spawn
from rootless.storage import drivers


def check_namespace(what: str, example: str) -> None:
    """A mount is seen in the mount namespace that it was made in, and by whoever shares that. Raises StateError."""
    with open("/proc/self/uid_map", encoding="ascii") as file:
        inside, outside, _ = file.readline().split()
    if os.geteuid() != 0 or (inside, outside) == ("0", "0"):
        raise StateError(
            f"{what} are mounted in a namespace that belongs to rpod", f"rpod unshare, and in it: {example}"
        )


def mount_points(pid: str = "self") -> set[str]:
    """Directories that something is mounted on, as process ``pid`` sees it (proc(5), mountinfo: octal for spaces)."""
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        points = [line.split(b" ")[4] for line in file]
    return {os.fsdecode(point.decode("unicode_escape").encode("latin-1")) for point in points}


def mounted_anywhere() -> set[str]:
    """Directories that something is mounted on in any mount namespace that a process of this user lives in."""
    points: set[str] = set()
    seen: set[int] = set()
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            namespace = os.stat(f"/proc/{pid}/ns/mnt").st_ino
            if namespace not in seen:
                points |= mount_points(pid)
                seen.add(namespace)
        except OSError:
            continue  # it has ended, or is somebody else's
    return points


def mount_plan(plan: drivers.RootPlan) -> None:
    """Mount ``plan`` at its ``merged``. A fuse-overlayfs stays behind; it ends with the mount, or with rpod unshare."""
    if plan.driver == drivers.OVERLAY:
        drivers.mount_overlay(plan)
        return
    device = os.stat(plan.merged).st_dev
    null = os.open("/dev/null", os.O_RDWR)
    pid = spawn.start(drivers.fuse_argv(plan), fds={0: null, 1: null, 2: null})
    drivers.wait_for_mount(plan.merged, device, lambda: os.waitpid(pid, os.WNOHANG)[0] == 0)

"""fuse-overlayfs for one container, in the container's user namespace and a mount namespace of its own.

It cannot live in the container's mount namespace: pivot_root would turn its own root into
the file system that it serves, and it reads /proc/self/fd. So a child mounts it elsewhere
and hands over a detached copy of the mount.
"""

from __future__ import annotations

import os

from rootless.errors import LaunchError, RpodError
from rootless.kernel import process, spawn, syscalls, userns
from rootless.runtime import messages
from rootless.storage import drivers

_AT_FDCWD = -100
_SIGKILL = 9


class FuseMount:
    """A mounted root: the pid of its fuse-overlayfs, a child of ours, and the detached mount."""

    __slots__ = ("pid", "tree")

    def __init__(self, pid: int, tree: int) -> None:
        self.pid = pid
        self.tree = tree


def mount(plan: drivers.RootPlan, user_namespace: int) -> FuseMount:
    """Mount ``plan`` in a user namespace (a descriptor). The caller must be a child subreaper."""
    ours, theirs = messages.pair()
    child = os.fork()
    if child == 0:
        ours.close()
        _mount_and_send(plan, user_namespace, theirs)
        os._exit(0)
    theirs.close()
    try:
        message = ours.receive()
    finally:
        ours.close()  # the child ends by itself; the monitor reaps it
    pid = message.values.get("pid")
    if not isinstance(pid, int):
        raise LaunchError("the process that mounts the root file system was killed")
    return FuseMount(pid, message.fd)


def _mount_and_send(plan: drivers.RootPlan, user_namespace: int, channel: messages.Channel) -> None:
    try:
        syscalls.setns(user_namespace, syscalls.CLONE_NEWUSER)
        syscalls.unshare(syscalls.CLONE_NEWNS)
        userns.become_root()
        device = os.stat(plan.merged).st_dev
        pid = _start(drivers.fuse_argv(plan))
        pidfd = os.pidfd_open(pid)
        drivers.wait_for_mount(plan.merged, device, lambda: not process.wait_gone(pidfd, 0))
        channel.send("mounted", fd=syscalls.open_tree(_AT_FDCWD, plan.merged, syscalls.OPEN_TREE_CLONE), pid=pid)
    except (RpodError, OSError) as error:
        channel.send_error(error, "fuse-overlayfs cannot be started")


def _start(argv: list[str]) -> int:
    """Start the program as a child of the launcher, with whom it dies: nobody else would know of it."""
    launcher = os.getppid()
    pid = syscalls.clone(syscalls.CLONE_PARENT)
    if pid:
        return pid
    try:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, _SIGKILL)
        if os.getppid() == launcher:
            null = os.open("/dev/null", os.O_RDWR)
            for fd in (0, 1, 2):
                os.dup2(null, fd)
            os.execve(argv[0], argv, spawn.clean_environment())
    finally:
        os._exit(127)

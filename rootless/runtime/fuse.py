"""fuse-overlayfs for one container, in the container's user namespace and a mount namespace of its own.

It cannot live in the container's mount namespace: pivot_root would turn its own root into
the file system that it serves, and it reads /proc/self/fd. So a child mounts it elsewhere
and hands over a detached copy of the mount.
"""

from __future__ import annotations

import os

from rootless.errors import LaunchError, RpodError, StorageError
from rootless.kernel import spawn, syscalls, userns
from rootless.runtime import messages
from rootless.storage import drivers

_AT_FDCWD = -100


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
        null = os.open("/dev/null", os.O_RDWR)
        pid = spawn.start(drivers.fuse_argv(plan), fds={0: null, 1: null, 2: null})
        drivers.wait_for_mount(plan.merged, device, lambda: os.waitpid(pid, os.WNOHANG)[0] == 0)
        channel.send("mounted", fd=syscalls.open_tree(_AT_FDCWD, plan.merged, syscalls.OPEN_TREE_CLONE), pid=pid)
    except ChildProcessError:
        channel.send_error(StorageError("fuse-overlayfs ended at once", "rpod doctor"), "")
    except (RpodError, OSError) as error:
        channel.send_error(error, "fuse-overlayfs cannot be started")

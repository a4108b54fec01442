"""Launching a container whose ids do not contain the user's own: ``nomap``, ``auto``, some of ``--uidmap``.

Root of such a container cannot enter the user's store, which is closed to all others. So the
container's user namespace lies below an *outer* one with the default map (kernel/nested.py):

==============  =====================================================================================
launcher        makes the outer namespace; fuse-overlayfs and slirp4netns work in it
middle process  joins it, gives the container what it must own, clones init, writes init's maps
init            is still the user until it becomes root: before that it opens all that it needs
==============  =====================================================================================

The kernel lets a container use a FUSE file system of a user namespace above its own, not of one
beside it. Nothing here needs a kernel newer than the rest of rpod does (5.12, mount_setattr).
"""

from __future__ import annotations

import os
import stat

from rootless.errors import LaunchError, os_reason
from rootless.kernel import nested, syscalls, userns
from rootless.runtime import accounts, chown, overlays
from rootless.storage import copyup

# What init imports when it needs it has to be there before it becomes root: rpod itself may be in a closed home.
_FOR_INIT = (accounts, chown, copyup, overlays)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.plan import InitPlan
    from rootless.runtime.streams import Streams


def open_for(plan: InitPlan) -> int:
    """The outer namespace of ``plan``'s container, a descriptor: a new one, or that of the container joined."""
    if plan.maps is not None:
        return nested.make(userns.default_map(userns.read_ranges()))
    path = plan.spec.namespaces.get("user", "") or f"/proc/{plan.joins['user']}/ns/user"
    fd = os.open(path, os.O_RDONLY)
    try:
        return nested.parent(fd)
    finally:
        os.close(fd)


def enter(plan: InitPlan) -> None:
    """In the middle process: become root of the outer namespace and hand ``plan.given`` over."""
    syscalls.setns(plan.outer_fd, syscalls.CLONE_NEWUSER)
    uid, gid = nested.root_ids(plan.root.uids, plan.root.gids)
    for path in plan.given:
        os.chown(path, uid, gid, follow_symlinks=False)
    if plan.chown:
        _give_trees(plan, uid, gid)


def _give_trees(plan: InitPlan, uid: int, gid: int) -> None:
    """``U``: the container's root must own a tree before it can make it another user's."""
    for mount in plan.spec.mounts:
        if mount.destination in plan.chown and mount.type == "bind":
            fd = os.open(mount.source, os.O_PATH)
            chown.change_tree(fd, uid, gid)
            os.close(fd)


def write_maps(pid: int, plan: InitPlan) -> None:
    """In the middle process: init's maps. The stored ids are the outer ones, so the root's shift says it all."""
    nested.write_maps(pid, plan.root.uids, plan.root.gids)


def open_all(plan: InitPlan, streams: Streams) -> None:
    """In init, which is still the user: open what root of the container cannot reach; paths become descriptors'."""
    plan.root_target = os.open(plan.root.merged, os.O_PATH | os.O_DIRECTORY)
    for mount in plan.spec.mounts:
        if mount.type == "bind":
            try:
                mount.source = f"/proc/self/fd/{os.open(mount.source, os.O_PATH)}"
            except OSError as error:
                raise LaunchError(
                    f"cannot mount {mount.source} at {mount.destination}: {os_reason(error)}",
                    "a container without your own id sees only what you can open without root's rights",
                ) from error
    open_streams(streams)


def open_streams(streams: Streams) -> None:
    """The container's root cannot give the pipes, which are the user's, to the program's user: anyone may open them."""
    for fd in streams.inside:
        if stat.S_ISFIFO(os.fstat(fd).st_mode):
            os.fchmod(fd, 0o666)

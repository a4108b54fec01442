"""Work on a container's files: in its namespaces, or with its root and volumes mounted for the moment."""

from __future__ import annotations

import os

from rootless.engine import facts
from rootless.errors import StateError
from rootless.kernel import spawn, syscalls, userns
from rootless.runtime import join, mounts, overlays
from rootless.spec import Spec
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.spec import Mount
    from rootless.state.container import Container


def inside(container: Container, work: Callable[[int], object]) -> object:
    """Call ``work(root_fd)`` in a child that is root of the container's user namespace; returns its JSON result.

    ``root_fd`` is the container's root directory. The child is not chrooted: whoever opens a
    path must do so with openat2 and RESOLVE_IN_ROOT. Its RpodError is raised here.
    """
    state = container.state()
    if state.running or state.waits:
        return _running(container, work)
    return _stopped(container, work)


def _running(container: Container, work: Callable[[int], object]) -> object:
    pidfd = container.init_pidfd()
    plan = join.JoinPlan(Spec(), pidfd, ["user", "mount"])

    def body() -> object:
        userns.become_root()
        return work(os.open("/", os.O_RDONLY | os.O_DIRECTORY))

    try:
        return userns.call_forked(lambda child: join.start_inside(plan, child), body)
    finally:
        os.close(pidfd)


def _stopped(container: Container, work: Callable[[int], object]) -> object:
    """Mount the root in a user and mount namespace that lasts as long as the work; nobody may start it meanwhile."""
    alive = container.take_alive()
    if alive is None:
        raise StateError(f"container {container.name} is just being started", "try again")
    plan = facts.root_plan(container.record, container.directory)
    ranges = userns.read_ranges()
    shifted = facts.is_shifted(container.record)
    maps = userns.default_map(ranges) if shifted else facts.id_map(container.record, ranges)
    spec = facts.read_spec(container)
    own = {mount.destination for mount in container.record.mounts}

    def body() -> object:
        helpers = _mount(plan)
        try:
            root = mounts.Root.at(plan.merged)
            for mount in spec.mounts:
                if mount.destination in own and mount.type == drivers.FUSE:
                    helpers += _place_fuse(mount, root)
                elif mount.destination in own and mount.type in ("bind", drivers.OVERLAY):
                    mounts.perform(mount, root)
            root_fd = os.open(plan.merged, os.O_RDONLY | os.O_DIRECTORY)
            return _as_its_root(lambda: work(root_fd), plan) if shifted else work(root_fd)
        finally:
            for pid in helpers:
                os.kill(pid, 15)
                spawn.wait(pid)

    try:
        return userns.call_inside(body, maps)
    finally:
        alive.release()


def _place_fuse(mount: Mount, root: mounts.Root) -> list[int]:
    """Mount an overlay of the container that fuse-overlayfs serves; returns its pid."""
    plan = overlays.plan_of(mount)
    helpers = _mount(plan)
    tree = syscalls.open_tree(-1, plan.merged, syscalls.OPEN_TREE_CLONE)
    syscalls.umount(plan.merged, syscalls.MNT_DETACH)
    mounts.place_tree(tree, mount, root)
    return helpers


def _as_its_root(work: Callable[[], object], plan: drivers.RootPlan) -> object:
    """Call ``work`` in the user namespace of a container that lacks the user's own id: below ours, the outer one."""
    from rootless.kernel import nested

    return userns.call_forked(lambda body: nested.fork_inside(body, plan.uids, plan.gids), work)


def _mount(plan: drivers.RootPlan) -> list[int]:
    """Mount ``plan``; the pid of fuse-overlayfs, none for the kernel's overlay or a directory."""
    if plan.driver == drivers.DIRECTORY:
        return []
    if plan.driver == drivers.OVERLAY:
        drivers.mount_overlay(plan)
        return []
    device = os.stat(plan.merged).st_dev
    null = os.open("/dev/null", os.O_RDWR)
    pid = spawn.start(drivers.fuse_argv(plan), fds={0: null, 1: null, 2: null})
    drivers.wait_for_mount(plan.merged, device)
    return [pid]

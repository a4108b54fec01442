"""Mounts of the type ``overlay`` in config.json: a stack of lower directories, with or without a writable one."""

from __future__ import annotations

from rootless.errors import LaunchError
from rootless.kernel import syscalls as sc
from rootless.storage.drivers import RootPlan, mount_overlay

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Mount

_AT_FDCWD = -100


def plan_of(mount: Mount) -> RootPlan:
    """How the overlay is put together. LaunchError if it has no lower directory."""
    found = dict(option.partition("=")[::2] for option in mount.options if "=" in option)
    if not found.get("lowerdir"):
        raise LaunchError(f"the overlay at {mount.destination} has no lowerdir")
    return RootPlan.from_options(mount.type, found)


def make(mount: Mount) -> int:
    """A detached overlay. For a moment it lies over its base directory, in this mount namespace alone.

    The calls for detached mounts take all layers only since Linux 6.8 (lowerdir+).
    """
    plan = plan_of(mount)
    mount_overlay(plan)
    try:
        return sc.open_tree(_AT_FDCWD, plan.merged, sc.OPEN_TREE_CLONE)
    finally:
        sc.umount(plan.merged, sc.MNT_DETACH)

"""``mount`` and ``unmount``: a container's root as a directory, in the namespace of ``rpod unshare``.

Two overlays must never write into one directory: a container is mounted while it does not
run, and cannot be started as long as the namespace of its mount lives. ``mounted`` in the
container's directory says that there was one.
"""

from __future__ import annotations

import os

from rootless import config, paths
from rootless.engine import facts
from rootless.engine.mount_points import check_namespace, mount_plan, mount_points, mounted_anywhere
from rootless.errors import NotFoundError, StateError, StorageError, os_reason
from rootless.kernel import files, syscalls
from rootless.state.containers import Containers
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container

_MARK = "mounted"


def mount(container: Container) -> str:
    """Mount the root of a container that does not run, if it is not already, and return the directory.

    What is mounted in the container when it runs is not in it. Raises StateError, StorageError.
    """
    check_namespace("containers", f"rpod mount {container.name}")
    plan = facts.root_plan(container.record, container.directory)
    if plan.driver == drivers.DIRECTORY or plan.merged in mount_points():
        return plan.merged
    alive = container.take_alive()
    if alive is None:
        raise StateError(
            f"container {container.name} is {container.state().status}: its root is mounted in its own namespace",
            f"rpod exec and rpod cp reach its files, or: rpod stop {container.name}",
        )
    with alive:
        refuse_mounted(container)
        try:
            _mount(container, plan)
        except OSError as error:
            raise StorageError(f"container {container.name} cannot be mounted: {os_reason(error)}") from error
    return plan.merged


def _mount(container: Container, plan: drivers.RootPlan) -> None:
    if plan.uids:  # here ids are as they are stored, whatever the container's own map is
        plan.uids = plan.gids = ""
        plan.driver = drivers.choose(config.load().storage.driver, paths.data())
    plan.make_directories()
    mark = f"{container.directory}/{_MARK}"
    files.write_atomic(mark, b"", sync=False)
    try:
        mount_plan(plan)
    except BaseException:
        files.remove_tree(mark)
        raise


def refuse_mounted(container: Container) -> None:
    """StateError if the root is mounted in a namespace that lives; the mark of one that is gone is removed."""
    mark = f"{container.directory}/{_MARK}"
    if not os.path.exists(mark):
        return
    if f"{container.directory}/merged" in mounted_anywhere():
        raise StateError(
            f"container {container.name} is mounted in rpod unshare", f"in that shell: rpod unmount {container.name}"
        )
    files.remove_tree(mark)


def mounted() -> list[tuple[Container, str]]:
    """The containers that are mounted in this namespace, and where."""
    points = mount_points()
    found = [(container, f"{container.directory}/merged") for container in Containers().all()]
    return [(container, path) for container, path in found if path in points]


def unmount(container: Container) -> None:
    """Unmount. Raises NotFoundError where it is not mounted, StorageError."""
    check_namespace("containers", f"rpod unmount {container.name}")
    path = f"{container.directory}/merged"
    if path not in mount_points():
        raise NotFoundError(f"container {container.name} is not mounted", "rpod mount")
    try:
        syscalls.umount(path, syscalls.MNT_DETACH)
        files.remove_tree(f"{container.directory}/{_MARK}")
    except OSError as error:
        raise StorageError(f"container {container.name} cannot be unmounted: {os_reason(error)}") from error

"""Overlays among a container's mounts: an image's layers, and ``O``, a source that keeps nothing.

In config.json they are mounts of the type ``overlay``, or ``fuse-overlayfs`` where that one
serves. What is written goes to ``containers/ID/overlays/N``, which is emptied at each start.
"""

from __future__ import annotations

import os

from rootless import config, paths
from rootless.engine import facts
from rootless.kernel import userns
from rootless.spec import Mount
from rootless.storage import drivers
from rootless.storage.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.mounts import Wanted
    from rootless.state.container import Container
    from rootless.state.record import ContainerRecord


def to_mount(wanted: Wanted, record: ContainerRecord, number: int) -> Mount:
    """The mount of ``wanted``, the ``number``-th of the container."""
    options = [item for item in wanted.options if item not in ("bind", "rbind")]
    directory = f"{paths.data()}/containers/{record.id}/overlays/{number}"
    if wanted.type == "image":
        store = LayerStore(paths.data())
        layers = [store.path(chain_id) for chain_id in wanted.layers]
        driver = record.driver
        if driver == drivers.OVERLAY and len(layers) == 1 and not wanted.scratch:
            # The kernel stacks no single layer without a writable one; there is nothing to stack, either.
            mount = Mount(wanted.destination, "bind", layers[0], options)
            mount.subpath = wanted.subpath
            return mount
    else:
        layers = [wanted.source]
        # Root of a shifted container could not name the directories of an overlay of its own.
        shifted = facts.is_shifted(record)
        driver = drivers.FUSE if shifted else drivers.choose(config.load().storage.driver, paths.data())
    plan = drivers.RootPlan(driver, layers, directory)
    if wanted.type == "image" and record.uid_map:
        plan.uids, plan.gids = facts.shifts(record)
    if wanted.upper:
        plan.upper, plan.work = wanted.upper, wanted.work
    elif not wanted.scratch:
        plan.upper = plan.work = ""
    mount = Mount(wanted.destination, driver, driver, [*options, *plan.to_options()])
    mount.subpath = wanted.subpath
    return mount


def renew(container: Container, numbers: list[int]) -> None:
    """Before a start: empty writable parts for the mounts ``numbers``. Raises OSError, RpodError."""
    folder = f"{container.directory}/overlays"
    userns.remove_tree_inside(folder)
    os.mkdir(folder, 0o700)
    for number in numbers:
        directory = f"{folder}/{number}"
        os.mkdir(directory, 0o700)
        drivers.RootPlan(drivers.OVERLAY, [], directory).make_directories()

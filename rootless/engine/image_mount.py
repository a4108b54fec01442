"""``image mount`` and ``unmount``: an image's root as a directory, in the namespace of ``rpod unshare``."""

from __future__ import annotations

import os

from rootless import config, paths
from rootless.engine import images
from rootless.engine.mount_points import check_namespace, mount_plan, mount_points, mounted_anywhere
from rootless.errors import NotFoundError, StorageError, os_reason
from rootless.kernel import files, syscalls
from rootless.storage import drivers, last_use
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.storage.image_record import Image

_READ_ONLY = syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY


class Mounted:
    """A mounted image: its id (64 digits), its names, and where."""

    __slots__ = ("id", "names", "path")

    def __init__(self, ident: str, names: list[str], path: str) -> None:
        self.id = ident
        self.names = names
        self.path = path


def _directory() -> str:
    return f"{paths.runtime()}/images"


def mount(name: str) -> str:
    """Mount an image read-only, if it is not already, and return the directory. Raises StateError, NotFoundError."""
    check_namespace("images", "rpod image mount")
    image = images.resolve(name)
    path = f"{_directory()}/{image.hex}"
    if path in _mount_points():
        return path
    last_use.note(paths.data(), image.id)
    try:
        files.make_private(path)
        _mount(image, path)
        if not image.is_there():
            _unmount(path, image.hex)
            raise NotFoundError(f"the image {name} was removed meanwhile", "try again")
    except OSError as error:
        raise StorageError(
            f"image {image.hex[:12]} cannot be mounted: {os_reason(error)}", "rpod doctor overlay"
        ) from error
    return path


def in_use() -> list[str]:
    """The ids of the images that are mounted in any namespace of this user."""
    if not os.path.isdir(_directory()):
        return []
    directory = f"{_directory()}/"
    return [f"sha256:{point[len(directory) :]}" for point in mounted_anywhere() if point.startswith(directory)]


def _mount(image: Image, path: str) -> None:
    store = LayerStore(paths.data())
    layers = [store.path(chain_id) for chain_id in image.layers]
    if len(layers) < 2:
        # The kernel stacks no single layer; an image without any is an empty directory.
        syscalls.mount(layers[0] if layers else path, path, None, syscalls.MS_BIND)
        syscalls.mount(None, path, None, _READ_ONLY)
        return
    plan = drivers.RootPlan(drivers.choose(config.load().storage.driver, paths.data()), layers, "")
    plan.upper = plan.work = ""
    plan.merged = path
    mount_plan(plan)


def unmount(name: str) -> str:
    """Unmount an image and return its id. Raises NotFoundError where it is not mounted."""
    check_namespace("images", "rpod image mount")
    image = images.resolve(name)
    _unmount(f"{_directory()}/{image.hex}", image.hex)
    return image.hex


def _unmount(path: str, ident: str) -> None:
    if path not in _mount_points():
        raise NotFoundError(f"image {ident[:12]} is not mounted", "rpod image mount")
    try:
        syscalls.umount(path, syscalls.MNT_DETACH)
        os.rmdir(path)
    except OSError as error:
        raise StorageError(f"image {ident[:12]} cannot be unmounted: {os_reason(error)}") from error


def mounted() -> list[Mounted]:
    """The images that are mounted in this namespace."""
    store = ImageStore(paths.data())
    found = []
    for path in _mount_points():
        ident = os.path.basename(path)
        image = store.by_id(ident)
        found.append(Mounted(ident, store.names(image) if image else [], path))
    return found


def unmount_all() -> list[str]:
    """Unmount every image; returns the ids."""
    check_namespace("images", "rpod image mount")
    found = mounted()
    for item in found:
        _unmount(item.path, item.id)
    return [item.id for item in found]


def _mount_points() -> list[str]:
    """Directories of ours that something is mounted on."""
    directory = f"{_directory()}/"
    return sorted(point for point in mount_points() if point.startswith(directory))

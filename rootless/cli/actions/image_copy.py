"""``image copy mount unmount``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.access import registry_access
from rootless.cli.actions.names import Each
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Unpack

    from rootless.cli.actions.access import RegistryOptions


def copy(*, source: str, target: str, platform: str, quiet: bool, **access: Unpack[RegistryOptions]) -> int:
    """Copy an image."""
    from rootless.engine import image_copy as engine

    engine.copy(source, target, registry_access(**access), platform=platform, quiet=quiet)
    return 0


def mount(*, images: list[str], all: bool, format: str) -> int:
    """Mount images, or list those that are mounted."""
    from rootless.engine import image_mount as engine

    if format not in ("", "json"):
        raise UsageError(f"--format {format}: there are no templates", "json, or nothing")
    if all:
        if images:
            raise UsageError("names and --all exclude each other", "give one of them")
        from rootless.engine.images import list_images

        images = list(dict.fromkeys(row.Id for row in list_images()))
    if not images:
        _list_mounted(format)
        return 0
    each = Each()
    for name in images:
        with each:
            path = engine.mount(name)
            output.emit(path if len(images) == 1 else f"{name} {path}")
    return each.code


def _list_mounted(format_: str) -> None:
    from rootless.engine import image_mount as engine

    found = engine.mounted()
    if format_:
        rows = [{"id": item.id, "Repositories": item.names, "mountpoint": item.path} for item in found]
        output.print_json(rows, " ")
        return
    for item in found:
        output.emit(f"{item.names[0] if item.names else item.id[:12]}  {item.path}")


def unmount(*, images: list[str], all: bool, force: bool) -> int:
    """Unmount images and print their ids."""
    from rootless.engine import image_mount as engine

    del force  # a program in the image is no obstacle in any case
    if bool(images) == all:
        raise UsageError("give names of images, or --all", "rpod image mount lists those that are mounted")
    if all:
        for ident in engine.unmount_all():
            output.emit(ident)
        return 0
    each = Each()
    for name in images:
        with each:
            output.emit(engine.unmount(name))
    return each.code

"""``manifest …``."""

from __future__ import annotations

from dataclasses import fields

from rootless.cli import output
from rootless.cli.actions.access import registry_access
from rootless.cli.actions.names import Each
from rootless.engine import manifest_list as engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Unpack

    from rootless.cli.actions.access import RegistryOptions


def _changes(values: dict[str, Any]) -> engine.Changes:
    """Take the options about an entry out of ``values``."""
    return engine.Changes(**{item.name: values.pop(item.name) for item in fields(engine.Changes)})


def create(*, name: str, images: list[str], all: bool, amend: bool, **access: Unpack[RegistryOptions]) -> int:
    """Make a list."""
    output.emit(engine.create(name, images, registry_access(**access), all=all, amend=amend).id)
    return 0


def add(*, name: str, images: list[str], all: bool, **values: Any) -> int:
    """Add images to a list."""
    changes = _changes(values)
    output.emit(engine.add(name, images, changes, registry_access(**values), all=all).id)
    return 0


def annotate(*, name: str, image: str, **values: Any) -> int:
    """Change an entry."""
    output.emit(engine.annotate(name, image, _changes(values)).id)
    return 0


def inspect(*, name: str, **access: Unpack[RegistryOptions]) -> int:
    """Print a list or a manifest."""
    for line in engine.inspect(name, registry_access(**access)).splitlines():
        output.emit(line)
    return 0


def push(*, name: str, target: str, **values: Any) -> int:
    """Send a list."""
    options = engine.PushOptions(**{item.name: values.pop(item.name) for item in fields(engine.PushOptions)})
    output.emit(engine.push(name, target, registry_access(**values), options))
    return 0


def remove(*, name: str, image: str) -> int:
    """Take an image from a list."""
    output.emit(engine.remove_member(name, image).id)
    return 0


def rm(*, names: list[str]) -> int:
    """Remove lists; every name is tried."""
    each = Each()
    for name in names:
        with each:
            found = engine.remove(name)
            output.emit(f"Untagged: {found.name}")
            output.emit(f"Deleted: {found.id}")
    return each.code


def exists(*, name: str) -> int:
    """Whether there is such a list."""
    return 0 if engine.find(name) is not None else 1

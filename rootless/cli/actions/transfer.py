"""``save load``."""

from __future__ import annotations

from rootless.cli import output as out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def save(*, images: list[str], **options: Any) -> int:
    """Write images."""
    from rootless.engine import save as engine

    chosen = engine.SaveOptions()
    for name, value in options.items():
        setattr(chosen, name, value)
    engine.save(images, chosen)
    return 0


def load(*, input: str, quiet: bool) -> int:
    """Store images and print their names."""
    from rootless.engine import load as engine

    for name in engine.load(input, quiet=quiet):
        out.emit(f"Loaded image: {name}")
    return 0

"""``image copy``."""

from __future__ import annotations

from rootless.cli.actions.transfer import registry_access

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def copy(*, source: str, target: str, platform: str, quiet: bool, **access: Any) -> int:
    """Copy an image."""
    from rootless.engine import image_copy as engine

    engine.copy(source, target, registry_access(**access), platform=platform, quiet=quiet)
    return 0

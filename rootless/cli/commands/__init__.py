"""Every command of rpod: importing this package declares them all."""

from __future__ import annotations

from rootless.cli.commands import (
    changes,
    container,
    create,
    health,
    image,
    image_copy,
    lifecycle,
    look,
    manifest,
    mend,
    mount,
    network_care,
    setup,
    system,
    talk,
    transfer,
    units,
    update,
    volume,
    watch,
)

__all__ = [
    "changes",
    "container",
    "create",
    "health",
    "image",
    "image_copy",
    "lifecycle",
    "look",
    "manifest",
    "mend",
    "mount",
    "network_care",
    "setup",
    "system",
    "talk",
    "transfer",
    "units",
    "update",
    "volume",
    "watch",
]

"""Every command of rpod: importing this package declares them all."""

from __future__ import annotations

from rootless.cli.commands import create, image, lifecycle, look, system, talk

__all__ = ["create", "image", "lifecycle", "look", "system", "talk"]

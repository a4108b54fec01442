"""What each command does: names become objects, the engine works, the result is printed. No Typer here."""

from __future__ import annotations

"""Lines for people on standard error. No logging framework: the hot path pays for imports."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LEVELS = ("error", "warn", "info", "debug")
_level = 1
_sink: Callable[[str, str], None] | None = None


def set_level(name: str) -> None:
    """Show messages up to level ``name`` (one of LEVELS, else ValueError)."""
    global _level
    _level = LEVELS.index(name)


def set_sink(sink: Callable[[str, str], None]) -> None:
    """Give messages, as level and text, to ``sink`` instead of standard error."""
    global _sink
    _sink = sink


def _emit(level: int, text: str) -> None:
    if level > _level:
        return
    if _sink is not None:
        _sink(LEVELS[level], printable(text))
    else:
        line = f"rpod: {LEVELS[level]}: {printable(text)}\n".encode("utf-8", "surrogateescape")
        try:
            os.write(2, line)
        except OSError:
            pass  # stderr is closed; there is nobody to tell


def warn(text: str) -> None:
    """Something the user should know; the command goes on."""
    _emit(1, text)


def info(text: str) -> None:
    """A step worth telling with --log-level info."""
    _emit(2, text)


def debug(text: str) -> None:
    """A detail for --log-level debug."""
    _emit(3, text)


def printable(text: str) -> str:
    """``text`` with control characters escaped, so that foreign names cannot drive a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else repr(c)[1:-1] for c in text)

"""Lines for people on standard error. No logging framework: the hot path pays for imports."""

from __future__ import annotations

import os

LEVELS = ("error", "warn", "info", "debug")
_level = 1


def set_level(name: str) -> None:
    """Show messages up to level ``name`` (one of LEVELS, else ValueError)."""
    global _level
    _level = LEVELS.index(name)


def _emit(level: int, text: str) -> None:
    if level <= _level:
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

"""``purge chown``."""

from __future__ import annotations

from rootless.cli.actions.names import Each


def purge(*, paths: list[str]) -> int:
    """Remove trees; every path is tried."""
    from rootless.engine import mend

    each = Each()
    for path in paths:
        with each:
            mend.purge(path)
    return each.code


def chown(*, words: list[str], recursive: bool) -> int:
    """Change owners."""
    from rootless.engine import mend

    mend.chown(words, recursive=recursive)
    return 0

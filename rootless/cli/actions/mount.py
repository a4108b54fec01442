"""``mount`` and ``unmount``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import Each, one
from rootless.errors import UsageError

_LAYOUT = output.Layout({"ID": "ID", "Names": "NAMES", "Mountpoint": "MOUNTPOINT"}, ("ID", "Mountpoint"))


def mount(*, containers: list[str], all: bool, format: str, latest: bool, notruncate: bool) -> int:
    """Mount containers and print where, or list what is mounted."""
    from rootless.engine import mount as engine

    if not (containers or all or latest):
        _list(format, full=notruncate)
        return 0
    if format not in ("", "json"):
        raise UsageError(f"--format {format}: mount knows json", "rpod mount lists with a template, too")
    each = Each(quiet=True).choose(
        containers, all=all, latest=latest, only=lambda status: status not in ("running", "paused", "stopping")
    )
    for typed, known in each.targets:
        with each:
            path = engine.mount(known or one(typed))
            output.emit(path if containers and len(each.targets) == 1 else f"{typed} {path}")
    return each.code


def _list(format_: str, *, full: bool) -> None:
    from rootless.engine import mount as engine

    found = engine.mounted()
    rows = [{"ID": c.id if full else c.id[:12], "Names": c.name, "Mountpoint": path} for c, path in found]
    described = [{"id": c.id, "Names": [c.name], "mountpoint": path} for c, path in found]
    output.listing(rows, _LAYOUT, format_, described, noheading=True)


def unmount(*, containers: list[str], all: bool, force: bool, latest: bool) -> int:  # noqa: ARG001 - always so
    """Unmount containers and print what was typed."""
    from rootless.engine import mount as engine

    if all:
        each = Each()
        each.targets = [(container.id, container) for container, _ in engine.mounted()]
        return each.do(engine.unmount)
    return Each().choose(containers, latest=latest).do(engine.unmount)

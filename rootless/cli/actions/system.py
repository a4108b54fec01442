"""``info version unshare doctor cleanup``, ``system prune``, ``system df``."""

from __future__ import annotations

import sys

from rootless.cli import output
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.df import Group
    from rootless.engine.doctor import Finding

_FINDINGS = output.Layout(
    {
        name: name.upper()
        for name in ("Name", "Title", "Ok", "Required", "Found", "Why", "Fix", "Who", "Cause", "Script")
    },
    ("Name", "Ok", "Required", "Found"),
)
_DF = output.Layout(
    {
        "Type": "TYPE",
        "Total": "TOTAL",
        "Active": "ACTIVE",
        "Size": "SIZE",
        "Reclaimable": "RECLAIMABLE",
        "RawSize": "RAW SIZE",
        "RawReclaimable": "RAW RECLAIMABLE",
    },
    ("Type", "Total", "Active", "Size", "Reclaimable"),
)


def info(*, format: str) -> int:
    """Show the machine and rpod's setup."""
    from rootless.engine import info as engine

    value = engine.info()
    if not output.single(value, format):
        output.yaml(value)
    return 0


def version(*, format: str) -> int:
    """Show the version."""
    from rootless.engine import info as engine

    value: Any = engine.version()
    if output.single(value, format):
        return 0
    client = value["Client"]
    lines = {
        "Client": "rpod",
        "Version": client["Version"],
        "Python Version": client["PythonVersion"],
        "Built": client["BuiltTime"],
        "OS/Arch": client["OsArch"],
    }
    for key, text in lines.items():
        output.emit(f"{key + ':':<17}{text}")
    return 0


def unshare(*, command: list[str]) -> int:
    """Run a program in the user namespace of the store; returns its exit code."""
    from rootless.engine import unshare as engine

    sys.stdout.flush()
    return engine.unshare(command)


def df(*, format: str, verbose: bool) -> int:
    """Show disk usage."""
    from rootless.engine import df as engine

    if verbose and format:
        raise UsageError("--verbose and --format exclude each other", "leave one out")
    groups = engine.df()
    if verbose:
        _df_verbose(groups)
        _df_budget()
        return 0
    rows = [_df_fields(group) for group in groups]
    json_rows = [{**row, "Size": row["RawSize"], "Reclaimable": row["RawReclaimable"]} for row in rows]
    output.listing(rows, _DF, format, json_rows)
    return 0


def _df_fields(group: Group) -> dict[str, Any]:
    share = round(100 * group.reclaimable_bytes / group.size_bytes) if group.size_bytes else 0
    return {
        "Type": group.kind,
        "Total": group.total,
        "Active": group.active,
        "Size": output.size(group.size_bytes),
        "Reclaimable": f"{output.size(group.reclaimable_bytes)} ({share}%)",
        "RawSize": group.size_bytes,
        "RawReclaimable": group.reclaimable_bytes,
    }


def _df_verbose(groups: list[Group]) -> None:
    for index, group in enumerate(groups):
        if index:
            output.emit("")
        output.emit(f"{group.kind} space usage:\n")
        heading = ["ID", "NAME", "SIZE", "SHARED SIZE", "USED BY"]
        rows = [
            [
                entry.id.removeprefix("sha256:")[:12],
                entry.name,
                output.size(entry.size_bytes),
                output.size(entry.shared_bytes),
                str(entry.users),
            ]
            for entry in group.entries
        ]
        output.table([heading, *rows])


def _df_budget() -> None:
    """What storage.max_size and max_age would take now."""
    from rootless.engine import budget

    plan = budget.plan()
    if plan is None:
        return
    if not plan.taken:
        output.emit("\nThe next pull, load, import or commit would remove nothing (storage.max_size, storage.max_age).")
        return
    output.emit("\nThe next pull, load, import or commit would remove (storage.max_size, storage.max_age):\n")
    rows = [[item.name, output.size(item.size_bytes), output.ago(item.used_s)] for item in plan.taken]
    output.table([["NAME", "SIZE", "LAST USED"], *rows])


def prune(*, all: bool, filter: list[str], force: bool, volumes: bool) -> int:
    """Remove what nothing uses, after asking."""
    from rootless.engine import prune as engine

    if not force and not _agreed(all=all, volumes=volumes):
        return 0
    report = engine.prune(all=all, volumes=volumes, filters=filter)
    for title, found in (
        ("Containers", report.containers),
        ("Images", report.images),
        ("Layers", report.layers),
        ("Volumes", report.volumes),
    ):
        if found:
            output.emit(f"Deleted {title}")
            for item in found:
                output.emit(item)
    output.emit(f"Total reclaimed space: {output.size(report.reclaimed_bytes)}")
    return 0


def _agreed(*, all: bool, volumes: bool) -> bool:
    lines = ["all stopped containers", "all images without a container" if all else "all images without a name"]
    if volumes:
        lines.append("all volumes that no container uses")
    return output.agreed("WARNING! This will remove:\n" + "\n".join(f"\t- {line}" for line in lines))


def doctor(*, checks: list[str], format: str, script: bool) -> int:
    """Try every prerequisite, or the named ones; 1 if a required one is missing."""
    from rootless.engine import doctor as engine

    if unknown := [name for name in checks if name not in engine.names()]:
        raise UsageError(f"there is no check {unknown[0]!r}", ", ".join(engine.names()))
    if script:
        if format or checks:
            raise UsageError("--script goes with neither --format nor checks", "rpod doctor --script")
        output.emit(engine.script().rstrip("\n"))
        return 0
    findings = engine.examine(checks or None)
    if format:
        rows = [{name.title(): value for name, value in finding.as_dict().items()} for finding in findings]
        output.listing(rows, _FINDINGS, format, rows)
    else:
        for finding in findings:
            _show(finding)
    return int(any(finding.required and not finding.ok for finding in findings))


def _show(finding: Finding) -> None:
    mark = "ok" if finding.ok else "MISSING" if finding.required else "optional"
    output.emit(f"{mark:<9}{finding.title}: {finding.found}")
    if not finding.ok:
        output.emit(f"{'':9}why: {finding.why}")
        if finding.fix:
            output.emit(f"{'':9}{'you' if finding.who == 'user' else 'administrator'}: {finding.fix}")


def cleanup(*, container: str, lock: int, restart: bool) -> int:
    """Tidy up behind a container that has ended, or start it again."""
    from rootless.engine import cleanup as engine

    return engine.cleanup(container, lock, restart=restart)


def check(*, force: bool, quick: bool, repair: bool) -> int:
    """Look for damage, and mend it."""
    from rootless.engine import check as engine

    if force and not repair:
        raise UsageError("--force without --repair changes nothing", "rpod system check --repair --force")

    def announce(damage: engine.Damage) -> None:
        end = f" ({damage.remedy})" if damage.mended else " (needs --force)" if damage.needs_force and repair else ""
        end = end or (" (harmless)" if damage.harmless else "")
        output.emit(f"{damage.what}: {damage.why}{end}")

    return 0 if engine.check(quick=quick, repair=repair, force=force, announce=announce) else 1


def migrate() -> int:
    """Give what is stored to the ids that the user has now."""
    from rootless.engine import migrate as engine

    output.emit(f"{engine.migrate()} files changed their owner")
    return 0


def reset(*, force: bool) -> int:
    """Remove everything, after asking."""
    from rootless.engine import reset as engine

    what = ("all containers, running or not", "all images", "all volumes", "everything else that rpod has stored")
    if not force and not output.agreed("WARNING! This will remove:\n" + "\n".join(f"\t- {line}" for line in what)):
        return 0
    for path in engine.reset():
        output.emit(f"Removed {path}")
    return 0

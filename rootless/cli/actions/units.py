"""``quadlet``, ``generate systemd`` and ``auto-update``."""

from __future__ import annotations

import os

from rootless.cli import output
from rootless.cli.actions.names import Each
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.quadlet_verify import Report
    from rootless.errors import RpodError

_FAILED = 125
_LIST = output.Layout(
    {"Name": "NAME", "UnitName": "UNIT NAME", "Path": "PATH ON DISK", "Status": "STATUS", "App": "APPLICATION"},
    ("Name", "UnitName", "Path", "Status", "App"),
)

_UPDATES = output.Layout(
    {
        "Unit": "UNIT",
        "Container": "CONTAINER",
        "Image": "IMAGE",
        "Policy": "POLICY",
        "Updated": "UPDATED",
        "ContainerName": "CONTAINER NAME",
        "ContainerID": "CONTAINER ID",
    },
    ("Unit", "Container", "Image", "Policy", "Updated"),
)


def install(*, path: str, files: list[str], reload_systemd: bool, replace: bool) -> int:
    """Install Quadlet files, and print where they are."""
    from rootless.engine import quadlet_install as engine

    for written in engine.install(path, files, replace=replace):
        output.emit(written)
    return _synchronise(reload_systemd)


def _synchronise(reload: bool) -> int:
    """Bring the services up to date; 1 if a file has a mistake."""
    from rootless.engine import quadlet as engine

    _, errors = engine.synchronise(reload=reload)
    for error in errors:
        output.report(error)
    return int(bool(errors))


def list_(*, filter: list[str], format: str, noheading: bool) -> int:
    """List Quadlet files."""
    from rootless.engine import quadlet as engine

    rows = [row.to_json() for row in engine.listing(filter)]
    output.listing(rows, _LIST, format, rows, noheading=noheading)
    return 0


def print_(*, quadlet: str, unit: bool) -> int:
    """Print a file or its service."""
    from rootless.engine import quadlet as engine

    text = engine.service(quadlet).text() if unit else engine.text(quadlet)
    for line in text.splitlines():
        output.emit(line)
    return 0


def rm(*, quadlets: list[str], all: bool, force: bool, ignore: bool, reload_systemd: bool) -> int:
    """Remove files, and print their names."""
    from rootless.engine import quadlet as engine

    if bool(quadlets) == all:
        raise UsageError("a Quadlet file is missing" if not all else "names and --all exclude each other")
    each = Each(ignore=ignore)
    gone: set[str] = set()
    for name in engine.removable() if all else quadlets:
        if name in gone:
            continue  # with its application
        with each:
            removed = engine.remove(name, force=force)
            gone.update(removed)
            for path in removed:
                output.emit(path)
    synchronised = _synchronise(reload_systemd)
    return each.code or synchronised


def sync(*, reload_systemd: bool) -> int:
    """Write services, and say what was done."""
    from rootless.engine import quadlet as engine
    from rootless.units import sync as rules

    changes, errors = engine.synchronise(reload=reload_systemd)
    if rules.generator():
        output.emit(f"{rules.generator()} makes the services: systemd was told")
    for done, names in (("written", changes.written), ("removed", changes.removed), ("as it was", changes.unchanged)):
        for name in names:
            output.emit(f"{done:<11}{name}")
    for error in errors:
        output.report(error)
    return int(bool(errors))


def verify(*, quadlets: list[str]) -> int:
    """Say what files become; 1 if one has a mistake."""
    from rootless.engine import quadlet_verify as engine

    reports = engine.verify(quadlets, _refusal)
    for index, report in enumerate(reports):
        if index:
            output.emit("")
        _show(report)
    return int(any(report.mistakes for report in reports))


def _show(report: Report) -> None:
    outcome = report.outcome
    output.emit(outcome.path)
    if outcome.error is None:
        by = f", started by {', '.join(report.starts)}" if report.starts else ""
        output.emit(f"  becomes  {outcome.service.name}{by}")
        output.emit(f"  runs     {report.command}")
    for mark, found in (("mistake", report.mistakes), ("note", report.notes)):
        for what, fix in found:
            output.emit(f"  {mark:<9}{what}")
            if fix:
                output.emit(f"{'':11}→ {fix}")


def _refusal(argv: list[str]) -> RpodError | None:
    """Why rpod refuses a command line, None if it takes it. Nothing is done."""
    from rootless.cli import fast

    if fast.understands(argv):
        return None
    from rootless.cli import app

    return app.refusal(argv)


def generator(*, folders: list[str]) -> int:
    """What systemd calls at boot, at login and at daemon-reload."""
    from rootless.engine import quadlet as engine

    if not os.path.isabs(folders[0]):
        raise UsageError("the folder for the services is missing", "systemd calls this: man systemd.generator")
    errors = engine.generator(folders[0])
    for error in errors:
        output.report(error)
    return int(bool(errors))


def generate_systemd(*, containers: list[str], files: bool, format: str, **values: Any) -> int:
    """Print or write services for containers."""
    from rootless.cli.actions import names
    from rootless.engine import generate_systemd as engine

    if format not in ("", "json"):
        raise UsageError(f"--format {format}: unknown", "json")
    choice = engine.Choice(**values)
    made = [engine.service(names.one(name), choice, _name_option) for name in containers]
    texts = {service.name: engine.text(service, header=not choice.no_header) for service in made}
    if files:
        texts = {service.name: engine.write(service, texts[service.name]) for service in made}
    if format == "json":
        output.print_json({name.removesuffix(".service"): text for name, text in texts.items()}, "    ")
        return 0
    for text in texts.values():
        for line in text.splitlines():
            output.emit(line)
    return 0


def _name_option(argv: list[str]) -> str:
    """The --name of a command line of run, "" if it has none."""
    from rootless.cli import fast

    return str(fast.values(argv).get("name", ""))


def auto_update(
    *, authfile: str, dry_run: bool, format: str, noheading: bool, rollback: bool, tls_verify: bool | None
) -> int:
    """Update containers; 125 if one could not be."""
    from rootless.engine import auto_update as engine
    from rootless.image.access import Access

    access = Access(authfile=authfile, tls_verify=tls_verify)
    tasks = engine.auto_update(dry_run=dry_run, rollback=rollback, access=access)
    rows = [task.to_json() for task in tasks]
    output.listing(rows, _UPDATES, format, rows, noheading=noheading)
    errors = {error.message: error for task in tasks for error in task.errors}
    for error in errors.values():
        output.report(error)
    return _FAILED if errors else 0

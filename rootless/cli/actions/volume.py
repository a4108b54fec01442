"""The verbs of ``volume``."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import Each
from rootless.errors import RpodError, UnsupportedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FIELDS = "Name Driver Mountpoint CreatedAt Labels Scope Options UID GID Anonymous MountCount NeedsCopyUp".split()
_LAYOUT = output.Layout({**{name: name.upper() for name in _FIELDS}, "Name": "VOLUME NAME"}, ("Driver", "Name"))


def create(*, name: list[str], driver: str, ignore: bool, label: list[str], opt: list[str]) -> int:
    """Make a volume and print its name."""
    from rootless.engine import values
    from rootless.engine import volumes as engine

    if len(name) > 1:
        raise UsageError("volume create makes one volume", "rpod volume create NAME")
    labels, options = values.pairs(label, "--label"), values.pairs(opt, "--opt")
    made = engine.create(name[0] if name else "", driver=driver, labels=labels, options=options, ignore=ignore)
    output.emit(made.name)
    return 0


def ls(*, filter: list[str], format: str, noheading: bool, quiet: bool) -> int:
    """List volumes."""
    from rootless.engine import volumes as engine

    if quiet and format:
        raise UsageError("--quiet and --format exclude each other", "leave one out")
    found = engine.list_volumes(filter)
    if quiet:
        for volume in found:
            output.emit(volume.name)
        return 0
    described = [engine.describe(volume) for volume in found] if format else []
    rows = [_fields(row) for row in described] or [{"Driver": "local", "Name": volume.name} for volume in found]
    output.listing(rows, _LAYOUT, format, [_json(row) for row in described], noheading=noheading)
    return 0


def _json(described: dict[str, Any]) -> dict[str, Any]:
    return {**described, "CreatedAt": output.rfc3339(described["CreatedAt"])}


def _fields(described: dict[str, Any]) -> dict[str, Any]:
    """What a template sees."""
    missing = {"UID": 0, "GID": 0, "Anonymous": False}
    return {**missing, **described, "CreatedAt": output.timestamp(described["CreatedAt"])}


def inspect(*, volumes: list[str], all: bool, format: str) -> int:
    """Show volumes: all that are found, then an error for the others."""
    from rootless.engine import volumes as engine

    found = []
    each = Each(quiet=True, missing_code=RpodError.code)
    for name in _names(volumes, everything=all):
        with each:
            found.append(engine.describe(engine.find(name)))
    if not format or format == "json":
        output.print_json([_json(value) for value in found], "     ")
    else:
        for value in found:
            output.single(_fields(value), format)
    return each.code


def _names(volumes: list[str], *, everything: bool) -> list[str]:
    from rootless.engine import volumes as engine

    if bool(volumes) == everything:
        raise UsageError("give names of volumes, or --all", "rpod volume ls")
    return [volume.name for volume in engine.list_volumes([])] if everything else volumes


def rm(*, volumes: list[str], all: bool, force: bool, time: int | None) -> int:
    """Remove volumes."""
    from rootless.engine import volumes as engine

    if time is not None and not force:
        raise UsageError("--time means the containers that --force stops", "give both")
    each = Each(ignore=force, missing_code=engine.MISSING_CODE)
    for name in _names(volumes, everything=all):
        with each:
            output.emit(engine.remove(name, force=force, timeout_s=time))
    return each.code


def prune(*, filter: list[str], force: bool) -> int:
    """Remove what no container uses, after asking."""
    from rootless.engine import volumes as engine

    if not force:
        candidates = [volume.name for volume in engine.list_volumes([*filter, "dangling=true"])]
        if not candidates:
            return 0
        text = "WARNING! This will remove all volumes not used by at least one container. The following volumes"
        if not output.agreed("\n".join([f"{text} will be removed:", *candidates])):
            return 0
    for name in engine.prune(filter):
        output.emit(name)
    return 0


def exists(*, volume: str) -> int:
    """0 if the volume is there, 1 if not."""
    from rootless.engine import volumes as engine

    return 0 if engine.exists(volume) else 1


def export(*, volume: str, output: str) -> int:
    """Write a volume's files."""
    from rootless.engine import volumes as engine

    engine.export(volume, output)
    return 0


def import_(*, volume: str, source: str) -> int:
    """Unpack an archive into a volume."""
    from rootless.engine import volumes as engine

    engine.import_(volume, source)
    return 0


def mount(*, volumes: list[str]) -> int:
    """Print where volumes are."""
    from rootless.engine import volumes as engine

    return _each(volumes, engine.mount_point)


def unmount(*, volumes: list[str]) -> int:
    """Print the names: a volume is a directory, which stays where it is."""
    from rootless.engine import volumes as engine

    return _each(volumes, lambda name: engine.find(name).name)


def _each(volumes: list[str], verb: Callable[[str], str]) -> int:
    each = Each()
    for name in volumes:
        with each:
            output.emit(verb(name))
    return each.code


def reload() -> int:
    """Refused: there are no plugins."""
    raise UnsupportedError("'volume reload' is not supported: there are no volume plugins", "rpod volume ls")

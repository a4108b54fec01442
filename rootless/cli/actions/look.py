"""``ps inspect top port``, and the names that completion offers."""

from __future__ import annotations

from rootless.cli import output
from rootless.cli.actions.names import Each, first
from rootless.engine.gotypes import Map
from rootless.errors import NotFoundError, UsageError
from rootless.state.container import RUNNING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from rootless.engine.ps import PsRow

_PS = output.Layout(
    {
        "AutoRemove": "AUTO REMOVE",
        "CIDFile": "CIDFILE",
        "Command": "COMMAND",
        "Created": "CREATED",
        "CreatedAt": "CREATED AT",
        "CreatedHuman": "CREATED",
        "ExitCode": "EXIT CODE",
        "Exited": "EXITED",
        "ExitedAt": "EXITED AT",
        "Health": "HEALTH",
        "ID": "CONTAINER ID",
        "Image": "IMAGE",
        "ImageID": "IMAGE ID",
        "IsInfra": "IS INFRA",
        "Labels": "LABELS",
        "Mounts": "MOUNTS",
        "Names": "NAMES",
        "Networks": "NETWORKS",
        "Pid": "PID",
        "Pod": "POD ID",
        "PodName": "POD NAME",
        "Ports": "PORTS",
        "Restarts": "RESTARTS",
        "RunningFor": "CREATED",
        "Size": "SIZE",
        "StartedAt": "STARTED AT",
        "State": "STATE",
        "Status": "STATUS",
    },
    ("ID", "Image", "Command", "RunningFor", "Status", "Ports", "Names"),
)
_SORT: dict[str, tuple[Callable[[PsRow], Any], bool]] = {
    "command": (lambda row: row.Command, False),
    "created": (lambda row: row.CreatedAt, True),
    "id": (lambda row: row.Id, False),
    "image": (lambda row: row.Image, False),
    "names": (lambda row: row.Names, False),
    "runningfor": (lambda row: row.StartedAt, False),
    "size": (lambda row: (row.Size or {}).get("rwSize", 0), False),
    "status": (lambda row: row.State, False),
}


def ps(  # noqa: PLR0913 - one per option
    *,
    all: bool,
    filter: list[str],
    format: str,
    last: int,
    latest: bool,
    no_trunc: bool,
    noheading: bool,
    quiet: bool,
    size: bool,
    sort: str,
    sync: bool,  # noqa: ARG001 - what is read is in step
) -> int:
    """List containers."""
    from rootless.engine import ps as engine

    if sort not in _SORT:
        raise UsageError(f"--sort {sort}: there is no such key", ", ".join(_SORT))
    if quiet and format:
        raise UsageError("--quiet and --format exclude each other", "leave one out")
    size = size or sort == "size" or ".Size" in format
    rows = engine.rows(all=all, filters=filter, last=last, latest=latest, size=size)
    key, reverse = _SORT[sort]
    rows.sort(key=key, reverse=reverse)
    if quiet:
        for row in rows:
            output.emit(row.Id if no_trunc else row.Id[:12])
        return 0
    layout = output.Layout(_PS.titles, (*_PS.shown, "Size")) if size else _PS
    if format == "json":
        output.print_json([_json(row) for row in rows], "  ")
        return 0
    output.listing([_fields(row, full=no_trunc) for row in rows], layout, format, [], noheading=noheading)
    return 0


def _status(row: PsRow) -> str:
    if row.State == "running":
        health = f" ({row.Health})" if row.Health else ""
        return f"Up {output.span(max(0.0, _now() - row.StartedAt))}{health}"
    if row.State == "exited":
        return f"Exited ({row.ExitCode}) {output.ago(row.ExitedAt)}"
    if row.State == "restarting":
        return f"Restarting ({row.ExitCode}) {output.ago(row.ExitedAt)}"
    return row.State.capitalize()


def _now() -> float:
    import time

    return time.time()


def _json(row: PsRow) -> dict[str, Any]:
    """A container as ``podman ps --format json`` has it."""
    values = {name: getattr(row, name) for name in row.__slots__}
    values["Status"] = _status(row)
    values["CreatedAt"] = output.ago(row.Created)
    values["Ports"] = row.Ports or None
    values["Command"] = row.Command or None
    return values


def _fields(row: PsRow, *, full: bool) -> dict[str, Any]:
    """The fields that templates see; ``full`` does not shorten ids and commands."""
    command = " ".join(row.Command)
    created = output.ago(row.Created)
    sizes = row.Size or {}
    return {
        **{name: getattr(row, name) for name in row.__slots__ if name not in ("Id", "Size")},
        "ID": row.Id if full else row.Id[:12],
        "ImageID": row.ImageID if full else row.ImageID[:12],
        "Command": command if full or len(command) <= 20 else f"{command[:17]}...",
        "Created": created,
        "CreatedAt": output.timestamp(row.CreatedAt),
        "CreatedHuman": created,
        "RunningFor": created,
        "Status": _status(row),
        "Ports": ports(row.Ports),
        "Names": ",".join(row.Names),
        "Labels": Map(row.Labels),
        "Label": lambda name: row.Labels.get(name, ""),
        "Mounts": ",".join(row.Mounts if full else [_short_mount(mount) for mount in row.Mounts]),
        "Networks": ",".join(row.Networks),
        "Size": f"{output.size(sizes.get('rwSize', 0))} (virtual {output.size(sizes.get('rootFsSize', 0))})",
    }


def _short_mount(mount: str) -> str:
    return mount if len(mount) <= 15 else f"{mount[:12]}..."


def ports(mappings: list[dict[str, Any]]) -> str:
    """``0.0.0.0:8080->80/tcp, 0.0.0.0:9000-9002->9000-9002/udp``: neighbours are one range."""
    runs: list[list[Any]] = []  # host address, protocol, first host port, first container port, length
    keys = ("host_ip", "protocol", "host_port", "container_port")
    for address, protocol, host, inside in sorted(tuple(mapping[key] for key in keys) for mapping in mappings):
        last = runs[-1] if runs else None
        if last and last[:2] == [address, protocol] and (host, inside) == (last[2] + last[4], last[3] + last[4]):
            last[4] += 1
        else:
            runs.append([address, protocol, host, inside, 1])
    return ", ".join(
        f"{_address(address)}:{_range(host, count)}->{_range(inside, count)}/{protocol}"
        for address, protocol, host, inside, count in runs
    )


def _address(address: str) -> str:
    return f"[{address}]" if ":" in address else address or "0.0.0.0"  # noqa: S104 - printed, not bound


def _range(start: int, count: int) -> str:
    return str(start) if count == 1 else f"{start}-{start + count - 1}"


def inspect_container(*, names: list[str], format: str, latest: bool, size: bool) -> int:
    """Show containers."""
    return inspect(names=names, format=format, latest=latest, size=size, type="container")


def inspect(*, names: list[str], format: str, latest: bool, size: bool, type: str) -> int:
    """Show containers and images."""
    if type not in ("all", "container", "image"):
        raise UsageError(f"--type {type}: there is no such type", "all, container, image")
    each = Each(quiet=True)
    if type == "image":
        if latest:
            raise UsageError("--latest means a container, not an image", "leave --latest or --type out")
        each.targets = [(name, None) for name in names]
    else:
        each.choose(names, latest=latest)
    return show(each, format, lambda name: _inspect_one(name, type, size=size))


def show(each: Each, format: str, describe: Callable[[str], dict[str, Any]]) -> int:
    """Print what ``describe`` says of the targets: all that are found, then an error for the others."""
    found = []
    for typed, _ in each.targets:
        with each:
            found.append(describe(typed))
    if not format or format == "json":
        output.print_json(found, "     ")
    else:
        for value in found:
            output.single(value, format)
    return each.code


def _inspect_one(name: str, kind: str, *, size: bool) -> dict[str, Any]:
    from rootless.engine import images
    from rootless.engine import inspect as engine
    from rootless.state.containers import Containers

    if kind == "image":
        return images.inspect_image(name)
    try:
        container = Containers().resolve(name)
    except NotFoundError:
        if kind == "container":
            raise
    else:
        return engine.inspect_container(container, size)
    try:
        return images.inspect_image(name)
    except NotFoundError:
        raise NotFoundError(f"no such container or image: {name}", "rpod ps -a; rpod images") from None


def top(*, words: list[str], latest: bool) -> int:
    """List the processes of a container."""
    from rootless.engine import top as engine

    container, fields = first(words, latest)
    output.table(engine.top(container, fields))
    return 0


def port(*, words: list[str], all: bool, latest: bool) -> int:
    """List published ports."""
    from rootless.engine import port as engine

    if all:
        if words or latest:
            raise UsageError("names, --all and --latest exclude each other", "give one of them")
        each = Each().choose([], all=True, only=lambda status: status in RUNNING)
        for ident, container in each.targets:
            assert container is not None
            for line in engine.port(container, ""):
                output.emit(f"{ident[:12]}\t{line}")
        return 0
    container, rest = first(words, latest)
    if len(rest) > 1:
        raise UsageError("port takes one port", f"rpod port {words[0] if words else '-l'} 80/tcp")
    for line in engine.port(container, rest[0] if rest else ""):
        output.emit(line)
    return 0


def names(*, kind: str) -> int:
    """Print the names that completion offers: of ``running``, ``stopped`` or all ``containers``, images, volumes."""
    if kind == "volumes":
        from rootless.engine import volumes

        for volume in volumes.list_volumes([]):
            output.emit(volume.name)
        return 0
    if kind == "images":
        from rootless.engine import images

        for image in images.list_images():
            for name in image.RepoTags[:1]:
                output.emit(name)
        return 0
    from rootless.state.containers import Containers

    for container in Containers().all():
        if kind == "containers" or container.is_alive() == (kind == "running"):
            output.emit(container.name)
    return 0

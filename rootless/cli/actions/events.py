"""``events``: a line for each thing that happens."""

from __future__ import annotations

import sys

from rootless import log
from rootless.cli import output
from rootless.engine.gotypes import Map

_LINE_END, _SHOWN_END = "\n", "\\n"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.engine.events import Event


def events(*, filter: list[str], format: str, no_trunc: bool, since: str, stream: bool, until: str) -> int:
    """Print events as they happen, or those that were."""
    from rootless.cli.templates import Template, unescape
    from rootless.engine import events as engine

    template = Template(unescape(format)) if format and format != "json" else None
    for event in engine.read(since=since, until=until, stream=stream, filters=filter):
        if template:
            output.emit(template.render(_fields(event, full=no_trunc)))
        elif format:
            output.print_json(_json(event), "")
        else:
            output.emit(_line(event, full=no_trunc))
        sys.stdout.flush()
    return 0


def _line(event: Event, *, full: bool) -> str:
    """An event in Podman's words."""
    ident = event.id if full else event.id[:12]
    head = f"{output.timestamp(event.time_ns)} {event.type} {event.status}"
    if event.type == "container":
        health = {"health_status": event.health} if event.health else {}
        pairs = {"image": event.image, "name": event.name, **health, **event.attributes}
        text = ", ".join(f"{key}={value}" for key, value in pairs.items())
        return f"{head} {ident} ({log.printable(text).replace(_LINE_END, _SHOWN_END)})"  # labels are foreign words
    if event.type == "image":
        return f"{head} {ident} {event.name}"
    return f"{head} {event.name}"


def _fields(event: Event, *, full: bool) -> dict[str, Any]:
    """What templates see."""
    return {
        "Attributes": Map(event.attributes),
        "ContainerExitCode": event.exit_code or 0,
        "HealthStatus": event.health,
        "ID": event.id if full else event.id[:12],
        "Image": event.image,
        "Name": event.name,
        "Network": "",
        "Status": event.status,
        "Time": output.timestamp(event.time_ns),
        "TimeNano": event.time_ns,
        "Type": event.type,
    }


def _json(event: Event) -> dict[str, Any]:
    """An event as ``podman events --format json`` has it."""
    fields: dict[str, Any] = {
        "ContainerExitCode": event.exit_code,
        "HealthStatus": event.health,
        "ID": event.id,
        "Image": event.image,
        "Name": event.name,
        "Status": event.status,
        "Time": output.rfc3339(event.time_ns),
        "timeNano": event.time_ns,
        "Type": event.type,
        "Attributes": event.attributes or None,
    }
    optional = ("ContainerExitCode", "HealthStatus", "ID", "Image", "Name")
    return {key: value for key, value in fields.items() if key not in optional or value not in (None, "")}

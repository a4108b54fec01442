"""``events``: what the event log tells, from some time on, and as it happens."""

from __future__ import annotations

import time

from rootless.engine import filters as rules
from rootless.engine import logfile
from rootless.errors import StorageError, UnsupportedError, UsageError, os_reason
from rootless.kernel import fastjson
from rootless.state import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Filters = dict[str, list[Callable[["Event"], bool]]]

_POLL_S = 0.1
_KEYS = "container, event, image, label, type or volume"
# Docker's words for what Podman calls otherwise.
_STATUSES = {"die": "died", "destroy": "remove", "delete": "remove", "exec_die": "exec_died", "exec_start": "exec"}


class Event(logfile.Entry):
    """One event, with Podman's names; ``attributes`` are the container's labels."""

    __slots__ = ("attributes", "exit_code", "health", "id", "image", "name", "status", "type")

    def __init__(self, fields: dict[str, object]) -> None:
        labels = fields.get("Attributes")
        code = fields.get("ContainerExitCode")
        moment = fields["time_ns"]
        if not isinstance(moment, int):
            raise TypeError("time_ns is a number")
        super().__init__(moment, 1, b"", partial=False)
        self.type = str(fields["Type"])
        self.status = str(fields["Status"])
        self.id = str(fields.get("ID", ""))
        self.name = str(fields.get("Name", ""))
        self.image = str(fields.get("Image", ""))
        self.health = str(fields.get("HealthStatus", ""))
        self.exit_code = code if isinstance(code, int) else None
        self.attributes = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, dict) else {}


def read(*, since: str, until: str, stream: bool, filters: list[str]) -> Iterator[Event]:
    """The events after ``since`` (or from now on, or without ``stream`` all) up to ``until``, or without an end.

    Raises UsageError for a time or filter that makes no sense, UnsupportedError where no events are kept.
    """
    if not events.enabled():
        raise UnsupportedError("no events are kept", 'events.logger in containers.toml is "none"')
    now_ns = time.time_ns()
    begin_ns = logfile.moment(since, now_ns) if since else (now_ns if stream and not until else 0)
    end_ns = logfile.moment(until, now_ns) if until else (1 << 63 if stream else now_ns)
    wanted = _filters(filters)
    names: dict[str, str] = {}
    for event in _follow(begin_ns, end_ns, stream=stream):
        if event.status == "rename":
            names[event.id] = event.name
        event.name = names.get(event.id, event.name)  # the monitor, who tells of the end, knows no other
        if begin_ns <= event.time_ns <= end_ns and all(any(test(event) for test in tests) for tests in wanted.values()):
            yield event


def _follow(begin_ns: int, end_ns: int, *, stream: bool) -> Iterator[Event]:
    """The events from ``begin_ns`` on; with ``stream`` also those that come, until ``end_ns`` is over."""
    try:
        events.append("")  # so that there is a file to look at
        file = logfile.LogFile(events.log_path(), _parse)
        yield from _only_events(file.history(begin_ns, end_ns, -1))
        while stream:
            over = time.time_ns() > end_ns  # asked before reading: what was told until then is seen
            yield from _only_events(file.appended())
            if over:
                return
            time.sleep(_POLL_S)
    except OSError as error:
        raise StorageError(f"the event log cannot be read: {os_reason(error)}") from error


def _only_events(entries: Iterable[logfile.Entry]) -> Iterator[Event]:
    return (entry for entry in entries if isinstance(entry, Event))


def _parse(line: bytes) -> Event | None:
    """An event; None for a line that a full disk tore."""
    try:
        value = fastjson.loads(line)
        assert isinstance(value, dict)
        return Event(value)
    except (fastjson.JSONError, AssertionError, KeyError, TypeError):
        return None


def _filters(texts: list[str]) -> Filters:
    """One list of tests a key: values of one key are alternatives."""
    wanted: Filters = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--filter {text}: it is KEY=VALUE")
        key = {"status": "event"}.get(key.lower(), key.lower())
        wanted.setdefault(key, []).append(_test(key, value, text))
    return wanted


def _test(key: str, value: str, text: str) -> Callable[[Event], bool]:
    if key == "container":
        return lambda event: event.type == events.CONTAINER and _is_named(event, value)
    if key == "image":
        return lambda event: event.type == events.IMAGE and _is_named(event, value)
    if key == "volume":
        return lambda event: event.type == events.VOLUME and event.name.startswith(value)
    if key == "event":
        return lambda event: event.status == _STATUSES.get(value, value)
    if key == "type":
        return lambda event: event.type == value
    if key == "label":
        return lambda event: rules.has_label(event.attributes, value)
    raise UsageError(f"--filter {text}: unknown key", _KEYS)


def _is_named(event: Event, value: str) -> bool:
    return event.name == value or event.id.startswith(value.removeprefix("sha256:"))

"""``logs``: what containers printed, in the order of time, and what they go on printing."""

from __future__ import annotations

import time

from rootless.engine import logfile
from rootless.engine.session import write_all
from rootless.errors import UnsupportedError, os_reason
from rootless.kernel import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Protocol

    from rootless.engine.logfile import Entry
    from rootless.state.container import Container

    class Log(Protocol):
        """Where entries come from: files or the journal."""

        def history(self, since_ns: int, until_ns: int, tail: int) -> Iterator[Entry]:
            """What is there between two times: the last ``tail`` lines of it, or all (-1)."""

        def appended(self) -> Iterator[Entry]:
            """What has come since the last call."""


_COLOURS = (36, 33, 32, 35, 34, 31)
_POLL_S = 0.1
_FOREVER_NS = 1 << 63
_PARSERS = {"k8s-file": logfile.parse_k8s, "json-file": logfile.parse_json}


class View:
    """How lines are shown, and which line each output is in the middle of."""

    __slots__ = ("_open", "color", "names", "since_ns", "timestamps", "until_ns")

    def __init__(self, *, since: str, until: str, timestamps: bool, names: bool, color: bool) -> None:
        now = time.time_ns()
        self.since_ns = logfile.moment(since, now) if since else 0
        self.until_ns = logfile.moment(until, now) if until else _FOREVER_NS
        self.timestamps = timestamps
        self.names = names
        self.color = color
        self._open: dict[int, Source] = {}  # output -> whose line has not ended there

    def show(self, source: Source, entry: Entry) -> None:
        """Print one entry. A line of another container is never continued: it is ended first."""
        opened = self._open.pop(entry.stream, None)
        text = b""
        if opened is not source:
            text = (b"\n" if opened else b"") + source.prefix
            if self.timestamps:
                text += times.format_rfc3339(entry.time_ns).encode() + b" "
        if entry.partial:
            self._open[entry.stream] = source
        write_all(entry.stream, text + entry.text + (b"" if entry.partial else b"\n"))


class Source:
    """One container's log."""

    def __init__(self, container: Container, prefix: bytes) -> None:
        self._container = container
        self.prefix = prefix
        self._log = _open(container)

    def history(self, view: View, tail: int) -> Iterator[Entry]:
        """What is there, chosen as ``view`` says."""
        return self._log.history(view.since_ns, view.until_ns, tail)

    def more(self, view: View) -> bool:
        """Print what has come; False when nothing can come any more."""
        alive = self._container.is_alive()  # asked before reading: what was written until then is seen
        for entry in self._log.appended():
            if entry.time_ns > view.until_ns:
                return False
            if entry.time_ns >= view.since_ns:
                view.show(self, entry)
        return alive and time.time_ns() <= view.until_ns


def _open(container: Container) -> Log:
    driver = container.record.log_driver
    if driver == "journald":
        from rootless.engine import journal

        return journal.Journal(container.id)
    if driver not in _PARSERS:
        raise UnsupportedError(f"container {container.name} keeps no log (--log-driver {driver})")
    try:
        return logfile.LogFile(container.log_path, _PARSERS[driver])
    except OSError as error:
        raise UnsupportedError(f"the log cannot be read: {os_reason(error)}") from error


def logs(
    containers: list[Container],
    *,
    follow: bool,
    since: str,
    until: str,
    tail: int,
    timestamps: bool,
    names: bool,
    color: bool,
) -> int:
    """Print the logs of ``containers``; ``tail`` -1 = all lines. With ``follow`` until they have ended.

    A container that a restart policy starts again has not ended.
    """
    view = View(since=since, until=until, timestamps=timestamps, names=names, color=color)
    many = len(containers) > 1
    sources = [Source(c, _prefix(c, index, view, many=many)) for index, c in enumerate(containers)]
    _show_history(sources, view, tail)
    following = sources if follow else []
    while following:
        following = [source for source in following if source.more(view)]
        time.sleep(_POLL_S if following else 0)
    return 0


def _prefix(container: Container, index: int, view: View, *, many: bool) -> bytes:
    if not many and not view.names:
        return b""
    text = container.name if view.names else container.id[:12]
    return f"\x1b[{_COLOURS[index % len(_COLOURS)]}m{text}\x1b[0m ".encode() if view.color else f"{text} ".encode()


def _show_history(sources: list[Source], view: View, tail: int) -> None:
    """Merge the logs by time: each is in order already, so only the first entry of each is looked at."""
    heads = []
    for source in sources:
        entries = source.history(view, tail)
        first = next(entries, None)
        if first is not None:
            heads.append((first, source, entries))
    while heads:
        index = min(range(len(heads)), key=lambda number: heads[number][0].time_ns)
        entry, source, entries = heads[index]
        view.show(source, entry)
        following = next(entries, None)
        if following is None:
            del heads[index]
        else:
            heads[index] = (following, source, entries)

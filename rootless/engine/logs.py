"""``logs``: what containers printed, from the monitor's files, rotated ones first."""

from __future__ import annotations

import time

from rootless.engine import logfile
from rootless.engine.session import write_all
from rootless.errors import UnsupportedError, os_reason
from rootless.kernel import times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container

_COLOURS = (36, 33, 32, 35, 34, 31)
_POLL_S = 0.1


class View:
    """How lines are shown."""

    __slots__ = ("color", "names", "since_ns", "timestamps", "until_ns")

    def __init__(self, *, since: str, until: str, timestamps: bool, names: bool, color: bool) -> None:
        now = time.time_ns()
        self.since_ns = logfile.moment(since, now) if since else 0
        self.until_ns = logfile.moment(until, now) if until else 1 << 63
        self.timestamps = timestamps
        self.names = names
        self.color = color


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
    """Print the logs of ``containers``; ``tail`` -1 = all lines. With ``follow`` until they have ended."""
    view = View(since=since, until=until, timestamps=timestamps, names=names, color=color)
    readers = []
    for index, container in enumerate(containers):
        driver = container.record.log_driver
        if driver == "none":
            raise UnsupportedError(f"container {container.name} keeps no log (--log-driver none)")
        readers.append(Reader(container, driver, _prefix(container, index, view, many=len(containers) > 1)))
    for reader in readers:
        reader.history(view, tail)
    following = readers if follow else []
    while following:
        following = [reader for reader in following if reader.more(view)]
        time.sleep(_POLL_S if following else 0)
    return 0


def _prefix(container: Container, index: int, view: View, *, many: bool) -> bytes:
    if not many and not view.names:
        return b""
    text = container.name if view.names else container.id[:12]
    return f"\x1b[{_COLOURS[index % len(_COLOURS)]}m{text}\x1b[0m ".encode() if view.color else f"{text} ".encode()


class Reader:
    """One container's log: its history, then what is appended, across rotations."""

    def __init__(self, container: Container, driver: str, prefix: bytes) -> None:
        self._container = container
        self._parse = logfile.parse_json if driver == "json-file" else logfile.parse_k8s
        self._prefix = prefix
        self._file: logfile.Tail | None = None
        self._open_line = {1: False, 2: False}
        self._ended = False

    def history(self, view: View, tail: int) -> None:
        """Print what is there: the last ``tail`` lines, or all."""
        path = self._container.log_path
        entries: list[logfile.Entry] = []
        try:
            self._file = logfile.Tail(path)
            for old in logfile.rotated(path):
                entries += self._parsed(logfile.read_lines(old))
        except OSError as error:
            raise UnsupportedError(f"the log cannot be read: {os_reason(error)}") from error
        entries += self._parsed(self._file.lines())
        chosen = [e for e in entries if view.since_ns <= e.time_ns <= view.until_ns]
        for entry in logfile.last_lines(chosen, tail):
            self._show(entry, view)

    def _parsed(self, lines: list[bytes]) -> list[logfile.Entry]:
        return [entry for line in lines if (entry := self._parse(line)) is not None]

    def more(self, view: View) -> bool:
        """Print what has come; False when nothing can come any more."""
        if self._ended:
            return False
        alive = self._container.is_alive()  # asked before reading: what was written until then is seen
        assert self._file is not None
        for entry in self._parsed(self._file.lines()):
            if entry.time_ns > view.until_ns:
                self._ended = True
                return False
            self._show(entry, view)
        self._ended = not alive or time.time_ns() > view.until_ns
        return not self._ended

    def _show(self, entry: logfile.Entry, view: View) -> None:
        text = b"" if self._open_line[entry.stream] else self._prefix
        if view.timestamps and not self._open_line[entry.stream]:
            text += times.format_rfc3339(entry.time_ns).encode() + b" "
        self._open_line[entry.stream] = entry.partial
        write_all(entry.stream, text + entry.text + (b"" if entry.partial else b"\n"))

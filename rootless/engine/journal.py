"""A container's log in the journal, read through journalctl in systemd's export format.

Source of the format: systemd.io/JOURNAL_EXPORT_FORMATS. Entries are those that ``helpers/journal.c``
and Podman's conmon write.
"""

from __future__ import annotations

import os
import select
import time

from rootless.engine.logfile import Entry
from rootless.errors import RpodError
from rootless.kernel import spawn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_READ_BYTES = 1 << 16
_SETTLE_S = 0.5  # journald takes entries in later than they are sent
_ERROR = b"3"


class Journal:
    """What the journal has of container ``ident``."""

    def __init__(self, ident: str) -> None:
        program = spawn.which("journalctl")
        if program is None:
            raise RpodError(
                "journalctl is not installed, and it is what reads the journal", "install systemd, or use k8s-file"
            )
        self._argv = [program, "--quiet", "--all", "--output=export", f"CONTAINER_ID_FULL={ident}"]
        self._followed: _Export | None = None
        self._cursor = ""

    def history(self, since_ns: int, until_ns: int, tail: int) -> Iterator[Entry]:
        """What is there between two times: the last ``tail`` lines of it, or all (-1)."""
        words = [f"--since=@{since_ns // 1000 / 1e6:.6f}"] if since_ns else []
        if until_ns < 1 << 63:
            words.append(f"--until=@{until_ns // 1000 / 1e6:.6f}")
        if tail >= 0:
            yield from reversed(self._last(words, tail))
            return
        export = _Export([*self._argv, *words])
        yield from export.entries()
        export.finish()
        self._cursor = export.cursor or self._cursor

    def _last(self, words: list[str], count: int) -> list[Entry]:
        """The entries of the last ``count`` lines, newest first."""
        export = _Export([*self._argv, *words, "--reverse"])
        found: list[Entry] = []
        seen = -1
        for entry in export.entries():
            self._cursor = self._cursor or export.cursor
            if seen < 0:
                seen = 1 if entry.partial else 0
            if not entry.partial:
                if seen >= count:
                    break
                seen += 1
            if count:
                found.append(entry)
        export.finish()
        return found

    def appended(self) -> Iterator[Entry]:
        """What has come since the last call."""
        if self._followed is None:
            after = [f"--after-cursor={self._cursor}"] if self._cursor else []
            self._followed = _Export([*self._argv, "--follow", "--no-tail", *after])
        yield from self._followed.entries(patience_s=_SETTLE_S)


class _Export:
    """A running journalctl, and the entries that it prints."""

    def __init__(self, argv: list[str]) -> None:
        self._out, write_end = os.pipe()
        null = os.open("/dev/null", os.O_RDONLY)
        self._pid = spawn.start(argv, fds={0: null, 1: write_end})
        os.close(write_end)
        os.close(null)
        self._data = b""
        self.cursor = ""

    def finish(self) -> None:
        """End it, whether it is done or not."""
        os.close(self._out)
        os.kill(self._pid, 15)
        spawn.wait(self._pid)

    def entries(self, patience_s: float | None = None) -> Iterator[Entry]:
        """What it prints, to its end, or until nothing has come for ``patience_s`` seconds."""
        deadline = None if patience_s is None else time.monotonic() + patience_s
        while True:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._out], [], [], left)[0]:
                return
            chunk = os.read(self._out, _READ_BYTES)
            if not chunk:
                return
            self._data += chunk
            while (fields := self._take()) is not None:
                yield self._entry(fields)

    def _take(self) -> dict[str, bytes] | None:
        """The fields of the next entry, None while it is not complete."""
        fields: dict[str, bytes] = {}
        at = 0
        while (end := self._data.find(b"\n", at)) >= 0:
            line = self._data[at:end]
            at = end + 1
            if not line:
                if fields:
                    self._data = self._data[at:]
                    return fields
                continue
            name, equals, value = line.partition(b"=")
            if not equals:  # a value that may hold anything: its length in 8 bytes, the value, a line end
                size = int.from_bytes(self._data[at : at + 8], "little")
                if len(self._data) < at + 8 + size + 1:
                    return None
                value = self._data[at + 8 : at + 8 + size]
                at += 8 + size + 1
            fields[name.decode("ascii", "replace")] = value
        return None

    def _entry(self, fields: dict[str, bytes]) -> Entry:
        self.cursor = fields.get("__CURSOR", b"").decode("ascii", "replace")
        stamp = fields.get("_SOURCE_REALTIME_TIMESTAMP") or fields.get("__REALTIME_TIMESTAMP") or b"0"
        stream = 2 if fields.get("PRIORITY") == _ERROR else 1
        return Entry(
            int(stamp) * 1000,
            stream,
            fields.get("MESSAGE", b""),
            partial=fields.get("CONTAINER_PARTIAL_MESSAGE") == b"true",
        )

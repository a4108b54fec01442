"""The log formats that the monitor writes, read back: k8s-file (CRI) and json-file (Docker)."""

from __future__ import annotations

import os

from rootless.engine import values
from rootless.errors import UsageError
from rootless.kernel import fastjson, times

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_READ_BYTES = 1 << 18
_BACKWARD_BYTES = 1 << 16
_LINE_MAX_BYTES = 1 << 20
_CLOCK_NS = 1_000_000_000  # a file's time comes from a clock that is some milliseconds behind


class Entry:
    """One logged piece: nanoseconds since the epoch, stream 1 or 2, bytes; ``partial`` if its line goes on."""

    __slots__ = ("partial", "stream", "text", "time_ns")

    def __init__(self, time_ns: int, stream: int, text: bytes, *, partial: bool) -> None:
        self.time_ns = time_ns
        self.stream = stream
        self.text = text
        self.partial = partial


def parse_k8s(line: bytes) -> Entry | None:
    """``2026-11-23T10:00:00.123456789+00:00 stdout F text``; None for a damaged line."""
    fields = line.split(b" ", 3)
    if len(fields) != 4 or fields[1] not in (b"stdout", b"stderr"):
        return None
    try:
        at = times.parse_rfc3339(fields[0].decode("ascii"))
    except (UnicodeDecodeError, ValueError):
        return None
    return Entry(at, 1 if fields[1] == b"stdout" else 2, fields[3], partial=fields[2] == b"P")


def parse_json(line: bytes) -> Entry | None:
    """``{"log": "text and line end", "stream": "stdout", "time": "…"}``; None for a damaged line."""
    try:
        value = fastjson.loads(line)
        assert isinstance(value, dict)
        text = str(value["log"]).encode("utf-8", "surrogateescape")
        at = times.parse_rfc3339(str(value["time"]))
    except (fastjson.JSONError, KeyError, AssertionError, ValueError):
        return None
    stream = 2 if value.get("stream") == "stderr" else 1
    return Entry(at, stream, text.removesuffix(b"\n"), partial=not text.endswith(b"\n"))


def moment(text: str, now_ns: int) -> int:
    """--since and --until: RFC 3339, seconds since the epoch, or how long ago (``10m``, ``1h30m``)."""
    try:
        if text.replace(".", "", 1).isdecimal():
            return int(float(text) * 1_000_000_000)
        if text[-1:].isalpha() and not text.endswith("Z"):
            return now_ns - values.duration_ns(text, "")
        return times.parse_rfc3339(text)
    except (ValueError, OverflowError, UsageError):
        raise UsageError(f"{text!r} is no time", "10m, 2026-11-23T10:00:00, or seconds since the epoch") from None


def rotated(path: str) -> list[str]:
    """The rotated files of a log, oldest first."""
    folder, name = os.path.split(path)
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        return []
    numbers = [int(rest) for entry in entries if (rest := entry.removeprefix(f"{name}.")).isdecimal()]
    return [f"{path}.{number}" for number in sorted(numbers, reverse=True)]


class LogFile:
    """A container's log in files, also while the monitor writes and rotates it. Little is in memory at any time."""

    def __init__(self, path: str, parse: Callable[[bytes], Entry | None]) -> None:
        self._path = path
        self._parse = parse
        self._files = self._open_all()  # descriptors, oldest first; the last one is being written
        self._rest = b""  # of it, after its last line end

    def history(self, since_ns: int, until_ns: int, tail: int) -> Iterator[Entry]:
        """What is there between two times: the last ``tail`` lines of it, or all (-1)."""
        first, offset = self._start_of_tail(tail, until_ns) if tail >= 0 else (0, 0)
        for index, fd in enumerate(self._files):
            if index < first or os.fstat(fd).st_mtime_ns + _CLOCK_NS < since_ns:
                os.lseek(fd, 0, os.SEEK_END)  # nothing of it is wanted
                continue
            os.lseek(fd, offset if index == first else 0, os.SEEK_SET)
            self._rest = b""
            for entry in self._entries(fd):
                if since_ns <= entry.time_ns <= until_ns:
                    yield entry
        self._keep(len(self._files) - 1)

    def appended(self) -> Iterator[Entry]:
        """What has come since the last call."""
        if self._files:
            yield from self._entries(self._files[0])
        if self._is_current():
            return
        newer = self._open_all()
        if not newer:
            return  # the next file is not there yet
        if self._files:
            yield from self._entries(self._files[0])  # what came between the reading and the rotation
            inodes = [_inode(fd) for fd in newer]
            own = _inode(self._files[0])
            self._files += newer[inodes.index(own) + 1 if own in inodes else 0 :]
        else:
            self._files = newer
        for index in range(1, len(self._files)):
            self._rest = b""
            yield from self._entries(self._files[index])
        self._keep(len(self._files) - 1)
        if len(newer) == len(self._files):
            yield from self._entries(self._files[0])

    def _is_current(self) -> bool:
        try:
            info = os.stat(self._path)
        except FileNotFoundError:
            return False
        return bool(self._files) and _inode(self._files[0]) == (info.st_dev, info.st_ino)

    def _keep(self, index: int) -> None:
        """Close all files but one."""
        for number, fd in enumerate(self._files):
            if number != index:
                os.close(fd)
        self._files = self._files[index : index + 1] if index >= 0 else []

    def _open_all(self) -> list[int]:
        """All files; a rotation meanwhile shifts the names, then it looks again."""
        while True:
            opened: list[int] = []
            for path in (*rotated(self._path), self._path):
                try:
                    opened.append(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
                except FileNotFoundError:
                    continue
            inodes = [_inode(fd) for fd in opened]
            try:
                info = os.stat(self._path)
                settled = inodes[-1:] == [(info.st_dev, info.st_ino)]
            except FileNotFoundError:
                settled = True
            if settled and len(set(inodes)) == len(inodes):
                return opened
            for fd in opened:
                os.close(fd)

    def _entries(self, fd: int) -> Iterator[Entry]:
        """The entries from the file's position on; what is not a whole line yet waits for its rest."""
        while chunk := os.read(fd, _READ_BYTES):
            complete, newline, rest = (self._rest + chunk).rpartition(b"\n")
            self._rest = rest if len(rest) < _LINE_MAX_BYTES else b""  # no monitor writes such a line
            if newline:
                for line in complete.split(b"\n"):
                    entry = self._parse(line)
                    if entry is not None:
                        yield entry

    def _start_of_tail(self, count: int, until_ns: int) -> tuple[int, int]:
        """The file and the offset where the last ``count`` lines begin; a line of several pieces counts once."""
        last = len(self._files) - 1
        if count == 0:
            return last, os.fstat(self._files[last]).st_size if self._files else 0
        seen = -1  # nothing yet: a line at the very end that has not ended is one, too
        for index in range(last, -1, -1):
            for offset, line in _lines_backward(self._files[index]):
                entry = self._parse(line)
                if entry is None or entry.time_ns > until_ns:
                    continue
                if seen < 0:
                    seen = 1 if entry.partial else 0
                if not entry.partial:
                    if seen == count:
                        return index, offset
                    seen += 1
        return 0, 0


def _inode(fd: int) -> tuple[int, int]:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino


def _lines_backward(fd: int) -> Iterator[tuple[int, bytes]]:
    """The complete lines of a file from its end, each with the offset behind it."""
    position, carry, complete = os.fstat(fd).st_size, b"", False
    while position > 0:
        size = min(_BACKWARD_BYTES, position)
        position -= size
        data = os.pread(fd, size, position) + carry
        offset = position + len(data)
        carry, *lines = data.split(b"\n")
        for line in reversed(lines):
            if complete:
                yield offset + 1, line
            complete = True  # what follows the last line end is no line
            offset -= len(line) + 1
        carry = carry if len(carry) < _LINE_MAX_BYTES else b""
    if complete:
        yield len(carry) + 1, carry

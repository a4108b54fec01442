"""The log formats that the monitor writes, read back: k8s-file (CRI) and json-file (Docker)."""

from __future__ import annotations

import os

from rootless.errors import UsageError
from rootless.kernel import fastjson, times

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_READ_BYTES = 1 << 20


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
        if text[-1:] in _UNITS_S and "T" not in text:
            return now_ns - _duration(text) * 1_000_000_000
        return times.parse_rfc3339(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", "10m, 2026-11-23T10:00:00, or seconds since the epoch") from None


def _duration(text: str) -> int:
    total, digits = 0, ""
    for character in text:
        if character.isdecimal():
            digits += character
        else:
            total += int(digits) * _UNITS_S[character] if character in _UNITS_S else int("no unit")
            digits = ""
    return total


def rotated(path: str) -> list[str]:
    """The rotated files of a log, oldest first."""
    folder, name = os.path.split(path)
    numbers = [int(rest) for entry in os.listdir(folder) if (rest := entry.removeprefix(f"{name}.")).isdecimal()]
    return [f"{path}.{number}" for number in sorted(numbers, reverse=True)]


def read_lines(path: str) -> list[bytes]:
    """All complete lines of a file."""
    with open(path, "rb") as file:
        return file.read().split(b"\n")[:-1]


def last_lines(entries: list[Entry], count: int) -> list[Entry]:
    """The entries of the last ``count`` lines; -1 = all. A line of several pieces counts once."""
    if count < 0:
        return entries
    seen = 0
    for index in range(len(entries) - 1, -1, -1):
        if not entries[index].partial:
            seen += 1
            if seen > count:
                return entries[index + 1 :]
    return entries if count else []


class Tail:
    """A log that is being written: ``lines`` are those since the last call, also across a rotation."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._rest = b""
        self._fd = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_RDONLY | os.O_CREAT, 0o600)

    def lines(self) -> list[bytes]:
        """Complete lines that have been appended."""
        data = self._rest + self._read()
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            current = os.fstat(self._fd)
        if (current.st_ino, current.st_dev) != (os.fstat(self._fd).st_ino, os.fstat(self._fd).st_dev):
            data += self._read()  # what came between the first reading and the rotation
            os.close(self._fd)
            self._fd = self._open()
            data += self._read()
        complete, _, self._rest = data.rpartition(b"\n")
        return complete.split(b"\n") if complete else []

    def _read(self) -> bytes:
        parts = []
        while part := os.read(self._fd, _READ_BYTES):
            parts.append(part)
        return b"".join(parts)

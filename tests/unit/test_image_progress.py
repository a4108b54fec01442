"""Progress: a real pseudo-terminal for the bars, a pipe for the plain lines."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import termios
import threading

import pytest

from rootless.image import progress
from rootless.image.progress import COPYING, DONE, EXISTS, UNPACKING, WAITING

DIGESTS = [f"sha256:{n:02x}" + "0" * 62 for n in range(30)]


class Terminal:
    """A pseudo-terminal of a given size whose output is collected."""

    def __init__(self, columns: int, lines: int) -> None:
        self._master, self.fd = os.openpty()
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._data = b""
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self) -> None:
        while True:
            try:
                chunk = os.read(self._master, 65536)
            except OSError:
                return
            self._data += chunk

    def close(self) -> str:
        os.close(self.fd)
        self._thread.join()
        os.close(self._master)
        return self._data.decode()


def screen(output: str) -> list[str]:
    """What is on the screen at the end: the few control sequences that the renderer uses, carried out."""
    lines: list[str] = [""]
    row = 0
    for part in re.split(r"(\x1b\[\d*[AJ]|\x1b\[\d+m|\r|\n)", output):
        if part == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif part == "\r" or re.fullmatch(r"\x1b\[\d+m", part):
            continue
        elif part.endswith("A") and part.startswith("\x1b"):
            row -= int(part[2:-1])
            assert row >= 0
        elif part == "\x1b[J":
            lines[row:] = [""]
        else:
            lines[row] += part
    return lines


def test_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal(100, 24)
    shown = progress.choose(quiet=False, fd=terminal.fd)
    assert isinstance(shown, progress.TerminalProgress)
    shown.message("Trying to pull x...")
    shown.layer(DIGESTS[0], 0, 0, EXISTS)
    shown.layer(DIGESTS[1], 0, 4_000_000, WAITING)
    shown.layer(DIGESTS[1], 1_000_000, 4_000_000, COPYING)
    shown.layer(DIGESTS[2], 2_000_000, 2_000_000, UNPACKING)
    shown.layer(DIGESTS[2], 2_000_000, 2_000_000, DONE)
    shown.message("Writing manifest")
    shown.close()
    output = terminal.close()
    lines = screen(output)
    assert lines[:2] == ["Trying to pull x...", "Writing manifest"]
    assert "already exists" in lines[2]
    assert "=========>" in lines[3]
    assert "1.0MB / 4.0MB" in lines[3]
    assert "done  2.0MB" in lines[4]
    assert "\x1b[32m" in output
    assert all(len(line) < 100 for line in lines)


@pytest.mark.parametrize(("columns", "rows"), [(20, 5), (1, 1), (40, 6), (200, 50)])
def test_it_fits_any_terminal(columns: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    terminal = Terminal(columns, rows)
    shown = progress.TerminalProgress(terminal.fd)
    for digest in DIGESTS:
        shown.layer(digest, 0, 10_000_000, WAITING)
    for digest in DIGESTS:
        shown.layer(digest, 5_000_000, 10_000_000, COPYING)
    output = terminal.close()
    assert not re.search(r"\x1b\[[0-9;]*m", output)
    lines = screen(output)
    assert all(len(line) <= max(1, columns - 1) for line in lines)
    assert len(lines) - 1 <= max(2, rows)


def test_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    shown = progress.choose(quiet=False, fd=write_end)
    shown.message("Trying to pull x\x1b[31m...")
    shown.layer(DIGESTS[0], 0, 10, EXISTS)
    for state in (WAITING, COPYING, UNPACKING, DONE):
        shown.layer(DIGESTS[1], 10, 10, state)
    shown.close()
    os.close(write_end)
    with os.fdopen(read_end) as pipe:
        assert pipe.read().splitlines() == [
            "Trying to pull x\\x1b[31m...",
            f"Copying blob {DIGESTS[0]} skipped: already exists",
            f"Copying blob {DIGESTS[1]} done",
        ]


def test_quiet_and_a_reader_that_is_gone() -> None:
    read_end, write_end = os.pipe()
    quiet = progress.choose(quiet=True, fd=write_end)
    quiet.message("x")
    quiet.layer(DIGESTS[0], 0, 1, COPYING)
    os.close(read_end)
    progress.PlainProgress(write_end).message("nobody reads this")
    os.close(write_end)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0B"), (999, "999B"), (1000, "1.0kB"), (999_949, "999.9kB"), (999_999, "1.0MB"), (31_400_000, "31.4MB")],
)
def test_sizes(count: int, text: str) -> None:
    assert progress.size(count) == text

"""What a pull tells while it goes: bars on a terminal, plain lines elsewhere, nothing when quiet.

All of it goes to standard error; standard output is for the image's id.
"""

from __future__ import annotations

import os
import threading
import time

from rootless.log import printable

WAITING, EXISTS, COPYING, UNPACKING, DONE = "waiting", "already exists", "copying", "unpacking", "done"
_REDRAW_S = 0.08
_SPEED_WINDOW_S = 4.0
_MIN_BAR = 8


class Progress:
    """The interface, and its silent form. Methods may be called from several threads."""

    def message(self, text: str) -> None:
        """A step of the whole pull."""

    def layer(self, digest: str, done_bytes: int, total_bytes: int, state: str) -> None:
        """Where a layer is: ``state`` is one of this module's constants."""

    def close(self) -> None:
        """The pull has ended, well or not."""


class PlainProgress(Progress):
    """Podman's lines, one for each step that is finished."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd

    def message(self, text: str) -> None:
        """One line."""
        _write(self._fd, printable(text) + "\n")

    def layer(self, digest: str, done_bytes: int, total_bytes: int, state: str) -> None:
        """Only the end of a layer is worth a line."""
        if state == DONE:
            self.message(f"Copying blob {digest} done")
        elif state == EXISTS:
            self.message(f"Copying blob {digest} skipped: already exists")


class _Layer:
    __slots__ = ("done", "state", "total")

    def __init__(self, done: int, total: int, state: str) -> None:
        self.done = done
        self.total = total
        self.state = state


class TerminalProgress(Progress):
    """One bar a layer, redrawn in place; fits the terminal's width and height as they are at each moment."""

    def __init__(self, fd: int = 2) -> None:
        self._fd = fd
        self._layers: dict[str, _Layer] = {}
        self._lock = threading.Lock()
        self._drawn = 0
        self._next_s = 0.0
        self._samples: list[tuple[float, int]] = []
        self._colour = not os.environ.get("NO_COLOR")

    def message(self, text: str) -> None:
        """A line above the bars."""
        with self._lock:
            self._erase()
            _write(self._fd, printable(text) + "\n")
            self._draw()

    def layer(self, digest: str, done_bytes: int, total_bytes: int, state: str) -> None:
        """Take note, and redraw if the last time is long enough ago."""
        with self._lock:
            known = self._layers.get(digest)
            changed = known is None or known.state != state
            self._layers[digest] = _Layer(done_bytes, total_bytes, state)
            now = time.monotonic()
            if changed or now >= self._next_s:
                self._next_s = now + _REDRAW_S
                self._erase()
                self._draw()

    def close(self) -> None:
        """Leave the last picture on the screen."""
        with self._lock:
            self._erase()
            self._draw(final=True)
            self._layers.clear()
            self._drawn = 0

    def _erase(self) -> None:
        if self._drawn:
            _write(self._fd, f"\x1b[{self._drawn}A\r\x1b[J")
            self._drawn = 0

    def _draw(self, *, final: bool = False) -> None:
        if not self._layers:
            return
        width, height = _terminal_size(self._fd)
        shown = list(self._layers.items())
        room = max(1, height - 2)
        if not final and len(shown) > room:
            # What moves is what people look at; the finished ones are summed up below.
            shown = [item for item in shown if item[1].state in (COPYING, UNPACKING)][:room] or shown[-room:]
        lines = [self._line(digest, layer, width) for digest, layer in shown]
        if not final:
            lines.append(self._summary(width))
        _write(self._fd, "".join(f"{line}\n" for line in lines))
        self._drawn = len(lines)

    def _line(self, digest: str, layer: _Layer, width: int) -> str:
        name = digest.removeprefix("sha256:")[:12]
        if layer.state in (COPYING, UNPACKING) and layer.total:
            right = f"{size(layer.done)} / {size(layer.total)}"
            if layer.state == UNPACKING:
                right = UNPACKING
        else:
            right = layer.state + (f"  {size(layer.total)}" if layer.state == DONE else "")
        right = f"{right:>21}"
        bar_width = min(40, width - len(name) - len(right) - 5)
        if bar_width < _MIN_BAR:
            return f"{name} {right.strip()}"[: max(1, width - 1)]
        return f"{name} [{self._bar(layer, bar_width)}] {right}"

    def _bar(self, layer: _Layer, width: int) -> str:
        full = layer.state in (DONE, EXISTS, UNPACKING)
        filled = width if full else width * layer.done // max(1, layer.total)
        filled = min(width, filled)
        head = ">" if 0 < filled < width else ""
        text = "=" * (filled - len(head)) + head
        rest = " " * (width - filled)
        if not self._colour:
            return text + rest
        return f"\x1b[{'32' if full else '36'}m{text}\x1b[0m{rest}"

    def _summary(self, width: int) -> str:
        """Layers finished, bytes, and the speed over the last seconds."""
        layers = self._layers.values()
        moved = [layer for layer in layers if layer.state != EXISTS]
        done, total = sum(layer.done for layer in moved), sum(layer.total for layer in moved)
        finished = sum(layer.state in (DONE, EXISTS) for layer in layers)
        text = f"{finished} of {len(self._layers)} layers, {size(done)} of {size(total)}"
        speed = self._speed(done)
        if speed > 0:
            text += f", {size(int(speed))}/s"
        return text[: max(1, width - 1)]

    def _speed(self, done: int) -> float:
        now = time.monotonic()
        self._samples.append((now, done))
        while now - self._samples[0][0] > _SPEED_WINDOW_S:
            self._samples.pop(0)
        first_s, first_done = self._samples[0]
        return (done - first_done) / (now - first_s) if now - first_s > 0.2 else 0.0


def choose(*, quiet: bool, fd: int = 2) -> Progress:
    """The form that fits: silent when ``quiet``, bars on a terminal that can move its cursor, else lines."""
    if quiet:
        return Progress()
    if os.isatty(fd) and os.environ.get("TERM", "dumb") != "dumb":
        return TerminalProgress(fd)
    return PlainProgress(fd)


def size(count: int) -> str:
    """Bytes for people, in SI units: 999B, 1.2kB, 31.4MB."""
    if count < 1000:
        return f"{count}B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        value /= 1000
        if value < 999.95 or unit == "PB":
            break
    return f"{value:.1f}{unit}"


def _terminal_size(fd: int) -> tuple[int, int]:
    try:
        columns, lines = os.get_terminal_size(fd)
    except OSError:
        return 80, 24
    return columns or 80, lines or 24


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        pass  # nobody reads it; the pull goes on

"""Terminals of either side: their size, and the caller's own in raw mode.

``termios``, a library of its own, is loaded only where there is a terminal: 0.4 ms.
"""

from __future__ import annotations

import fcntl
import os

# asm-generic/ioctls.h: the same on every architecture that rpod runs on.
TIOCSCTTY, TIOCGWINSZ, TIOCSWINSZ = 0x540E, 0x5413, 0x5414


def window_size(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal; (0, 0) if it is none."""
    try:
        packed = fcntl.ioctl(fd, TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return 0, 0
    return int.from_bytes(packed[0:2], "little"), int.from_bytes(packed[2:4], "little")


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Give the terminal at ``fd`` another size; its foreground programs get SIGWINCH."""
    fcntl.ioctl(fd, TIOCSWINSZ, rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4))


class RawMode:
    """The caller's terminal in raw mode inside a ``with``; restored whatever happens.

    ``output``: it still turns a line's end into both of its characters, because the program's does not.
    """

    __slots__ = ("_fd", "_output", "_saved")

    def __init__(self, fd: int, *, output: bool = False) -> None:
        self._fd = fd
        self._output = output
        self._saved: list[object] | None = None

    def __enter__(self) -> RawMode:
        if os.isatty(self._fd):
            import termios

            self._saved = termios.tcgetattr(self._fd)
            self.again()
        return self

    def again(self) -> None:
        """Make it raw once more: a shell that stopped this process has set it to its own liking."""
        if self._saved is not None:
            import termios

            raw = termios.tcgetattr(self._fd)
            raw[0] &= ~(
                termios.IGNBRK
                | termios.BRKINT
                | termios.PARMRK
                | termios.ISTRIP
                | termios.INLCR
                | termios.IGNCR
                | termios.ICRNL
                | termios.IXON
            )
            if not self._output:
                raw[1] &= ~termios.OPOST
            raw[2] = raw[2] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
            raw[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
            raw[6][termios.VMIN] = 1
            raw[6][termios.VTIME] = 0
            termios.tcsetattr(self._fd, termios.TCSADRAIN, raw)

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            self._saved = None

"""The container's terminal and standard streams, and the caller's own terminal."""

from __future__ import annotations

import fcntl
import os
import termios

from rootless.kernel import syscalls as sc
from rootless.runtime import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.mounts import Root

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


class Streams:
    """Both sides of a container's standard streams: pipes, or one pseudo-terminal.

    ``inside`` are the three descriptors of the program, ``outside`` the monitor's; a missing
    one is -1. With a terminal they are filled once init has made it.
    """

    __slots__ = ("borrowed", "inside", "line_ends", "master", "outside", "size")

    def __init__(self, inside: list[int], outside: list[int]) -> None:
        self.inside = inside
        self.outside = outside
        self.master = -1
        self.borrowed = False  # the caller's own, whose owner is not ours to change
        self.line_ends = True  # the terminal returns the carriage at a line's end (ONLCR)
        self.size = (0, 0)  # rows and columns of the terminal from the start; (0, 0): the caller's

    @classmethod
    def pipes(cls, *, stdin: bool) -> Streams:
        """Pipes; without ``stdin`` the program reads /dev/null."""
        if stdin:
            read_in, write_in = os.pipe()
        else:
            read_in, write_in = os.open("/dev/null", os.O_RDONLY), -1
        read_out, write_out = os.pipe()
        read_err, write_err = os.pipe()
        return cls([read_in, write_out, write_err], [write_in, read_out, read_err])

    @classmethod
    def terminal(cls) -> Streams:
        """Nothing yet: the pseudo-terminal is made inside."""
        return cls([], [])

    @classmethod
    def inherited(cls) -> Streams:
        """The caller's own three: nothing is between them and the program."""
        streams = cls([os.dup(fd) for fd in range(3)], [-1, -1, -1])
        streams.borrowed = True
        return streams

    def close_inside(self) -> None:
        """Close the program's side, in the launcher."""
        for fd in self.inside:
            os.close(fd)
        self.inside = []


def make_terminal(root: Root, streams: Streams) -> tuple[int, int]:
    """A pseudo-terminal of the container's own devpts as ``streams`` wants it: (master, slave) descriptors."""
    master = root.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
    # The master's other end, and not what a path leads to by now (CVE-2025-52565).
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    # The caller's terminal is still ours: a full-screen program finds its size before the client tells it.
    rows, columns = streams.size if any(streams.size) else window_size(0)
    if rows and columns:
        set_window_size(master, rows, columns)
    if not streams.line_ends:
        _clear_line_ends(slave)
    return master, slave


def place_console(root: Root, slave: int) -> None:
    """Show the terminal as /dev/console."""
    tree = sc.open_tree(slave, "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH)
    mounts.place(tree, root.make("/dev/console", directory=False))


def use_streams(fds: list[int], uid: int, *, terminal: bool) -> None:
    """Make ``fds`` the standard streams, owned by ``uid`` (-1: as they are), and the terminal the controlling one."""
    for target, fd in enumerate(fds):
        try:
            os.fchown(fd, uid, -1)
        except OSError:
            pass  # /dev/null and the host's files stay as they are
        os.dup2(fd, target, inheritable=True)
    if terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def window_size(fd: int) -> tuple[int, int]:
    """Rows and columns of a terminal; (0, 0) if it is none."""
    try:
        packed = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * 8)
    except OSError:
        return 0, 0
    return int.from_bytes(packed[0:2], "little"), int.from_bytes(packed[2:4], "little")


def set_window_size(fd: int, rows: int, columns: int) -> None:
    """Give the terminal at ``fd`` another size; its foreground programs get SIGWINCH."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, rows.to_bytes(2, "little") + columns.to_bytes(2, "little") + bytes(4))


def _clear_line_ends(fd: int) -> None:
    attributes = termios.tcgetattr(fd)
    attributes[1] &= ~termios.ONLCR
    termios.tcsetattr(fd, termios.TCSANOW, attributes)


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
            self._saved = termios.tcgetattr(self._fd)
            self.again()
        return self

    def again(self) -> None:
        """Make it raw once more: a shell that stopped this process has set it to its own liking."""
        if self._saved is not None:
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
            termios.tcsetattr(self._fd, termios.TCSADRAIN, self._saved)  # type: ignore[arg-type]
            self._saved = None

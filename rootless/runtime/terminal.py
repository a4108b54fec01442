"""The container's terminal, made inside, and the standard streams of its program."""

from __future__ import annotations

import fcntl
import os

from rootless.kernel import syscalls as sc
from rootless.kernel import tty
from rootless.runtime import mounts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.mounts import Root
    from rootless.runtime.streams import Streams

_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441


def make_terminal(root: Root, streams: Streams) -> tuple[int, int]:
    """A pseudo-terminal of the container's own devpts as ``streams`` wants it: (master, slave) descriptors."""
    master = root.open("/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, _TIOCSPTLCK, b"\0\0\0\0")
    # The master's other end, and not what a path leads to by now (CVE-2025-52565).
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    # The caller's terminal is still ours: a full-screen program finds its size before the client tells it.
    rows, columns = streams.size if any(streams.size) else tty.window_size(0)
    if rows and columns:
        tty.set_window_size(master, rows, columns)
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
        fcntl.ioctl(0, tty.TIOCSCTTY, 0)


def _clear_line_ends(fd: int) -> None:
    import termios  # the root has not been changed yet

    attributes = termios.tcgetattr(fd)
    attributes[1] &= ~termios.ONLCR
    termios.tcsetattr(fd, termios.TCSANOW, attributes)

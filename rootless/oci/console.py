"""A container's terminal: how it is from the start, and its master in the hands of whoever asked for it."""

from __future__ import annotations

import _socket
import os
import termios  # noqa: F401  here: exec clears ONLCR when the root is the container's, and nothing is imported there

from rootless.errors import LaunchError, os_reason
from rootless.kernel import unix
from rootless.runtime.streams import Streams


def streams(process: dict[str, object]) -> Streams:
    """The streams of a checked ``process``: our own, or a new terminal of ``consoleSize``, without ONLCR as runc's."""
    if not process.get("terminal"):
        return Streams.inherited()
    made = Streams.terminal()
    made.line_ends = False
    size = process.get("consoleSize") or {}
    assert isinstance(size, dict)
    made.size = (size.get("height", 0), size.get("width", 0))
    return made


def send(path: str, master: int) -> None:
    """Send the descriptor to the socket at ``path`` and close it (runc's docs/terminals.md)."""
    try:
        sock = unix.connect(path, unix.STREAM)
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, master.to_bytes(4, "little"))]
        sock.sendmsg([b"/dev/ptmx"], rights, _socket.MSG_NOSIGNAL)
        sock.close()
    except OSError as error:
        raise LaunchError(f"--console-socket {path}: {os_reason(error)}") from error
    finally:
        os.close(master)

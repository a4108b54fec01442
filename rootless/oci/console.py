"""The master of a container's terminal: prepared, and handed to whoever asked for it."""

from __future__ import annotations

import _socket
import os

from rootless.errors import LaunchError, os_reason
from rootless.kernel import unix
from rootless.runtime import terminal


def prepare(master: int, document: dict[str, object]) -> int:
    """Give a new terminal the size of ``process.consoleSize``, and no line ends of its own; ``master`` itself."""
    terminal.clear_line_ends(master)
    process = document.get("process") or {}
    assert isinstance(process, dict)
    size = process.get("consoleSize")
    if size:
        terminal.set_window_size(master, size["height"], size["width"])
    return master


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

"""Unix sockets at paths of any length.

``sun_path`` holds 107 bytes (unix(7)): a longer path is reached through a descriptor of its directory.
"""

from __future__ import annotations

import _socket
import os

from rootless.kernel.numbers import decimal

SEQPACKET = _socket.SOCK_SEQPACKET
STREAM = _socket.SOCK_STREAM
DATAGRAM = _socket.SOCK_DGRAM
_MOST_FDS = 1 << 20


def listen(path: str, backlog: int) -> _socket.socket:
    """A listening SOCK_SEQPACKET socket at ``path``; what was there before is removed. Raises OSError."""
    listener = bind(path, SEQPACKET)
    listener.listen(backlog)
    return listener


def bind(path: str, kind: int) -> _socket.socket:
    """A socket at ``path``; what was there before is removed. Raises OSError."""
    directory, name = _open_parent(path)
    try:
        try:
            os.unlink(name, dir_fd=directory)
        except FileNotFoundError:
            pass
        sock = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
        sock.bind(f"/proc/self/fd/{directory}/{name}")
        return sock
    finally:
        os.close(directory)


def connect(path: str, kind: int = SEQPACKET) -> _socket.socket:
    """A connection to the socket at ``path``. Raises OSError."""
    directory, name = _open_parent(path)
    try:
        sock = _socket.socket(_socket.AF_UNIX, kind | _socket.SOCK_CLOEXEC)
        sock.connect(f"/proc/self/fd/{directory}/{name}")
        return sock
    finally:
        os.close(directory)


def accept(listener: _socket.socket) -> _socket.socket:
    """Wait for one connection, and close the listener behind it."""
    fd, _ = listener._accept()  # type: ignore[attr-defined]  # what socket.accept of the Python half calls
    listener.close()
    return _socket.socket(fileno=fd)


def activation_sockets() -> int:
    """How many sockets from descriptor 3 on a service manager gave with LISTEN_FDS (sd_listen_fds(3))."""
    return decimal(os.environ.get("LISTEN_FDS", ""), _MOST_FDS) or 0


def _open_parent(path: str) -> tuple[int, str]:
    folder, name = os.path.split(path)
    return os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC), name

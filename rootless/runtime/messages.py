"""What launcher and init say to each other, one JSON message a packet, over one socket pair.

==============  =========  ==================================================================
from            kind       meaning
==============  =========  ==================================================================
launcher        mapped     the id maps are written: set up
launcher        root       carries the root's detached mount, where fuse-overlayfs serves it
init            tty        carries the master of the container's pseudo-terminal (a descriptor)
stage           created    another runtime has made the container's first process (runtime/foreign.py)
init            ready      everything is set up; only exec is left
launcher        go         (exec) whoever asked for the terminal has it
launcher, gate  go         the network is ready, or the container is started: exec
init            error      a step failed: message, hint, code
static init     (number)   execve failed with this errno
(end of file)              the program runs
==============  =========  ==================================================================
"""

from __future__ import annotations

import _socket
import errno
import os

from rootless.errors import LaunchError, RpodError, os_reason
from rootless.kernel import fastjson

MAX_BYTES = 65536
_INT = 4


class Channel:
    """One end of the pair."""

    __slots__ = ("_sock",)

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock

    def fileno(self) -> int:
        """Its descriptor."""
        return self._sock.fileno()

    def send(self, kind: str, fd: int = -1, **values: object) -> None:
        """Send a message, with a descriptor if one is given."""
        data = fastjson.dumps({"kind": kind, **values}).encode()
        ancillary = []
        if fd >= 0:
            ancillary = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(_INT, "little"))]
        try:
            self._sock.sendmsg([data], ancillary, _socket.MSG_NOSIGNAL)
        except OSError as error:
            self.receive()  # raises what the other side said before it went
            raise LaunchError("the other side of the launch is gone") from error

    def send_error(self, error: BaseException, what: str) -> None:
        """Send what went wrong; ``what`` begins the line for an error that has no words for users."""
        self.send("error", -1, **error_values(described(error, what)))

    def receive(self) -> Message:
        """The next message; kind "" at the end of file. Raises LaunchError for an ``error`` message."""
        try:
            data, ancillary, _, _ = self._sock.recvmsg(MAX_BYTES, 64, _socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            # Said once, before all else, of a peer that has gone without reading everything. What it said is there.
            data, ancillary, _, _ = self._sock.recvmsg(MAX_BYTES, 64, _socket.MSG_CMSG_CLOEXEC)
        fds = [cmsg for level, type_, cmsg in ancillary if type_ == _socket.SCM_RIGHTS]
        fd = int.from_bytes(fds[0][:_INT], "little") if fds else -1
        if not data:
            return Message("", {}, fd)
        if data.strip().isdigit():
            return Message("errno", {"errno": int(data)}, fd)
        values = fastjson.loads(data)
        assert isinstance(values, dict)
        kind = str(values.pop("kind"))
        if kind == "error":
            raise _remote_error(values)
        return Message(kind, values, fd)

    def close(self) -> None:
        """Close this end."""
        self._sock.close()


class Message:
    """What was received; ``fd`` is -1 where none came along."""

    __slots__ = ("fd", "kind", "values")

    def __init__(self, kind: str, values: dict[str, object], fd: int) -> None:
        self.kind = kind
        self.values = values
        self.fd = fd


def pair() -> tuple[Channel, Channel]:
    """Two connected ends, for launcher and init."""
    first, second = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)
    return Channel(first), Channel(second)


def described(error: BaseException, what: str) -> RpodError:
    """Any exception as one that a user can read."""
    if isinstance(error, RpodError):
        return error
    if isinstance(error, OSError):
        hint = "rpod system df, rpod system prune" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        return LaunchError(f"{what}: {os_reason(error)}", hint)
    return LaunchError(f"{what}: {error!r}")


def error_values(error: RpodError) -> dict[str, object]:
    """An error as a message or report carries it."""
    return {"message": error.message, "hint": error.hint, "code": error.code}


def _remote_error(values: dict[str, object]) -> RpodError:
    code = values.get("code")
    return LaunchError(str(values["message"]), str(values["hint"]), code if isinstance(code, int) else 125)


def raise_reported(values: dict[str, object]) -> None:
    """Raise the error that another process reported with ``error_values``."""
    raise _remote_error(values)


def exit_status(pid: int) -> int:
    """Wait for a child that failed to launch."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

"""The monitor of a container as the peer of a session: one packet a message, see docs/HACKING.md."""

from __future__ import annotations

import _socket
import time

from rootless.engine.foreground import STREAMS
from rootless.engine.session import CHUNK_BYTES, DETACHED, Peer, Session, write_all
from rootless.errors import LaunchError
from rootless.kernel import files, process, unix
from rootless.state import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.state.container import Container


_RELEASE_S = 3.0  # a helper of the network that does not end by itself is killed after 2


class Monitor(Peer):
    """A connection to a container's monitor."""

    def __init__(
        self, container: Container, sock: _socket.socket, *, take_over: bool, streams: frozenset[str] = STREAMS
    ) -> None:
        self._container = container
        self._streams = streams
        self._sock = sock
        self._record = container.record_inode() if take_over else 0  # of the record that says that we clean up
        self.took_over = False
        self.ended = False  # the program, as the monitor says
        self.sink = sock.fileno()
        self.sources = [self.sink]

    def on_readable(self, fd: int) -> int | None:
        """One message of the monitor's."""
        try:
            data = self._sock.recv(CHUNK_BYTES + 1)
        except ConnectionResetError:
            data = b""
        kind = data[:1]
        if kind == b"o":
            if "stdout" in self._streams:
                write_all(1, data[1:])
        elif kind == b"e":
            if "stderr" in self._streams:
                write_all(2, data[1:])
        elif kind == b"x":
            self.ended = True
            if self._record and self._record == self._container.record_inode():
                self._take_over()
            return int(data[1:].split()[0])
        elif not kind:
            _await_release(self._container)  # the monitor was killed, and its sockets were closed before its lock
            return self._container.state().exit_code
        return None

    def push(self, data: bytes) -> bytes:
        """Input, at most one packet at a time."""
        return data if not self._send(b"i" + data) else b""

    def _send(self, packet: bytes) -> bool:
        try:
            self._sock.send(packet, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return False
        except OSError:
            pass  # the monitor is gone; the end of its stream says so
        return True

    def end_input(self) -> bool:
        """Close the program's input; everything before has been taken."""
        return self._send(b"c")

    def resize(self, rows: int, columns: int) -> None:
        """Tell the window's size."""
        self._send(f"w{rows} {columns}".encode())

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        run = self._container.run_record()
        if run is not None:
            process.kill(run.pid, run.start_ticks, number)

    def _take_over(self) -> None:
        """Tell the monitor that we clean up, and wait until it has let go of the lock and of us.

        It may live some milliseconds longer, until slirp4netns has ended: nobody waits for that.
        """
        try:
            self._sock.send(b"k", _socket.MSG_NOSIGNAL)
            while self._sock.recv(CHUNK_BYTES):
                pass
            self.took_over = True
        except OSError:
            pass  # it decided for itself already


def attach(
    container: Container,
    *,
    detach_keys: str | None,
    no_stdin: bool,
    sig_proxy: bool,
    begin: Callable[[], None] | None = None,
) -> int:
    """Join the clients of a running container; its exit code at the end, 0 when the user detached.

    ``begin`` is called when nothing of its output can be missed any more.
    """
    record = container.record
    peer = Monitor(container, connect(container), take_over=False)
    if begin:
        begin()
    events.of_container(record, "attach")
    session = Session(
        peer,
        stdin=record.open_stdin and not no_stdin,
        tty=record.tty,
        detach_keys=detach_keys,
        sig_proxy=sig_proxy and not record.tty,
    )
    code = session.run()
    if peer.ended and record.restart == "no":
        _await_release(container)
    return 0 if code == DETACHED else code


def _await_release(container: Container) -> None:
    """Wait until the monitor has let go of the lock: who starts the container next would find it running."""
    deadline = time.monotonic() + _RELEASE_S
    while files.Lock.is_held(container.alive_path) and time.monotonic() < deadline:
        time.sleep(0.005)


def connect(container: Container) -> _socket.socket:
    """A connection to the monitor of a running container. LaunchError if nobody answers."""
    try:
        return unix.connect(container.attach_path)
    except OSError as error:
        raise LaunchError(f"the monitor of {container.name} does not answer: {error.strerror}", "rpod ps -a") from error

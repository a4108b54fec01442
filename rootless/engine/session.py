"""A user in front of a running program: streams, keys, signals and the window's size, in one loop.

What the program's side is (the monitor's socket, or pipes and a terminal of our own) is a
``Peer``; this file is the user's side.
"""

from __future__ import annotations

import _signal
import os
import select

from rootless import config, log
from rootless.engine import detach
from rootless.kernel.tty import RawMode, window_size

CHUNK_BYTES = 32768
DETACHED = -1
_SIGWINCH, _SIGCONT = 28, 18
_ENDING_SIGNALS = frozenset((1, 2, 3, 15))  # HUP INT QUIT TERM: in raw mode they come from outside
# Not passed on: what cannot be caught, what concerns only this process, and its own faults.
_KEPT_SIGNALS = frozenset((4, 5, 7, 8, 9, 11, 13, 17, 18, 19, 21, 22, 23, _SIGWINCH, 31))


class Peer:
    """The program's side. ``sources`` are read, ``sink`` becomes writable when ``push`` can take more."""

    sources: list[int]
    sink: int
    plain_output = False  # a terminal that leaves it to the user's to return the carriage

    def on_readable(self, fd: int) -> int | None:
        """Pass on what ``fd`` has; the exit code when the program has ended."""
        raise NotImplementedError

    def push(self, data: bytes) -> bytes:
        """Give the program input without blocking; returns what it did not take."""
        raise NotImplementedError

    def end_input(self) -> bool:
        """The user's input has ended; False where that cannot be told before ``sink`` is writable."""
        raise NotImplementedError

    def resize(self, rows: int, columns: int) -> None:
        """The user's window has another size."""
        raise NotImplementedError

    def signal(self, number: int) -> None:
        """Pass a signal on."""
        raise NotImplementedError


class Session:
    """One user's session with a program."""

    def __init__(self, peer: Peer, *, stdin: bool, tty: bool, detach_keys: str | None, sig_proxy: bool) -> None:
        self._peer = peer
        self._stdin = 0 if stdin else -1
        self._tty = tty
        keys = config.load().containers.detach_keys if detach_keys is None else detach_keys
        self._keys = detach.Keys(keys if tty else "")
        self._sig_proxy = sig_proxy
        self._pending = b""
        self._ending = False  # the input has ended, and the program does not know yet
        self._caught: dict[int, object] = {}
        self._poll = select.poll()

    def run(self) -> int:
        """Pump until the program has ended; its exit code, or DETACHED."""
        if self._tty and self._stdin == 0 and not os.isatty(0):
            log.warn(
                "standard input is no terminal: with -t its lines are edited and echoed, and its end may be missed"
            )
        with RawMode(0 if self._tty and self._stdin == 0 else -1, output=self._peer.plain_output) as self._raw:
            wakeup = self._catch_signals()
            try:
                if self._tty:
                    self._send_size()
                return self._pump(wakeup)
            finally:
                self._restore_signals()
                os.close(wakeup)

    def _catch_signals(self) -> int:
        """Signals become bytes in a pipe, so that none is lost between two steps of the loop."""
        read_end, self._wakeup_out = os.pipe()
        os.set_blocking(self._wakeup_out, False)
        _signal.set_wakeup_fd(self._wakeup_out, warn_on_full_buffer=False)
        wanted = {_SIGWINCH, _SIGCONT, *_ENDING_SIGNALS} if self._tty else set()
        if self._sig_proxy:
            wanted |= set(range(1, 32)) - _KEPT_SIGNALS
        for number in wanted:
            self._caught[number] = _signal.signal(number, lambda *_: None)
        return read_end

    def _restore_signals(self) -> None:
        _signal.set_wakeup_fd(-1)
        os.close(self._wakeup_out)
        for number, handler in self._caught.items():
            _signal.signal(number, handler if handler is not None else _signal.SIG_DFL)

    def _pump(self, wakeup: int) -> int:
        poll = self._poll
        for fd in (*self._peer.sources, wakeup):
            poll.register(fd, select.POLLIN)
        if self._stdin >= 0:
            poll.register(self._stdin, select.POLLIN)
        while True:
            for fd, event in poll.poll():
                if fd == wakeup:
                    ended = self._on_signals(os.read(wakeup, 512))
                    if ended:
                        return ended
                    continue
                if fd == self._stdin and not self._on_stdin():
                    return DETACHED
                if fd == self._peer.sink and event & (select.POLLOUT | select.POLLERR) and self._waiting():
                    self._push()
                if fd in self._peer.sources and event & ~select.POLLOUT:
                    code = self._peer.on_readable(fd)
                    if code is not None:
                        return code
                    if fd not in self._peer.sources:
                        poll.unregister(fd)

    def _on_signals(self, numbers: bytes) -> int:
        """Act on signals; the exit code if one ends this client, which leaves by the way that restores the terminal."""
        for number in numbers:
            if number in (_SIGWINCH, _SIGCONT):
                if number == _SIGCONT:
                    self._raw.again()
                self._send_size()
            elif self._sig_proxy:
                self._peer.signal(number)
            else:
                return 128 + number
        return 0

    def _send_size(self) -> None:
        rows, columns = window_size(0 if self._stdin == 0 else 1)
        if rows and columns:
            self._peer.resize(rows, columns)

    def _on_stdin(self) -> bool:
        """Pass on what was typed; False when it was the detach keys."""
        try:
            data = os.read(self._stdin, CHUNK_BYTES)
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(self._stdin)
            self._stdin = -1
            self._ending = True
            self._push()
            return True
        self._pending, detached = self._keys.feed(data)
        if self._pending:
            self._poll.unregister(self._stdin)
            self._push()
        return not detached

    def _waiting(self) -> bool:
        return bool(self._pending) or self._ending

    def _push(self) -> None:
        """Hand over pending input, then its end; while the program is behind, our stdin is not read.

        Nothing here blocks: a program that waits for us to read its output takes no input.
        """
        sink = self._peer.sink
        if self._pending:
            self._pending = self._peer.push(self._pending)
        if self._ending and not self._pending:
            self._ending = not self._peer.end_input()
        also = select.POLLIN if sink in self._peer.sources else 0
        if self._waiting():
            self._poll.register(sink, select.POLLOUT | also)
            return
        if also:
            self._poll.register(sink, also)
        elif sink >= 0:
            try:
                self._poll.unregister(sink)
            except KeyError:
                pass  # it was never full
        if self._stdin >= 0:
            self._poll.register(self._stdin, select.POLLIN)


def write_all(fd: int, data: bytes) -> None:
    """Write everything, waiting where ``fd`` is non-blocking; a reader that has gone is not an error here."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except BrokenPipeError:
            return

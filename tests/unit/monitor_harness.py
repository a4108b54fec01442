"""Starts a real rpod-monitor as the launcher does, with a program of the host as the container's init.

RPOD_HELPERS names the folder of the binaries under test (the sanitizers' build, say); without it
they are the package's.
"""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any, Self

import rootless
from rootless.kernel import syscalls

HELPERS = Path(os.environ.get("RPOD_HELPERS") or Path(rootless.__file__).parent / "_bin")
SANITIZED = b"__asan_init" in (HELPERS / "rpod-monitor").read_bytes()
PATIENCE_S = 20


def wait_until(condition: Any, what: str, timeout_s: float = PATIENCE_S) -> None:
    """Poll ``condition`` until it is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {what}"
        time.sleep(0.005)


def alive(pid: int) -> bool:
    """Whether ``pid`` is a process that has not ended."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


class Client:
    """One end of the attach protocol."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.out = b""
        self.err = b""
        self.exit: bytes | None = None
        self.ended = False

    def send(self, message: bytes) -> None:
        """One message, its type first."""
        self.socket.send(message)

    def receive(self, timeout_s: float = PATIENCE_S) -> bool:
        """Take one message; False at the end of the connection."""
        if not select.select([self.socket], [], [], timeout_s)[0]:
            raise AssertionError(f"no message within {timeout_s} s; out={self.out[-200:]!r}")
        message = self.socket.recv(40000)
        if message[:1] == b"o":
            self.out += message[1:]
        elif message[:1] == b"e":
            self.err += message[1:]
        elif message[:1] == b"x":
            self.exit = message[1:]
        self.ended = not message
        return not self.ended

    def until(self, text: bytes) -> bytes:
        """Read until the output has ``text`` in it."""
        while text not in self.out:
            assert self.receive(), f"the end came before {text!r}: {self.out!r}"
        return self.out

    def until_exit(self) -> bytes:
        """Read until the container has ended; its ``CODE OOM``."""
        while self.exit is None:
            assert self.receive(), "the connection ended without an exit message"
        return self.exit

    def close(self) -> None:
        """Hang up."""
        self.socket.close()


class Monitored:
    """A running monitor and what the launcher gave it."""

    def __init__(
        self,
        folder: Path,
        argv: list[str],
        *,
        options: tuple[str, ...] = (),
        helpers: tuple[str, ...] = (),
        tty: bool = False,
        client: bool = True,
        log: Path | None = None,
        log_format: str = "k8s-file",
        before_exec: Any = None,
        check: str = "",
        mend: str = "",
    ) -> None:
        self.folder = folder
        self.log = log or folder / "ctr.log"
        self.exit_file = folder / "exit.json"
        self.cleaned = folder / "cleaned"
        self.pids = folder / "pids"
        self.lock = folder / "lock"
        self._check = ["--", *(["/bin/sh", "-c", check] if check else [])]
        self._mend = ["--", "/bin/sh", "-c", mend] if mend else []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._address = str(folder / "attach")
        self._listener.bind(self._address)
        self._listener.listen()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.client = Client(ours)
        self._clients = [self.client]
        words = ["--log", str(self.log), "--log-format", log_format, "--exit-file", str(self.exit_file), *options]
        words += ["--listen", str(self._listener.fileno())]
        words += ["--client", str(theirs.fileno())] if client else []
        self._errors_path = folder / "monitor.stderr"
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._launch(argv, words, helpers, tty, [self._listener.fileno(), theirs.fileno()], before_exec)
            finally:
                os._exit(99)
        self._listener.close()
        theirs.close()
        if not client:
            ours.close()
        self.status: int | None = None
        wait_until(self.pids.exists, "the launcher")
        self.init, *self.helpers = [int(word) for word in self.pids.read_text().split()]

    def _launch(
        self, argv: list[str], words: list[str], helpers: tuple[str, ...], tty: bool, keep: list[int], before: Any
    ) -> None:
        """The launcher: pipes or a terminal, init, helpers, then exec into the monitor."""
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        os.dup2(os.open(self._errors_path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), 2)
        lock = os.open(self.lock, os.O_CREAT | os.O_RDWR, 0o600)
        os.lockf(lock, os.F_LOCK, 0)
        keep.append(lock)
        words += ["--lock", str(lock)]
        if tty:
            init, ends = self._with_terminal(argv)
            words += ["--tty", str(ends[0])]
        else:
            init, ends = self._with_pipes(argv)
            for name, fd in zip(("--stdin", "--stdout", "--stderr"), ends, strict=True):
                words += [name, str(fd)]
        pids = [init]
        for helper in helpers:
            pids.append(os.posix_spawn("/bin/sh", ["sh", "-c", helper], dict(os.environ)))
            words += ["--helper", str(pids[-1])]
        self.pids.with_suffix(".tmp").write_text(" ".join(map(str, pids)))
        self.pids.with_suffix(".tmp").rename(self.pids)
        for fd in [*keep, *ends]:
            os.set_inheritable(fd, True)
        if before is not None:
            before(init)
        script = f"ls -l /proc/$$/fd >{self.cleaned}.tmp; grep Sig /proc/self/status >>{self.cleaned}.tmp; "
        cleanup = ["--", "/bin/sh", "-c", script + f"mv {self.cleaned}.tmp {self.cleaned}", *self._check, *self._mend]
        monitor = str(HELPERS / "rpod-monitor")
        os.execv(monitor, [monitor, "--pid", str(init), *words, *cleanup])

    @staticmethod
    def _with_pipes(argv: list[str]) -> tuple[int, list[int]]:
        in_read, in_write = os.pipe()
        out_read, out_write = os.pipe()
        err_read, err_write = os.pipe()
        init = os.fork()
        if init == 0:
            os.dup2(in_read, 0)
            os.dup2(out_write, 1)
            os.dup2(err_write, 2)
            signal.signal(signal.SIGPIPE, signal.SIG_DFL)
            os.execvp(argv[0], argv)
        return init, [in_write, out_read, err_read]

    @staticmethod
    def _with_terminal(argv: list[str]) -> tuple[int, list[int]]:
        init, master = pty.fork()
        if init == 0:
            os.execvp(argv[0], argv)
        return init, [master]

    def connect(self) -> Client:
        """One more client."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(self._address)
        self._clients.append(Client(sock))
        return self._clients[-1]

    def wait(self) -> int:
        """The exit code of what the monitor became."""
        if self.status is None:
            deadline = time.monotonic() + PATIENCE_S
            while True:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
                if pid:
                    break
                assert time.monotonic() < deadline, "the monitor does not end"
                time.sleep(0.002)
            self.status = os.waitstatus_to_exitcode(status)
        assert self.errors().find("Sanitizer") < 0, self.errors()
        return self.status

    def errors(self) -> str:
        """What the monitor said."""
        return self._errors_path.read_text()

    def record(self) -> dict[str, Any]:
        """The exit record."""
        record: dict[str, Any] = json.loads(self.exit_file.read_text())
        return record

    def lines(self, path: Path | None = None) -> list[tuple[str, str, str]]:
        """(stream, P or F, text) of the k8s-file log."""
        found = []
        text = (path or self.log).read_bytes().decode("utf-8", "surrogateescape")
        for line in text.removesuffix("\n").split("\n"):
            _, stream, tag, words = line.split(" ", 3)
            found.append((stream, tag, words))
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()
        if self.status is None:
            for pid in (self.init, *self.helpers):
                if alive(pid) and Path(f"/proc/{pid}/stat").read_text().split()[3] == str(self.pid):
                    os.kill(pid, signal.SIGKILL)
            try:
                self.wait()
            except AssertionError:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise

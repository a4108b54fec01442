"""A process in a user and network namespace of its own, connected by a driver under test."""

from __future__ import annotations

import os
import signal
import socket
import threading
from typing import TYPE_CHECKING

from rootless.kernel import syscalls, userns
from rootless.network import driver as drivers
from rootless.network import ports as port_rules
from rootless.network.driver import Connection

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rootless.network.driver import Driver, Started
    from rootless.network.ports import PortMapping


class NetBox:
    """``with NetBox("slirp4netns", work, ...)``: ``work`` runs inside; its result's text is ``answer()``.

    ``work`` gets a function that says "I listen"; ``start`` waits for that where it is asked to.
    """

    def __init__(
        self,
        network: str,
        work: Callable[[Callable[[], None]], str],
        run_dir: Path,
        *,
        publish: list[str] | None = None,
        maps: userns.IdMap | None = None,
    ) -> None:
        self.choice = drivers.parse([network])
        self.driver: Driver = drivers.get(self.choice.kind)
        self.ports: list[PortMapping] = port_rules.parse_all(publish or [], expose=[], publish_all=False)
        self.run_dir = run_dir
        self.work = work
        self.maps = maps
        self.started: Started | None = None
        self.pid = 0

    def __enter__(self) -> NetBox:
        self._listening, listening = os.pipe()
        go, self._go = os.pipe()
        self._answer, answer = os.pipe()

        def inside() -> None:
            os.close(self._go)
            self.driver.configure_inside()
            os.read(go, 1)

            def listens() -> None:
                os.write(listening, b"x")

            text = self.work(listens)
            os.write(answer, text.encode())
            os.write(listening, b"x")

        self.pid = userns.fork_inside(inside, self.maps, syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
        for fd in (listening, go, answer):
            os.close(fd)
        try:
            self.started = self.driver.start(
                Connection(self.pid, str(self.run_dir), self.ports, 65520, self.choice.options)
            )
            self.started.finish()
            os.write(self._go, b"x")
            os.read(self._listening, 1)
        except BaseException:
            self.__exit__()
            raise
        return self

    def answer(self) -> str:
        """What ``work`` returned; "" when it raised."""
        return os.read(self._answer, 65536).decode()

    def __exit__(self, *_: object) -> None:
        if self.started is not None:
            self.started.stop()
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        for fd in (self._listening, self._go, self._answer):
            os.close(fd)


def echo(kind: int, port: int, address: str = "0.0.0.0") -> Callable[[Callable[[], None]], str]:
    """Work that answers one connection or datagram with what came and from where."""

    def work(listening: Callable[[], None]) -> str:
        with socket.socket(socket.AF_INET, kind) as sock:
            sock.bind((address, port))
            if kind == socket.SOCK_STREAM:
                sock.listen()
                listening()
                peer, source = sock.accept()
                with peer:
                    peer.sendall(b"got " + peer.recv(100))
            else:
                listening()
                data, source = sock.recvfrom(100)
                sock.sendto(b"got " + data, source)
        return str(source[0])

    return work


def ask(kind: int, address: str, port: int, text: bytes = b"hello", timeout_s: float = 5) -> bytes:
    """Send ``text`` and return the answer."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind) as sock:
        sock.settimeout(timeout_s)
        sock.connect((address, port))
        sock.send(text)
        return sock.recv(100)


def try_connect(address: str, port: int, timeout_s: float = 2) -> Callable[[Callable[[], None]], str]:
    """Work that tries to reach a TCP port: "open" or the reason why not."""

    def work(listening: Callable[[], None]) -> str:
        with socket.socket() as sock:
            sock.settimeout(timeout_s)
            try:
                sock.connect((address, port))
                return sock.recv(10).decode() or "closed at once"
            except OSError as error:
                return type(error).__name__

    return work


class LoopbackServer:
    """A TCP server on the host's loopback that greets with "open"."""

    def __enter__(self) -> int:
        self.sock = socket.socket()
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return int(self.sock.getsockname()[1])

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self.sock.accept()
            except OSError:
                return
            with peer:
                peer.sendall(b"open")

    def __exit__(self, *_: object) -> None:
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join()

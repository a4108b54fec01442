"""A few threads that copy layers from or to a registry."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

from rootless.errors import RpodError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.image.transport import Transport

T = TypeVar("T")

_AT_ONCE = 4
_JOIN_S = 5.0


class Crew(Generic[T]):
    """Does ``work`` for many items. The threads are daemons: one stuck in the network cannot keep rpod alive."""

    def __init__(self, transport: Transport, work: Callable[[T], None]) -> None:
        self._transport = transport
        self._work_on = work
        self._results: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

    def run(self, items: list[T]) -> None:
        """Work on all ``items``, the last one first. Raises the first failure after the others have been stopped."""
        todo = list(items)
        threads = self._start(todo)
        try:
            for _ in items:
                failure = self._results.get()
                if failure is not None:
                    raise failure
        except BaseException:
            self._transport.cancel()
            deadline = time.monotonic() + _JOIN_S
            for thread in threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            raise

    def _start(self, todo: list[T]) -> list[threading.Thread]:
        """As many threads as serve, or as the user's limit of processes leaves, but one at least."""
        threads: list[threading.Thread] = []
        for number in range(min(_AT_ONCE, len(todo))):
            thread = threading.Thread(target=self._work, args=(todo,), name=f"layer-{number}", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if not threads:
                    raise RpodError(
                        "no thread can be started: too many processes, or too little memory", "ulimit -u; free -m"
                    ) from None
                break
            threads.append(thread)
        return threads

    def _work(self, todo: list[T]) -> None:
        while True:
            try:
                item = todo.pop()
            except IndexError:
                return
            try:
                self._work_on(item)
            except BaseException as error:  # noqa: BLE001 - whatever it is, the main thread raises it
                self._results.put(error)
                return
            self._results.put(None)

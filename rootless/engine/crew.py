"""A few threads that copy layers from or to a registry."""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

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
        threads = [
            threading.Thread(target=self._work, args=(todo,), name=f"layer-{i}", daemon=True)
            for i in range(min(_AT_ONCE, len(items)))
        ]
        for thread in threads:
            thread.start()
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

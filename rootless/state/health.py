"""A container's health check: what ``create`` decided (in container.json), and how it goes (health.json)."""

from __future__ import annotations

import os

from rootless.errors import StorageError
from rootless.kernel import fastjson, files
from rootless.state.record import Record, is_object

STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import ClassVar

    from rootless.state.container import Container


class Healthcheck(Record):
    """What is checked and how often. ``test`` begins with CMD or CMD-SHELL; an interval of 0 is no timer."""

    FIELDS: ClassVar[Mapping[str, object]] = {
        "test": [],
        "interval_ms": 30_000,
        "timeout_ms": 30_000,
        "retries": 3,
        "start_period_ms": 0,
        "on_failure": "none",
        "log_count": 5,
        "log_size": 500,  # characters of one check's output; 0 = all of it
        "startup_test": [],  # [] = none
        "startup_interval_ms": 30_000,
        "startup_timeout_ms": 30_000,
        "startup_retries": 0,  # failures after which the container is started anew; 0 = never
        "startup_success": 1,
    }
    __slots__ = tuple(FIELDS)

    if TYPE_CHECKING:
        test: list[str]
        interval_ms: int
        timeout_ms: int
        retries: int
        start_period_ms: int
        on_failure: str
        log_count: int
        log_size: int
        startup_test: list[str]
        startup_interval_ms: int
        startup_timeout_ms: int
        startup_retries: int
        startup_success: int

    def first_interval_ms(self) -> int:
        """The interval that counts from the start on."""
        return self.startup_interval_ms if self.startup_test else self.interval_ms


class Health(Record):
    """How it goes since the last start. ``log``: [{"start_ns", "end_ns", "code", "output"}, …], the newest last."""

    FIELDS: ClassVar[Mapping[str, object]] = {
        "status": STARTING,
        "failing_streak": 0,
        "log": [],
        "startup_done": False,
        "startup_streak": 0,  # startup checks of the same outcome in a row
    }
    ITEMS: ClassVar[Mapping[str, Callable[[object], bool]]] = {"log": is_object}
    __slots__ = tuple(FIELDS)

    if TYPE_CHECKING:
        status: str
        failing_streak: int
        log: list[dict[str, object]]
        startup_done: bool
        startup_streak: int


def check_of(container: Container) -> Healthcheck | None:
    """The container's health check, None without one. Raises StorageError."""
    if not container.record.health:
        return None
    return Healthcheck.from_json(container.record.health, f"{container.directory}/container.json")


def read(container: Container) -> Health:
    """How it goes; "starting" where nothing is known."""
    path = _path(container)
    try:
        return Health.from_json(files.read_json(path), path)
    except (OSError, fastjson.JSONError, StorageError):
        return Health()


def write(container: Container, health: Health) -> None:
    """Keep how it goes. Raises OSError."""
    files.write_json(_path(container), health.to_json(), sync=False)


def forget(container: Container) -> None:
    """Begin anew, at a start."""
    try:
        os.unlink(_path(container))
    except FileNotFoundError:
        pass


def _path(container: Container) -> str:
    return f"{container.directory}/health.json"


def status_of(container: Container) -> str:
    """starting, healthy, unhealthy, or "" without a health check."""
    return read(container).status if container.record.health else ""

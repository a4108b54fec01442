"""What is measured: each case is timed on both engines, prepared the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers import Engine

    Step = Callable[[Engine, str], object]  # what is done on an engine, with the name of the image there

AT_ONCE = 16


def _command(*args: str) -> Step:
    """One command; IMAGE stands for the image."""
    return lambda engine, image: engine.run(*(image if arg == "IMAGE" else arg for arg in args))


def _in_parallel(count: int, at_once: int, *args: str) -> Step:
    """The same command many times, several at a time."""

    def step(engine: Engine, image: str) -> None:
        argv = [image if arg == "IMAGE" else arg for arg in args]
        engine.run_many([argv] * count, at_once)

    return step


def _start_many(engine: Engine, image: str) -> None:
    for number in range(20):
        engine.output("run", "-d", "--network", "none", "--name", f"many{number}", image, "sleep", "3600")


def _remove_many(engine: Engine, _: str) -> None:
    engine.output("rm", "-f", "-t", "0", *(f"many{number}" for number in range(20)))


@dataclass(frozen=True)
class Case:
    """A measurement.

    ``timed`` is what counts, ``before`` and ``after`` surround each turn. Meanwhile ``containers`` run as
    bench0, bench1 …, ``stored`` ones are created, and ``images`` are there. ``target`` is the greatest ratio that
    is wanted, ``most_runs`` bounds what takes long, and ``warm_up`` turns before do not count.
    """

    name: str
    target: float
    timed: Step
    before: Step | None = None
    after: Step | None = None
    driver: str = "overlay"
    containers: int = 0
    stored: int = 0
    images: int = 0
    most_runs: int = 1000
    warm_up: int = 3


_RUN = ("run", "--rm", "--network", "none", "IMAGE", "true")

CASES = (
    Case("run --rm --network none", 0.28, _command(*_RUN)),
    Case("run --rm", 0.28, _command("run", "--rm", "IMAGE", "true")),
    Case("run --rm on fuse-overlayfs", 0.35, _command(*_RUN), driver="fuse-overlayfs"),
    Case("48 run --rm, 16 at a time", 0.35, _in_parallel(48, AT_ONCE, *_RUN), most_runs=5),
    Case("exec", 0.4, _command("exec", "bench0", "true"), containers=1),
    Case("ps, 5 running", 0.7, _command("ps"), containers=5),
    Case(
        "stop -t 0, 20 containers",
        0.5,
        _command("stop", "-t", "0", *(f"many{number}" for number in range(20))),
        before=_start_many,
        after=_remove_many,
        most_runs=3,
    ),
    Case("ps -a, 500 containers", 0.3, _command("ps", "-a"), stored=500, most_runs=11),
    Case("images, 200 images", 0.3, _command("images"), images=200, most_runs=11),
)

"""``ps -a`` and ``images`` with 10 to 2000 records, rpod beside Podman, as an SVG plot with its numbers.

    tests/testbed --user NAME --path VENV/bin bench/scale docs/scale.svg

Medians of interleaved measurements. Making two thousand containers with Podman takes minutes;
--peer-most bounds its share.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import compare  # noqa: E402
import many  # noqa: E402
import plot  # noqa: E402
from support import busybox  # noqa: E402
from support.registry import PlainRegistry  # noqa: E402

from rootless.kernel import userns  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers import Engine

COUNTS = (10, 100, 500, 2000)


def median_ms(engine: Engine, runs: int, *args: str) -> float:
    """How long a command takes; the first run does not count."""
    times = []
    for turn in range(runs + 1):
        started = time.perf_counter()
        engine.run(*args)
        if turn:
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def grow(
    engines: list[Engine], most: int, runs: int, add: Callable[[Engine, int, int], None], *verb: str
) -> plot.Panel:
    """Measure ``verb`` while ``add(engine, first, count)`` brings each engine from one count to the next."""
    panel = plot.Panel(" ".join(verb), "ms", "records")
    have = 0
    for count in COUNTS:
        for engine in engines:
            if engine.name == "rpod" or count <= most:
                add(engine, have, count - have)
                taken = median_ms(engine, runs, *verb)
                panel.add(engine.name, count, taken)
                print(f"{panel.title}, {count}: {engine.name} {taken:.1f} ms", flush=True)
        have = count
    return panel


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("svg", type=Path, help="where the plot is written")
    parser.add_argument("--runs", type=int, default=7, help="measurements per point (default 7)")
    parser.add_argument("--peer-most", type=int, default=500, metavar="N", help="Podman's records (default 500)")
    options = parser.parse_args()
    if os.geteuid() == 0:
        parser.error("rootless engines are measured as an ordinary user: tests/testbed --user NAME bench/scale FILE")
    folder = Path(tempfile.mkdtemp(prefix="rpod-scale-", dir=Path.home()))
    runtime = Path(tempfile.mkdtemp(prefix="s", dir=os.environ.get("XDG_RUNTIME_DIR")))
    panels: list[plot.Panel] = []
    try:
        with PlainRegistry(folder / "registry") as registry:
            image = registry.push(busybox.write_layout(folder / "image"), "busybox:latest")
            with compare.engines(folder / "stores", runtime / "e", "overlay", image) as pair:

                def load(engine: Engine, first: int, count: int) -> None:
                    many.load(engine, folder, first, count)

                def create(engine: Engine, first: int, count: int) -> None:
                    many.create(engine, image, first, count)

                panels.append(grow(list(pair), options.peer_most, options.runs, load, "images"))
                panels.append(grow(list(pair), options.peer_most, options.runs, create, "ps", "-a"))
    finally:
        userns.remove_tree_inside(str(folder))
        userns.remove_tree_inside(str(runtime))
    options.svg.write_text(plot.document(panels, compare.machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

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
from support import busybox  # noqa: E402
from support.registry import PlainRegistry  # noqa: E402

from rootless.kernel import userns  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers import Engine

    Curve = list[tuple[int, float]]  # records, milliseconds
    Panel = dict[str, Curve]  # by engine

COUNTS = (10, 100, 500, 2000)
COLOURS = {"rpod": "#1f6feb", "podman": "#8b949e"}
WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 320, 62, 52, 46


def median_ms(engine: Engine, runs: int, *args: str) -> float:
    """How long a command takes; the first run does not count."""
    times = []
    for turn in range(runs + 1):
        started = time.perf_counter()
        engine.run(*args)
        if turn:
            times.append((time.perf_counter() - started) * 1000)
    return statistics.median(times)


def grow(engines: list[Engine], most: int, runs: int, add: Callable[[Engine, int, int], None], *verb: str) -> Panel:
    """Measure ``verb`` while ``add(engine, first, count)`` brings each engine from one count to the next."""
    panel: Panel = {engine.name: [] for engine in engines}
    have = 0
    for count in COUNTS:
        for engine in engines:
            if engine.name == "rpod" or count <= most:
                add(engine, have, count - have)
                panel[engine.name].append((count, median_ms(engine, runs, *verb)))
                print(f"{' '.join(verb)}, {count}: {engine.name} {panel[engine.name][-1][1]:.1f} ms", flush=True)
        have = count
    return panel


def plot(panels: dict[str, Panel], about: dict[str, str]) -> str:
    """The SVG document: a panel for each command, lines with their numbers."""
    size = f'width="{WIDTH * len(panels)}" height="{HEIGHT + 24}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for index, (title, panel) in enumerate(panels.items()):
        parts += [f'<g transform="translate({index * WIDTH},0)">', *_panel(title, panel), "</g>"]
    words = f"{about['date']}, {about['cpu']}, Linux {about['kernel']}, {about['podman']}; medians"
    parts += [f'<text x="{LEFT}" y="{HEIGHT + 14}" fill="#57606a" font-size="11">{words}</text>', "</svg>", ""]
    return "\n".join(parts)


def _panel(title: str, panel: Panel) -> list[str]:
    most = max(value for curve in panel.values() for _, value in curve)
    right, floor = WIDTH - 40, HEIGHT - BOTTOM

    def place(count: int, value: float) -> tuple[float, float]:
        return LEFT + (right - LEFT) * count / COUNTS[-1], floor - (floor - TOP) * value / most

    parts = [
        f'<text x="{LEFT}" y="24" font-size="15" font-weight="bold">{title}</text>',
        f'<path d="M{LEFT} {TOP}V{floor}H{right}" fill="none" stroke="#57606a"/>',
        f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end">{most:.0f} ms</text>',
        f'<text x="{LEFT - 6}" y="{floor + 4}" text-anchor="end">0</text>',
        f'<text x="{right}" y="{floor + 34}" text-anchor="end">records</text>',
    ]
    for count in COUNTS:
        x, _ = place(count, 0)
        parts.append(f'<text x="{x:.1f}" y="{floor + 18}" text-anchor="middle">{count if count != 10 else ""}</text>')
    for name, curve in panel.items():
        places = [(*place(count, value), value) for count, value in curve]
        colour = COLOURS[name]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y, value in places:
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
            parts.append(f'<text x="{x + 4:.1f}" y="{y - 7:.1f}" fill="{colour}" font-size="11">{value:.0f}</text>')
        x, y, _ = places[-1]
        parts.append(f'<text x="{x - 4:.1f}" y="{y - 22:.1f}" fill="{colour}" text-anchor="end">{name}</text>')
    return parts


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
    panels: dict[str, Panel] = {}
    try:
        with PlainRegistry(folder / "registry") as registry:
            image = registry.push(busybox.write_layout(folder / "image"), "busybox:latest")
            with compare.engines(folder / "stores", runtime / "e", "overlay", image) as pair:

                def load(engine: Engine, first: int, count: int) -> None:
                    many.load(engine, folder, first, count)

                def create(engine: Engine, first: int, count: int) -> None:
                    many.create(engine, image, first, count)

                panels["images"] = grow(list(pair), options.peer_most, options.runs, load, "images")
                panels["ps -a"] = grow(list(pair), options.peer_most, options.runs, create, "ps", "-a")
    finally:
        userns.remove_tree_inside(str(folder))
        userns.remove_tree_inside(str(runtime))
    options.svg.write_text(plot(panels, compare.machine()))
    return 0


if __name__ == "__main__":
    sys.exit(main())

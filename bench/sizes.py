"""``pull push save load commit`` of images of 50 to 800 MB, rpod beside Podman: time and memory, as SVG plots.

    tests/testbed --user NAME --path VENV/bin bench/sizes docs/sizes.svg

Medians of interleaved measurements for the time, one more turn for the memory: the proportional set sizes of all
processes, summed up, at their highest. --peer-most bounds Podman's share.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import os
import statistics
import sys
import tarfile
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import compare  # noqa: E402
import plot  # noqa: E402
import transfers  # noqa: E402
from support import busybox, debian, layout  # noqa: E402
from support.registry import PlainRegistry  # noqa: E402

from rootless.kernel import userns  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from cases import Case
    from peers import Engine

SIZES_MB = (50, 100, 200, 400, 800)
MB = 1_000_000
TREE = "/tree"
_LAYERS = 4


def layers(total_bytes: int) -> Iterator[bytes]:
    """Debian's files in four layers of the same size, over and over until there are ``total_bytes`` of them."""
    most = total_bytes // _LAYERS
    with contextlib.closing(_files()) as files:
        for _ in range(_LAYERS):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tree:
                while buffer.tell() < most:
                    tree.addfile(*next(files))
            yield buffer.getvalue()


def _files() -> Iterator[tuple[tarfile.TarInfo, io.BufferedReader]]:
    """Debian's regular files, without an end: a further copy of them in a directory of its own."""
    for number in itertools.count():
        with tarfile.open(debian.tarball()) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    member.name = f"{TREE[1:]}/{number}/{member.name.removeprefix('./')}"
                    member.pax_headers = {}  # a long name that stands there would win
                    yield member, content  # type: ignore[misc] # typeshed has IO[bytes]


def write_image(folder: Path, size_bytes: int) -> str:
    """Write busybox with so much more and return its name for skopeo.

    In a function of its own: what this process holds would count for each command, between fork and exec.
    """
    return layout.write(folder, [busybox.layer(), *layers(size_bytes)], {"Env": ["PATH=/bin"], "Cmd": ["sh"]})


def measure(case: Case, engines: Sequence[Engine], image: str, runs: int) -> dict[str, tuple[float, float]]:
    """Seconds and MiB of each engine."""
    times = compare.measure(engines, case, image, runs)
    found = {}
    for engine in engines:
        if case.before:
            case.before(engine, image)
        _, peak_kib = transfers.metered(partial(case.timed, engine, image))
        if case.after:
            case.after(engine, image)
        found[engine.name] = (statistics.median(times[engine.name]) / 1000, peak_kib / 1024)
    return found


def grow(folder: Path, runtime: Path, runs: int, peer_most: int) -> list[plot.Panel]:
    """Two panels for each verb: time and memory."""
    panels: dict[str, tuple[plot.Panel, plot.Panel]] = {}
    for size in SIZES_MB:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(PlainRegistry(folder / f"source{size}"))
            image = source.push(write_image(folder / f"image{size}", size * MB), f"sized:{size}")
            pair = stack.enter_context(compare.engines(folder / f"s{size}", runtime / f"s{size}", "overlay", image))
            measured = [engine for engine in pair if engine.name == "rpod" or size <= peer_most]
            for case in transfers.cases(folder / f"targets{size}", stack, TREE):
                verb = case.name.partition(",")[0]
                if verb not in panels:
                    panels[verb] = (plot.Panel(verb, "s", "MB"), plot.Panel(f"{verb}: memory", "MiB", "MB"))
                for name, values in measure(case, measured, image, runs).items():
                    print(f"{verb}, {size} MB: {name} {values[0]:.2f} s, {values[1]:.0f} MiB", flush=True)
                    for panel, value in zip(panels[verb], values, strict=True):
                        panel.add(name, size, value)
        userns.remove_tree_inside(str(folder / f"image{size}"))
    return [panel for both in panels.values() for panel in both]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("svg", type=Path, help="where the plots are written")
    parser.add_argument("--runs", type=int, default=3, help="measurements per point (default 3)")
    parser.add_argument("--peer-most", type=int, default=400, metavar="MB", help="Podman's images (default 400)")
    options = parser.parse_args()
    if os.geteuid() == 0:
        parser.error("rootless engines are measured as an ordinary user: tests/testbed --user NAME bench/sizes FILE")
    folder = Path(tempfile.mkdtemp(prefix="rpod-sizes-", dir=Path.home()))
    runtime = Path(tempfile.mkdtemp(prefix="z", dir=os.environ.get("XDG_RUNTIME_DIR")))
    try:
        panels = grow(folder, runtime, options.runs, options.peer_most)
    finally:
        userns.remove_tree_inside(str(folder))
        userns.remove_tree_inside(str(runtime))
    options.svg.write_text(plot.document(panels, compare.machine(), height=240))
    return 0


if __name__ == "__main__":
    sys.exit(main())

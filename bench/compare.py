"""rpod beside Podman, in one run: medians of interleaved measurements, as a table and as JSON.

Start it as an ordinary user with a cgroup of his own (crun wants one):

    tests/testbed --user NAME --path VENV/bin bench/run

Needs podman, crun, slirp4netns, fuse-overlayfs, skopeo, docker-registry and busybox-static. Both
engines work in stores of their own under a temporary directory.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

import many  # noqa: E402
import peers  # noqa: E402
import transfers  # noqa: E402
from cases import CASES, Case  # noqa: E402
from support import busybox, oci  # noqa: E402
from support.registry import PlainRegistry  # noqa: E402
from support.shell import program  # noqa: E402

from rootless.kernel import userns  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Pair = tuple[peers.Engine, peers.Engine]

NEEDED = ("podman", "crun", "slirp4netns", "fuse-overlayfs", "skopeo", "docker-registry", busybox.BUSYBOX)
BUNDLE = "rpod-runtime run, crun"


@contextlib.contextmanager
def engines(folder: Path, runtime: Path, driver: str, image: str) -> Iterator[Pair]:
    """Both engines on one driver with the image pulled; everything of theirs is removed afterwards."""
    pair = (
        peers.rpod(folder / "rpod", runtime / "r", driver),
        peers.podman(folder / "podman", runtime / "p", driver),
    )
    try:
        for engine in pair:
            engine.pull(image)
        yield pair
    finally:
        for engine in pair:
            with contextlib.suppress(subprocess.SubprocessError):
                engine.reset()
        userns.remove_tree_inside(str(folder))
        userns.remove_tree_inside(str(runtime))


@contextlib.contextmanager
def surroundings(pair: Pair, case: Case, image: str, folder: Path) -> Iterator[None]:
    """What a case wants to be there on both engines: running and stored containers, images."""
    running = [f"bench{number}" for number in range(case.containers)]
    stored = [f"stored{number}" for number in range(case.stored)]
    try:
        for engine in pair:
            for name in running:
                engine.output("run", "-d", "--network", "none", "--name", name, image, "sleep", "3600")
            for name in stored:
                engine.output("create", "--network", "none", "--name", name, image, "true")
            if case.images:
                many.load(engine, folder, 0, case.images)
        yield
    finally:
        for engine in pair:
            if names := running + stored:
                engine.output("rm", "-f", "-t", "0", *names)
            if case.images:
                engine.output("rmi", "-f", *(f"localhost/many:{number}" for number in range(case.images)))


def measure(pair: Sequence[peers.Engine], case: Case, image: str, runs: int) -> dict[str, list[float]]:
    """Times in milliseconds; the engines take turns, and in who goes first, too."""
    times: dict[str, list[float]] = {engine.name: [] for engine in pair}
    runs = min(runs, case.most_runs)
    for turn in range(-min(case.warm_up, runs), runs):
        for engine in pair if turn % 2 else pair[::-1]:
            if case.before:
                case.before(engine, image)
            started = time.perf_counter()
            case.timed(engine, image)
            taken = (time.perf_counter() - started) * 1000
            if case.after:
                case.after(engine, image)
            if turn >= 0:
                times[engine.name].append(taken)
    return times


def pss_kib(pid: int) -> int:
    """Proportional set size of a process (/proc/PID/smaps_rollup, proc(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    raise ValueError(f"no Pss of {pid}")


def row(name: str, unit: str, values: dict[str, list[float]], target: float) -> dict[str, object]:
    medians = {engine: statistics.median(numbers) for engine, numbers in values.items()}
    return {
        "name": name,
        "unit": unit,
        "rpod": round(medians["rpod"], 1),
        "podman": round(medians["podman"], 1),
        "rpod_min": round(min(values["rpod"]), 1),
        "podman_min": round(min(values["podman"]), 1),
        "ratio": round(medians["rpod"] / medians["podman"], 3),
        "target": target,
    }


def wanted(name: str, only: list[str]) -> bool:
    """Whether a case was asked for: ``only`` are words of names, none means all."""
    return not only or any(word in name for word in only)


def bench(folder: Path, runtime: Path, runs: int, only: list[str]) -> Iterator[dict[str, object]]:
    """The rows of the table, one by one."""
    with PlainRegistry(folder / "registry") as registry:
        image = registry.push(busybox.write_layout(folder / "image"), "busybox:latest")
        cases = [case for case in CASES if wanted(case.name, only)]
        for driver in dict.fromkeys(case.driver for case in cases):
            with engines(folder / driver, runtime / driver[0], driver, image) as pair:
                for case in cases:
                    if case.driver == driver:
                        with surroundings(pair, case, image, folder):
                            yield row(case.name, "ms", measure(pair, case, image, runs), case.target)
                            if case.name == "exec":
                                yield memory(pair)
    yield from transfer_rows(folder, runtime, runs, only)
    if wanted(BUNDLE, only):
        yield bundle_row(folder, runtime, runs)


def transfer_rows(folder: Path, runtime: Path, runs: int, only: list[str]) -> Iterator[dict[str, object]]:
    """Transfers of a larger image."""
    with contextlib.ExitStack() as stack:
        chosen = [case for case in transfers.cases(folder / "targets", stack) if wanted(case.name, only)]
        priced = wanted(transfers.CPU, only) or wanted(transfers.MEMORY, only)
        if not chosen and not priced:
            return
        source = stack.enter_context(PlainRegistry(folder / "source"))
        image = transfers.write_image(folder / "large", source)
        pair = stack.enter_context(engines(folder / "transfers", runtime / "t", "overlay", image))
        for case in chosen:
            yield row(case.name, "ms", measure(pair, case, image, runs), case.target)
        if priced:
            for cost in transfers.costs(folder / "metered", stack, pair, image, runs):
                yield row(cost.name, cost.unit, cost.values, cost.target)


def bundle_row(folder: Path, runtime: Path, runs: int) -> dict[str, object]:
    """rpod-runtime beside crun, on the same bundle: the column of podman is crun's here."""
    bundle = oci.write(folder / "bundle", oci.document(oci.unpack(folder / "bundle" / "rootfs")))
    pair = peers.runtimes(folder, runtime)
    case = Case(BUNDLE, 3.0, lambda engine, _: engine.run("run", "--bundle", str(bundle), "bench"))
    return row(case.name, "ms", measure(pair, case, "", runs), case.target)


def memory(pair: Pair) -> dict[str, object]:
    sizes = {engine.name: [float(pss_kib(engine.monitor_pid("bench0")))] for engine in pair}
    result = row("monitor's memory", "KiB PSS", sizes, 600)
    result["ratio"] = round(sizes["rpod"][0] / sizes["podman"][0], 3)
    return result


def machine() -> dict[str, str]:
    """What the numbers were measured on and with."""

    def first_line(*argv: str) -> str:
        return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()[0]

    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "date": dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cpu": f"{len(os.sched_getaffinity(0))} x {models[0].partition(': ')[2] if models else platform.machine()}",
        "kernel": platform.release(),
        "python": platform.python_version(),
        "podman": first_line("podman", "--version"),
        "crun": first_line("crun", "--version"),
    }


def met(result: dict[str, object]) -> bool:
    value = result["ratio"] if result["unit"] == "ms" else result["rpod"]
    return float(str(value)) <= float(str(result["target"]))


def print_row(result: dict[str, object]) -> None:
    limit = f"{result['target']}" if result["unit"] == "ms" else f"{result['target']} KiB"
    print(
        f"| {result['name']:<27} | {result['rpod']:>7} | {result['podman']:>7} | {result['unit']:<7} "
        f"| {result['ratio']:>5} | {limit:>7} | {'yes' if met(result) else 'NO':<3} |",
        flush=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=21, help="measurements per engine and case (default 21)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="cases whose name has WORD")
    options = parser.parse_args()
    if os.geteuid() == 0:
        parser.error("rootless engines are measured as an ordinary user: tests/testbed --user NAME bench/run")
    if missing := [name for name in NEEDED if shutil.which(name) is None]:
        parser.error(f"missing: {', '.join(missing)}")
    if len(program()) > 1:
        parser.error(f"rpod is not installed beside {sys.executable}; contrib/check makes such an environment")
    folder = Path(tempfile.mkdtemp(prefix="rpod-bench-", dir=Path.home()))
    runtime = Path(tempfile.mkdtemp(prefix="b", dir=os.environ.get("XDG_RUNTIME_DIR")))
    about = machine()
    print("\n".join(f"{key}: {value}" for key, value in about.items()) + f"\nruns: {options.runs}, medians\n")
    print(f"| {'':<27} | {'rpod':>7} | {'podman':>7} | {'unit':<7} | ratio | at most | met |")
    print(f"|{'-' * 29}|{'-' * 8}:|{'-' * 8}:|{'-' * 9}|{'-' * 6}:|{'-' * 8}:|{'-' * 5}|")
    results = []
    try:
        for result in bench(folder, runtime, options.runs, options.only):
            results.append(result)
            print_row(result)
    except subprocess.CalledProcessError as error:
        print(f"bench: {' '.join(error.cmd)} ended with {error.returncode}: {error.stderr or ''}", file=sys.stderr)
        return 1
    finally:
        userns.remove_tree_inside(str(folder))
        userns.remove_tree_inside(str(runtime))
        if options.json:
            options.json.write_text(json.dumps({**about, "runs": options.runs, "results": results}, indent=1) + "\n")
    return 0 if all(map(met, results)) else 1


if __name__ == "__main__":
    sys.exit(main())

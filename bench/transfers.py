"""A real Debian beside Podman: pull and push over loopback, save, load and commit; times, and what a pull costs."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import peers
from cases import Case
from support import debian, leaks
from support.registry import PlainRegistry

from rootless.kernel import cgroup2, userns

if TYPE_CHECKING:
    from peers import Engine

PULL, PUSH, SAVE, LOAD, COMMIT = (f"{verb}, Debian" for verb in ("pull", "push", "save", "load", "commit"))
CPU, MEMORY = f"{PULL}: CPU", f"{PULL}: memory"
MOST_KIB = 150 * 1024
_CPU_TARGET = 0.5
_MOST_RUNS = 5
_LOOK_S = 0.02


def write_image(folder: Path, registry: PlainRegistry) -> str:
    """Put the image into a registry; its full name."""
    return registry.push(debian.write_layout(folder / "debian"), "debian:latest")


@dataclass(frozen=True)
class Cost:
    """What pulls of each engine took, and the target: of the ratio, or, of memory, for rpod."""

    name: str
    unit: str
    values: dict[str, list[float]]
    target: float


def metered(engine: Engine, image: str) -> tuple[float, float]:
    """Pull, and return the CPU time in milliseconds and the most memory in KiB that was seen.

    Children of children count, also where their parent never waits for them: a cgroup of its own has them all.
    """
    group = Path(leaks.own_cgroup()) / f"pull-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    peak = 0.0
    enter = ["sh", "-c", 'echo 0 > "$0" && exec "$@"', str(group / "cgroup.procs")]
    argv = [*enter, *engine.argv, *engine.pulling, image]
    null = subprocess.DEVNULL
    process = subprocess.Popen(argv, env=engine.env, stdin=null, stdout=null, stderr=null)
    while process.poll() is None:
        peak = max(peak, _pss_kib(group))
        time.sleep(_LOOK_S)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args)
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    while (group / "cgroup.procs").read_text():  # Podman leaves a process that keeps its namespace
        for pid in (group / "cgroup.procs").read_text().split():
            Path(cgroup2.own_path(), "cgroup.procs").write_text(pid)
    group.rmdir()
    return int(fields["usage_usec"]) / 1000, peak


def _pss_kib(group: Path) -> float:
    """The proportional set sizes of all processes of a cgroup; of what ended meanwhile nothing."""
    total = 0.0
    for pid in (group / "cgroup.procs").read_text().split():
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            continue
        total += sum(float(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
    return total


class _Stores:
    """An engine with an empty store for each pull.

    A first pull is what users wait for; and what was just removed slows ext4 down for seconds, which has to look
    at the inodes that were freed before it makes new ones.
    """

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._stack = stack
        self._numbers = itertools.count()
        self._engine: Engine | None = None

    def renew(self, engine: Engine, _: str) -> None:
        """Make the next one; its store goes when the bench ends."""
        folder = self._folder / f"store{next(self._numbers)}"
        runtime = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR"))))
        self._stack.callback(userns.remove_tree_inside, str(folder))
        self._engine = peers.MAKERS[engine.name](folder, runtime / "r", "overlay")

    @property
    def engine(self) -> Engine:
        """With the store that was made last."""
        assert self._engine is not None
        return self._engine

    def pull(self, _: Engine, image: str) -> None:
        """Pull into it."""
        self.engine.pull(image)

    def load(self, _: Engine, archive: Path) -> None:
        """Load into it."""
        self.engine.run("load", "-q", "-i", str(archive))


class _Empty:
    """A registry without anything, another one for each turn."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._running = stack.enter_context(contextlib.ExitStack())
        self.address = ""

    def renew(self) -> None:
        """Start one, and end the one before."""
        self._running.close()
        server = self._running.enter_context(PlainRegistry(self._folder / f"empty{next(self._numbers)}"))
        self.address = server.address


def cases(folder: Path, stack: contextlib.ExitStack) -> list[Case]:
    """What is measured; ``stack`` ends the registries."""
    empty, stores = _Empty(folder, stack), _Stores(folder, stack)

    def push(engine: Engine, image: str) -> None:
        engine.run("push", "--quiet", "--tls-verify=false", image, f"{empty.address}/debian:latest")

    folder.mkdir(parents=True)
    archive = folder / "debian.tar"

    def save(engine: Engine, image: str) -> None:
        archive.unlink(missing_ok=True)
        engine.run("save", "-q", "-o", str(archive), image)

    def change(engine: Engine, image: str) -> None:
        engine.output("run", "--name", "changed", "--network", "none", image, "cp", "-a", "/usr/share/doc", "/srv/")

    def forget(engine: Engine, _: str) -> None:
        engine.output("rm", "changed")
        engine.output("rmi", "localhost/made")

    def renew_and_save(engine: Engine, image: str) -> None:
        if not archive.exists():
            save(engine, image)
        stores.renew(engine, image)

    return [
        Case(PULL, 0.35, stores.pull, before=stores.renew, most_runs=_MOST_RUNS),
        Case(PUSH, 1.0, push, before=lambda *_: empty.renew(), most_runs=_MOST_RUNS),
        Case(SAVE, 1.0, save, most_runs=_MOST_RUNS),
        Case(LOAD, 1.0, lambda engine, _: stores.load(engine, archive), before=renew_and_save, most_runs=_MOST_RUNS),
        Case(
            COMMIT,
            1.0,
            lambda engine, _: engine.run("commit", "-q", "changed", "localhost/made"),
            before=change,
            after=forget,
            most_runs=_MOST_RUNS,
        ),
    ]


def costs(folder: Path, stack: contextlib.ExitStack, pair: tuple[Engine, Engine], image: str, runs: int) -> list[Cost]:
    """CPU time and peak memory of pulls: of all processes of each, which a cgroup of its own counts."""
    stores = _Stores(folder, stack)
    cpu: dict[str, list[float]] = {engine.name: [] for engine in pair}
    memory: dict[str, list[float]] = {engine.name: [] for engine in pair}
    for turn in range(min(runs, _MOST_RUNS)):
        for engine in pair if turn % 2 else pair[::-1]:
            stores.renew(engine, image)
            spent_ms, peak_kib = metered(stores.engine, image)
            cpu[engine.name].append(spent_ms)
            memory[engine.name].append(peak_kib)
    return [Cost(CPU, "ms", cpu, _CPU_TARGET), Cost(MEMORY, "KiB PSS", memory, MOST_KIB)]

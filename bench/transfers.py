"""A real Debian beside Podman: pull and push over loopback, save, load and commit; times, and what a pull costs."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
import time
import traceback
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import peers
from cases import Case
from support import debian, leaks
from support.registry import PlainRegistry

from rootless.kernel import cgroup2, userns

if TYPE_CHECKING:
    from collections.abc import Callable

    from peers import Engine

PULL, PUSH, SAVE, LOAD, COMMIT = (f"{verb}, Debian" for verb in ("pull", "push", "save", "load", "commit"))
CPU, MEMORY = f"{PULL}: CPU", f"{PULL}: memory"
MOST_KIB = 150 * 1024
_CPU_TARGET = 0.5
_MOST_RUNS, _WARM_UP = 5, 1
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


def metered(work: Callable[[], object]) -> tuple[float, float]:
    """Do ``work``, and return the CPU time in milliseconds and the most memory in KiB that was seen.

    Children of children count, also where their parent never waits for them: a cgroup of its own has them all.
    The process in it that only starts the others does not.
    """
    group = Path(leaks.own_cgroup()) / f"metered-{os.getpid()}-{time.monotonic_ns()}"
    group.mkdir()
    starter = os.fork()
    if starter == 0:
        _enter_and_do(group, work)
    peak, status = 0.0, None
    while status is None:
        peak = max(peak, _pss_kib(group, starter))
        time.sleep(_LOOK_S)
        pid, found = os.waitpid(starter, os.WNOHANG)
        status = found if pid else None
    if status:
        raise subprocess.CalledProcessError(os.waitstatus_to_exitcode(status), ["what is metered"])
    fields = dict(line.split() for line in (group / "cpu.stat").read_text().splitlines())
    while (group / "cgroup.procs").read_text():  # Podman leaves a process that keeps its namespace
        for left in (group / "cgroup.procs").read_text().split():
            Path(cgroup2.own_path(), "cgroup.procs").write_text(left)
    group.rmdir()
    return int(fields["usage_usec"]) / 1000, peak


def _enter_and_do(group: Path, work: Callable[[], object]) -> NoReturn:
    """The life of the process that starts what is metered."""
    try:
        (group / "cgroup.procs").write_text("0")
        work()
    except BaseException:  # noqa: BLE001 - it must not return into its parent's code
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _pss_kib(group: Path, starter: int) -> float:
    """The proportional set sizes of a cgroup's processes but ``starter``; of what ended meanwhile nothing."""
    total = 0.0
    for pid in set((group / "cgroup.procs").read_text().split()) - {str(starter)}:
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

    def pull(self, _: Engine, image: str) -> None:
        """Pull into it."""
        assert self._engine is not None
        self._engine.pull(image)

    def load(self, _: Engine, archive: Path) -> None:
        """Load into it."""
        assert self._engine is not None
        self._engine.run("load", "-q", "-i", str(archive))


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


def cases(folder: Path, stack: contextlib.ExitStack, changed: str = "/usr/share/doc") -> list[Case]:
    """What is measured; ``stack`` ends the registries. What ``commit`` finds new is a copy of ``changed``."""
    empty, stores = _Empty(folder, stack), _Stores(folder, stack)

    def push(engine: Engine, image: str) -> None:
        engine.run("push", "--quiet", "--tls-verify=false", image, f"{empty.address}/debian:latest")

    folder.mkdir(parents=True)
    archive = folder / "debian.tar"

    def save(engine: Engine, image: str) -> None:
        archive.unlink(missing_ok=True)
        engine.run("save", "-q", "-o", str(archive), image)

    def change(engine: Engine, image: str) -> None:
        engine.output("run", "--name", "changed", "--network", "none", image, "cp", "-a", changed, "/copy")

    def forget(engine: Engine, _: str) -> None:
        engine.output("rm", "changed")
        engine.output("rmi", "localhost/made")

    def renew_and_save(engine: Engine, image: str) -> None:
        if not archive.exists():
            save(engine, image)
        stores.renew(engine, image)

    def load(engine: Engine, _: str) -> None:
        stores.load(engine, archive)

    def commit(engine: Engine, _: str) -> None:
        engine.run("commit", "-q", "changed", "localhost/made")

    case = partial(Case, most_runs=_MOST_RUNS, warm_up=_WARM_UP)
    return [
        case(PULL, 0.35, stores.pull, before=stores.renew),
        case(PUSH, 1.0, push, before=lambda *_: empty.renew()),
        case(SAVE, 1.0, save),
        case(LOAD, 1.0, load, before=renew_and_save),
        case(COMMIT, 1.0, commit, before=change, after=forget),
    ]


def costs(folder: Path, stack: contextlib.ExitStack, pair: tuple[Engine, Engine], image: str, runs: int) -> list[Cost]:
    """CPU time and peak memory of pulls: of all processes of each, which a cgroup of its own counts."""
    stores = _Stores(folder, stack)
    cpu: dict[str, list[float]] = {engine.name: [] for engine in pair}
    memory: dict[str, list[float]] = {engine.name: [] for engine in pair}
    for turn in range(min(runs, _MOST_RUNS)):
        for engine in pair if turn % 2 else pair[::-1]:
            stores.renew(engine, image)
            spent_ms, peak_kib = metered(partial(stores.pull, engine, image))
            cpu[engine.name].append(spent_ms)
            memory[engine.name].append(peak_kib)
    return [Cost(CPU, "ms", cpu, _CPU_TARGET), Cost(MEMORY, "KiB PSS", memory, MOST_KIB)]

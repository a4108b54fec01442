"""One container: its record, its directories, and what it is doing.

It runs exactly while somebody holds ``alive.lock`` in its runtime directory: first the command
that creates it, then its launcher, then its monitor.
"""

from __future__ import annotations

import os
import time

from rootless import log, paths
from rootless.errors import NewerError, NotFoundError, StateError, StorageError, os_reason
from rootless.kernel import fastjson, files, process
from rootless.state.record import SCHEMA, ContainerRecord, ExitRecord, RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    from rootless.state.record import Record

    R = TypeVar("R", bound=Record)

# The statuses in which the program lives.
RUNNING = ("running", "stopping", "paused")


class Container:
    """One container: its record, its directories and its current state."""

    __slots__ = ("_record", "directory", "id", "run_directory")

    def __init__(self, ident: str, data_dir: str, run_dir: str, record: ContainerRecord | None = None) -> None:
        self.id = ident
        self.directory = f"{data_dir}/containers/{ident}"
        self.run_directory = f"{run_dir}/containers/{ident}"
        self._record = record

    @property
    def record(self) -> ContainerRecord:
        """The record, read once. Raises NotFoundError if it is gone, StorageError if damaged."""
        if self._record is None:
            self._record = self._read_record()
        return self._record

    def _read_record(self) -> ContainerRecord:
        path = f"{self.directory}/container.json"
        try:
            value = files.read_json(path)
            if isinstance(value, dict) and value.get("schema") not in (None, SCHEMA):
                raise NewerError(f"container {self.id[:12]}")
            return ContainerRecord.from_json(value, path)
        except FileNotFoundError:
            raise NotFoundError(f"no such container: {self.id[:12]}") from None
        except NewerError:
            raise
        except (OSError, fastjson.JSONError, StorageError) as error:
            raise StorageError(
                f"the record of container {self.id[:12]} is damaged: {error}", f"rpod rm -f {self.id[:12]}"
            ) from error

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def log_path(self) -> str:
        """Its log file."""
        return self.record.log_path or f"{self.directory}/ctr.log"

    @property
    def attach_path(self) -> str:
        """The monitor's socket."""
        return f"{self.run_directory}/attach"

    @property
    def alive_path(self) -> str:
        """The lock that is held as long as it runs."""
        return f"{self.run_directory}/alive.lock"

    def record_inode(self) -> int:
        """Another number as soon as somebody has changed the record; 0 when it is gone."""
        try:
            return os.stat(f"{self.directory}/container.json").st_ino
        except FileNotFoundError:
            return 0

    def save(self, *, sync: bool) -> None:
        """Write the record."""
        try:
            files.write_json(f"{self.directory}/container.json", self.record.to_json(), sync=sync)
        except OSError as error:
            raise StorageError(
                f"the record of {self.name} cannot be written: {os_reason(error)}", "rpod system df"
            ) from error

    def exists(self) -> bool:
        """Whether it is there: its record, which is the first thing to go when it is removed."""
        return os.path.exists(f"{self.directory}/container.json")

    def is_alive(self) -> bool:
        """Whether its monitor (or launcher) lives."""
        return files.Lock.is_held(self.alive_path) or self.lost_lock()

    def lost_lock(self) -> bool:
        """Whether it runs although nobody can ask its lock: a logout deleted the runtime directory under it."""
        if os.path.exists(self.alive_path):
            return False
        run = self.run_record()
        if run is None or not run.monitor_ticks or run.monitor_pid == os.getpid():
            return False  # a monitor that has become `rpod cleanup` is no monitor any more
        return run.boot_id == paths.boot_id() and process.start_ticks(run.monitor_pid) == run.monitor_ticks

    def run_record(self) -> RunRecord | None:
        """What the last start left, None before the first."""
        return self._optional("state.json", RunRecord)

    def save_run(self, record: RunRecord) -> None:
        """Write what this start is. It need not outlive a power cut: after that it runs no more."""
        files.write_json(f"{self.directory}/state.json", record.to_json(), sync=False)

    def put_back(self, run: RunRecord | None, end: ExitRecord | None) -> None:
        """After a start that did not come about: what was true before it."""
        if run is None:
            files.remove_tree(f"{self.directory}/state.json")
            return
        if end is not None:
            self.save_exit(end)
        try:
            self.save_run(run)
        except OSError as error:
            log.debug(f"the last run of {self.name} cannot be recorded: {os_reason(error)}")

    def forget_exit(self) -> None:
        """The last end is over: it runs again."""
        files.remove_tree(f"{self.directory}/exit.json")

    def exit_record(self) -> ExitRecord | None:
        """What the last end left, None while it runs and before the first end."""
        return self._optional("exit.json", ExitRecord)

    def last_exit(self) -> ExitRecord | None:
        """The last end, also where the disk was full and only the lock's file has the code (the monitor's note)."""
        record = self.exit_record()
        if record is not None:
            return record
        try:
            digits = files.read_file(self.alive_path, 64).decode("ascii").strip()
            noted_ns = os.stat(self.alive_path).st_mtime_ns
        except (OSError, UnicodeDecodeError):
            return None
        if not digits.isdecimal():
            return None
        code = int(digits)
        return ExitRecord(code=code, signal=code - 128 if code > 128 else 0, finished_ns=noted_ns)

    def save_exit(self, record: ExitRecord) -> None:
        """Record an end that no monitor could record. On a full disk that waits: it is found out anew each time."""
        try:
            files.write_json(f"{self.directory}/exit.json", record.to_json(), sync=False)
        except OSError as error:
            log.debug(f"the end of {self.name} cannot be recorded: {os_reason(error)}")

    def _optional(self, name: str, kind: type[R]) -> R | None:
        """A small record; None where it is missing, or torn by a power cut: it is only true until then."""
        path = f"{self.directory}/{name}"
        try:
            return kind.from_json(files.read_json(path), path)
        except (FileNotFoundError, fastjson.JSONError, StorageError):
            return None
        except OSError as error:
            raise StorageError(f"container {self.id[:12]}: {os_reason(error)}") from error

    def take_alive(self) -> files.Lock | None:
        """The lock that says that it is being started; None if it runs. NotFoundError if it was just removed."""
        if self.lost_lock():
            return None
        return self._locked(self.alive_path, wait=False)

    def _locked(self, path: str, *, wait: bool) -> files.Lock | None:
        try:
            lock = files.Lock.acquire(path, wait=wait)
        except FileNotFoundError:  # mkdir(2) first would wait for whoever makes another container's directory
            os.makedirs(self.run_directory, mode=0o700, exist_ok=True)
            lock = files.Lock.acquire(path, wait=wait)
        if lock is not None and not self.exists():
            # Somebody removed it just now: what was made here again must not stay.
            files.remove_tree(self.run_directory)
            lock.release()
            raise NotFoundError(f"no such container: {self.id[:12]}", "rpod ps -a")
        return lock

    def lock(self) -> files.Lock:
        """The short lock of one verb on this container."""
        lock = self._locked(f"{self.run_directory}/lock", wait=True)
        assert lock is not None
        return lock

    def release_lock(self) -> files.Lock:
        """Held while what a run left is freed, by its cleanup, the next start or a removal.

        Raises NotFoundError if the container is gone.
        """
        lock = self._locked(f"{self.run_directory}/release.lock", wait=True)
        assert lock is not None
        return lock

    @property
    def gate_path(self) -> str:
        """The socket where a program that is set up waits to be started."""
        return f"{self.run_directory}/gate"

    @property
    def stop_path(self) -> str:
        """The lock that is held as long as somebody stops it."""
        return f"{self.run_directory}/stop.lock"

    def state(self) -> State:
        """What it is doing now."""
        return State.of(self)

    def init_pidfd(self) -> int:
        """A pidfd of the program's init, which cannot mean another process. StateError if it does not run."""
        run = self.run_record()
        if run is None or run.boot_id != paths.boot_id():
            raise not_running(self)
        fd = process.open_pidfd(run.pid, run.start_ticks)
        if fd < 0:
            raise not_running(self)
        return fd


def not_running(container: Container) -> StateError:
    """The error of a verb that needs a running container."""
    status = container.state().status
    return StateError(
        f"container {container.name} is not running (it is {status})", how_it_runs(container.name, status)
    )


def how_it_runs(name: str, status: str) -> str:
    """The hint that makes a container run that does not."""
    return f"rpod wait --condition running {name}" if status == "restarting" else f"rpod start {name}"


def paused(container: Container) -> StateError:
    """The error of a verb that needs a container that moves."""
    return StateError(f"container {container.name} is paused", f"rpod unpause {container.name}")


class State:
    """A moment of a container's life: ``status`` as Podman names it, and the records behind it."""

    __slots__ = ("exit", "run", "status")

    def __init__(self, status: str, run: RunRecord | None, exit_: ExitRecord | None) -> None:
        self.status = status
        self.run = run
        self.exit = exit_

    @classmethod
    def of(cls, container: Container) -> State:
        """Look: created, initialized, running, stopping, paused, restarting, exited."""
        alive = container.is_alive()
        run, end = container.run_record(), container.exit_record()
        if alive:
            if run is None or run.pid == 0:
                if run and run.restarts:  # its policy is just starting it again
                    return cls("restarting", run, end)
                return cls("initialized" if end is None else "exited", run, end)
            if not run.started_ns:
                return cls("initialized", run, None)
            if run.restart_at_ns:
                return cls("restarting", run, end)
            if run.stopped_by_user and files.Lock.is_held(container.stop_path):
                return cls("stopping", run, None)
            return cls("paused" if cls._frozen(run) else "running", run, None)
        if end is None:
            if run is None or run.pid == 0:
                return cls("created", run, None)
            end = container.last_exit() or cls._lost(run)
        return cls("exited", run, end)

    @staticmethod
    def _frozen(run: RunRecord) -> bool:
        if not run.cgroup:
            return False
        try:
            return b"frozen 1" in files.read_file(f"{run.cgroup}/cgroup.events")
        except OSError:
            return False

    @staticmethod
    def _lost(run: RunRecord) -> ExitRecord:
        """An end that nobody saw: the monitor was killed (its death kills the program), or the power went."""
        code = 137 if run.boot_id == paths.boot_id() else 255
        finished_ns = time.time_ns() if code == 137 else run.started_ns  # now it is seen; after a reboot nobody knows
        return ExitRecord(code=code, signal=9 if code == 137 else 0, finished_ns=finished_ns)

    @property
    def waits(self) -> bool:
        """Whether everything is set up and the program waits to be started (``init``)."""
        return self.status == "initialized" and self.run is not None and self.run.pid != 0

    @property
    def running(self) -> bool:
        """Whether the program lives, also frozen."""
        return self.status in RUNNING

    @property
    def exit_code(self) -> int:
        """The last exit code, 0 before the first end."""
        return self.exit.code if self.exit else 0

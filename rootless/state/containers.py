"""Containers on the disk: records, names, locks, and the truth about what runs.

A container is a directory ``containers/ID`` under the data directory; its name is a
symbolic link in ``names/``, which the kernel keeps unique. It runs exactly while somebody
holds ``alive.lock`` in its runtime directory: first the command that creates it, then its
launcher, then its monitor.
"""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.errors import ConflictError, NotFoundError, StateError, StorageError, UsageError, os_reason
from rootless.kernel import fastjson, files, process
from rootless.state.record import SCHEMA, ContainerRecord, ExitRecord, Record, RunRecord

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_HEX = frozenset("0123456789abcdef")


def check_name(name: str) -> str:
    """``name`` if it may name a container: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 200 characters."""
    if not name or len(name) > 200 or not name[0].isalnum() or not _NAME_CHARACTERS.issuperset(name):
        raise UsageError(
            f"{name[:80]!r} cannot be a container's name",
            "letters, digits, '_', '.' and '-', the first one a letter or digit",
        )
    return name


def new_id() -> str:
    """A container id: 64 random hexadecimal digits."""
    return os.urandom(32).hex()


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
            record = ContainerRecord.from_json(files.read_json(path), path)
        except FileNotFoundError:
            raise NotFoundError(f"no such container: {self.id[:12]}") from None
        except (OSError, fastjson.JSONError, StorageError) as error:
            raise StorageError(
                f"the record of container {self.id[:12]} is damaged: {error}", f"rpod rm -f {self.id[:12]}"
            ) from error
        assert isinstance(record, ContainerRecord)
        if record.schema > SCHEMA:
            raise StorageError(f"container {self.id[:12]} was made by a newer rpod", "update rpod")
        return record

    @property
    def name(self) -> str:
        """Its name."""
        return self.record.name

    @property
    def log_path(self) -> str:
        """Its log."""
        return f"{self.directory}/ctr.log"

    @property
    def attach_path(self) -> str:
        """The monitor's socket."""
        return f"{self.run_directory}/attach"

    @property
    def alive_path(self) -> str:
        """The lock that is held as long as it runs."""
        return f"{self.run_directory}/alive.lock"

    def save(self, *, sync: bool) -> None:
        """Write the record."""
        try:
            files.write_json(f"{self.directory}/container.json", self.record.to_json(), sync=sync)
        except OSError as error:
            raise StorageError(
                f"the record of {self.name} cannot be written: {os_reason(error)}", "rpod system df"
            ) from error

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
        record = self._optional("state.json", RunRecord)
        assert record is None or isinstance(record, RunRecord)
        return record

    def save_run(self, record: RunRecord) -> None:
        """Write what this start is. It need not outlive a power cut: after that it runs no more."""
        files.write_json(f"{self.directory}/state.json", record.to_json(), sync=False)

    def forget_run(self) -> None:
        """Forget a start that did not come about."""
        files.remove_tree(f"{self.directory}/state.json")

    def exit_record(self) -> ExitRecord | None:
        """What the last end left, None while it runs and before the first end."""
        record = self._optional("exit.json", ExitRecord)
        assert record is None or isinstance(record, ExitRecord)
        return record

    def save_exit(self, record: ExitRecord) -> None:
        """Record an end that no monitor could record. On a full disk that waits: it is found out anew each time."""
        try:
            files.write_json(f"{self.directory}/exit.json", record.to_json(), sync=False)
        except OSError as error:
            log.debug(f"the end of {self.name} cannot be recorded: {os_reason(error)}")

    def _optional(self, name: str, kind: type[Record]) -> Record | None:
        """A small record; None where it is missing, or torn by a power cut: it is only true until then."""
        path = f"{self.directory}/{name}"
        try:
            return kind.from_json(files.read_json(path), path)
        except (FileNotFoundError, fastjson.JSONError, StorageError):
            return None
        except OSError as error:
            raise StorageError(f"container {self.id[:12]}: {os_reason(error)}") from error

    def lock(self) -> files.Lock:
        """The short lock of one verb on this container."""
        os.makedirs(self.run_directory, mode=0o700, exist_ok=True)
        lock = files.Lock.acquire(f"{self.run_directory}/lock")
        assert lock is not None
        return lock

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
    return StateError(f"container {container.name} is not running (it is {status})", f"rpod start {container.name}")


class State:
    """A moment of a container's life: ``status`` as Podman names it, and the records behind it."""

    __slots__ = ("exit", "run", "status")

    def __init__(self, status: str, run: RunRecord | None, exit_: ExitRecord | None) -> None:
        self.status = status
        self.run = run
        self.exit = exit_

    @classmethod
    def of(cls, container: Container) -> State:
        """Look: created, initialized, running, paused, exited."""
        alive = container.is_alive()
        run, end = container.run_record(), container.exit_record()
        if alive:
            if run is None or run.pid == 0:
                return cls("initialized" if end is None else "exited", run, end)
            return cls("paused" if cls._frozen(run) else "running", run, None)
        if run is None or (run.pid == 0 and end is None):
            return cls("created", run, None)
        return cls("exited", run, end or cls._lost(run))

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
        return ExitRecord(code=code, signal=9 if code == 137 else 0, finished_ns=run.started_ns)

    @property
    def running(self) -> bool:
        """Whether the program lives, also frozen."""
        return self.status in ("running", "paused")

    @property
    def exit_code(self) -> int:
        """The last exit code, 0 before the first end."""
        return self.exit.code if self.exit else 0


class Containers:
    """All containers of this user."""

    __slots__ = ("data_dir", "run_dir")

    def __init__(self) -> None:
        self.data_dir = paths.data()
        self.run_dir = paths.runtime()

    def _container(self, ident: str, record: ContainerRecord | None = None) -> Container:
        return Container(ident, self.data_dir, self.run_dir, record)

    def ids(self) -> list[str]:
        """The ids of all complete containers, in no order."""
        return self._idents(f"{self.data_dir}/containers")

    @staticmethod
    def _idents(directory: str) -> list[str]:
        try:
            entries = os.listdir(directory)
        except FileNotFoundError:
            return []
        return [entry for entry in entries if len(entry) == 64 and _HEX.issuperset(entry)]

    def all(self) -> Iterator[Container]:
        """Every container whose record can be read; damaged ones are said and left out."""
        for ident in self.ids():
            container = self._container(ident)
            try:
                _ = container.record
            except NotFoundError:
                continue  # being made, or just removed
            except StorageError as error:
                log.warn(f"{error.message} ({error.hint})")
                continue
            yield container

    def resolve(self, name: str) -> Container:
        """The container of a name, an id or the unique beginning of an id.

        Raises NotFoundError, or ConflictError when a short id means several.
        """
        if name and _NAME_CHARACTERS.issuperset(name) and name not in (".", ".."):
            try:
                target = os.readlink(f"{self.data_dir}/names/{name}")
            except OSError:
                pass
            else:
                container = self._container(os.path.basename(target))
                if os.path.exists(f"{container.directory}/container.json"):
                    return container
        if name and _HEX.issuperset(name):
            found = [ident for ident in self.ids() if ident.startswith(name)]
            if len(found) > 1:
                raise ConflictError(f"{name} is the beginning of {len(found)} container ids", "give more digits")
            if found and os.path.exists(f"{self.data_dir}/containers/{found[0]}/container.json"):
                return self._container(found[0])
        raise NotFoundError(f"no such container: {name}", "rpod ps -a")

    def latest(self) -> Container:
        """The container that was created last."""
        newest = max(self.all(), key=lambda c: c.record.created_ns, default=None)
        if newest is None:
            raise NotFoundError("there is no container", "rpod run -it IMAGE")
        return newest

    def name_of(self, ident: str) -> str:
        """The name for an id that another record holds, or the id itself when it is gone."""
        try:
            return self._container(ident).name
        except (NotFoundError, StorageError):
            return ident

    def reserve(self, record: ContainerRecord) -> NewContainer:
        """Take the name (one is made up if it is empty) and the lock of a container to be made."""
        return NewContainer(self, record)

    def claim(self, name: str, ident: str) -> bool:
        """Make ``names/NAME`` mean ``ident``; False if the name is taken by a living container."""
        path = f"{self.data_dir}/names/{name}"
        for _ in range(3):
            try:
                os.symlink(f"../containers/{ident}", path)
                return True
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            except FileExistsError:
                if not self._stale_name(path):
                    return False
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
        return False

    def _stale_name(self, path: str) -> bool:
        """Whether a name points to nothing that exists or is being made right now."""
        try:
            owner = self._container(os.path.basename(os.readlink(path)))
        except OSError:
            return True
        return not os.path.exists(f"{owner.directory}/container.json") and not owner.is_alive()

    def drop_stale_names(self) -> None:
        """Remove the names that a crash left without a container."""
        try:
            names = os.listdir(f"{self.data_dir}/names")
        except FileNotFoundError:
            return
        for name in names:
            path = f"{self.data_dir}/names/{name}"
            if self._stale_name(path):
                files.remove_tree(path)

    def taken_by(self, name: str) -> Container | None:
        """The container that has ``name``."""
        try:
            return self.resolve(name) if name and os.path.islink(f"{self.data_dir}/names/{name}") else None
        except NotFoundError:
            return None

    def rename(self, container: Container, name: str) -> None:
        """Give a container another name. ConflictError if that is taken."""
        check_name(name)
        old = container.name
        if not self.claim(name, container.id):
            raise name_taken(name, self.taken_by(name))
        container.record.name = name
        container.save(sync=True)
        os.unlink(f"{self.data_dir}/names/{old}")

    def forget(self, container: Container) -> None:
        """Remove the record, then the names: what is left of the directory is only garbage to sweep."""
        try:
            names = [container.name]
        except (StorageError, NotFoundError):
            names = self._names_of(container.id)
        try:
            os.unlink(f"{container.directory}/container.json")
        except FileNotFoundError:
            pass
        for name in names:
            path = f"{self.data_dir}/names/{name}"
            try:
                if os.path.basename(os.readlink(path)) == container.id:
                    os.unlink(path)
            except OSError:
                continue

    def _names_of(self, ident: str) -> list[str]:
        """The names that point to ``ident``, for a container whose record does not tell."""
        folder = f"{self.data_dir}/names"
        return [name for name in os.listdir(folder) if os.path.basename(os.readlink(f"{folder}/{name}")) == ident]

    def unfinished(self) -> list[Container]:
        """Directories without a record whose maker is dead: left by a crash, to be swept."""
        found = []
        for ident in {*self.ids(), *self._idents(f"{self.run_dir}/containers")}:
            container = self._container(ident)
            if not os.path.exists(f"{container.directory}/container.json") and not container.is_alive():
                found.append(container)
        return found


def name_taken(name: str, owner: Container | None) -> ConflictError:
    """The error for a name in use."""
    who = f" by container {owner.id[:12]}" if owner else ""
    return ConflictError(
        f"the container name {name!r} is already in use{who}",
        f"choose another name, or: rpod rm {name} (or run with --replace)",
    )


class NewContainer:
    """A container in the making: its name and its alive lock are held. ``discard`` undoes both."""

    __slots__ = ("_store", "container", "lock")

    def __init__(self, store: Containers, record: ContainerRecord) -> None:
        self._store = store
        self.container = Container(record.id, store.data_dir, store.run_dir, record)
        if record.name:
            check_name(record.name)
        try:
            self.lock = self._take_lock()
            self._take_name(record)
            os.makedirs(self.container.directory, mode=0o700)
        except OSError as error:
            self.discard()
            raise StorageError(f"a container cannot be made: {os_reason(error)}", "rpod system df") from error

    def _take_lock(self) -> files.Lock:
        """The alive lock; made again if somebody swept the directory between our mkdir and our lock."""
        while True:
            os.makedirs(self.container.run_directory, mode=0o700, exist_ok=True)
            try:
                lock = files.Lock.acquire(self.container.alive_path)
            except FileNotFoundError:
                continue
            assert lock is not None
            if os.path.exists(self.container.alive_path):
                return lock
            lock.release()

    def _take_name(self, record: ContainerRecord) -> None:
        if record.name:
            if not self._store.claim(record.name, record.id):
                name, record.name = record.name, ""
                self.discard()
                raise name_taken(name, self._store.taken_by(name))
            return
        from rootless.state import names

        for attempt in range(100):
            record.name = names.random_name(attempt)
            if self._store.claim(record.name, record.id):
                return
        record.name = ""
        self.discard()
        raise ConflictError("no free random name was found", "give one with --name")

    def discard(self) -> None:
        """Undo: nothing of the container is left."""
        if self.container.record.name:
            self._store.forget(self.container)
        files.remove_tree(self.container.directory)
        files.remove_tree(self.container.run_directory)
        self.lock.release()

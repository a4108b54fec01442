"""All containers of a user: how they are made, found, named and forgotten.

A container is a directory ``containers/ID`` under the data directory; its name is a symbolic
link in ``names/``, which the kernel keeps unique.
"""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.errors import ConflictError, NotFoundError, StorageError, UsageError, os_reason
from rootless.kernel import files
from rootless.state.container import Container

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.spec import Spec
    from rootless.state.record import ContainerRecord

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


class Containers:
    """All containers of this user."""

    __slots__ = ("data_dir", "run_dir")

    def __init__(self) -> None:
        self.data_dir = paths.data()
        self.run_dir = paths.runtime()

    def _container(self, ident: str, record: ContainerRecord | None = None) -> Container:
        return Container(ident, self.data_dir, self.run_dir, record)

    def by_id(self, ident: str) -> Container:
        """The container of a full id, which may be gone."""
        return self._container(ident)

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
        """Give a container another name; its own is none. ConflictError if another has it."""
        check_name(name)
        old = container.name
        if name == old:
            return
        if not self.claim(name, container.id):
            raise name_taken(name, self.taken_by(name))
        container.record.name = name
        container.save(sync=True)
        os.unlink(f"{self.data_dir}/names/{old}")

    def forget(self, container: Container) -> None:
        """Remove the record, then the names: what is left of the directory is only garbage to sweep."""
        record = None
        try:
            record, names = container.record, [container.name]
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
        if record is not None and (record.join or record.requires):
            from rootless.state import dependents

            dependents.forget(record, self)

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
    """A container in the making: its name and its alive lock are held. ``discard`` undoes both.

    ``spec`` is its config.json, once there is one.
    """

    __slots__ = ("_store", "container", "lock", "spec")

    def __init__(self, store: Containers, record: ContainerRecord) -> None:
        self._store = store
        self.container = Container(record.id, store.data_dir, store.run_dir, record)
        self.spec: Spec | None = None
        self.lock = files.Lock("", -1)  # none yet
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

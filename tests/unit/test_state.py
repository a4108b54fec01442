"""Records, names and locks of containers on a real file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rootless import paths
from rootless.errors import ConflictError, NotFoundError, StorageError, UsageError
from rootless.state.containers import Containers, check_name, new_id
from rootless.state.record import ContainerRecord, ExitRecord, RunRecord


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Containers:
    (tmp_path / "run").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return Containers()


def make(store: Containers, name: str = "") -> str:
    new = store.reserve(ContainerRecord(id=new_id(), name=name))
    new.container.save(sync=True)
    new.lock.release()
    return new.container.id


def test_a_container_is_found_by_name_id_and_beginning(store: Containers) -> None:
    ident = make(store, "web")
    for name in ("web", ident, ident[:5]):
        assert store.resolve(name).id == ident
    for name in ("we", "nope", "", ".", "..", "../web", ident[:-1] + "x"):
        with pytest.raises(NotFoundError):
            store.resolve(name)


def test_a_beginning_of_several_ids_is_a_conflict(store: Containers) -> None:
    ids = [make(store) for _ in range(20)]
    first = next(i[0] for i in ids if sum(other[0] == i[0] for other in ids) > 1)
    with pytest.raises(ConflictError, match="beginning of"):
        store.resolve(first)


def test_a_name_is_taken_once(store: Containers) -> None:
    make(store, "web")
    with pytest.raises(ConflictError, match="already in use"):
        make(store, "web")
    assert len(store.ids()) == 1


def test_a_name_that_a_dead_command_left_is_free(store: Containers) -> None:
    pid = os.fork()
    if pid == 0:
        store.reserve(ContainerRecord(id=new_id(), name="web"))
        os._exit(0)
    os.waitpid(pid, 0)
    assert len(store.unfinished()) == 1
    ident = make(store, "web")
    assert store.resolve("web").id == ident


def test_a_name_that_is_being_taken_is_not_free(store: Containers) -> None:
    new = store.reserve(ContainerRecord(id=new_id(), name="web"))
    with pytest.raises(ConflictError):
        make(store, "web")
    new.discard()
    make(store, "web")


def test_renaming(store: Containers) -> None:
    ident = make(store, "one")
    make(store, "two")
    with pytest.raises(ConflictError):
        store.rename(store.resolve("one"), "two")
    store.rename(store.resolve("one"), "three")
    assert store.resolve("three").id == ident
    with pytest.raises(NotFoundError):
        store.resolve("one")


@pytest.mark.parametrize("name", ["", "-x", ".x", "a/b", "../x", "a b", "a\n", "é", "x" * 201])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(UsageError):
        check_name(name)


def test_names_are_made_up(store: Containers) -> None:
    names = {store.resolve(make(store)).name for _ in range(10)}
    assert len(names) == 10
    assert all("_" in name for name in names)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\0" * 100,
        b'{"id": 5}',
        b'{"layers": [5]}',
        b'{"labels": {"a": 5}}',
        b'{"uid_map": [[0, 1000]]}',
        b'{"ports": ["80"]}',
        b'{"mounts": [5]}',
        b'{"mounts": [{"source": 5}]}',
    ],
)
def test_a_damaged_record_is_said_and_can_be_forgotten(store: Containers, content: bytes) -> None:
    ident = make(store, "web")
    container = store.resolve("web")
    Path(container.directory, "container.json").write_bytes(content)
    damaged = store.resolve("web")
    with pytest.raises(StorageError, match="damaged") as caught:
        _ = damaged.record
    assert caught.value.hint == f"rpod rm -f {ident[:12]}"
    assert list(store.all()) == []
    store.forget(damaged)
    with pytest.raises(NotFoundError):
        store.resolve("web")


def test_a_record_of_a_newer_rpod_is_refused(store: Containers) -> None:
    ident = make(store)
    container = store.resolve(ident)
    container.record.schema = 99
    container.save(sync=False)
    with pytest.raises(StorageError, match="newer version of rpod"):
        _ = store.resolve(ident).record


def test_the_states_of_a_life(store: Containers) -> None:
    container = store.resolve(make(store))
    assert container.state().status == "created"
    container.save_run(RunRecord(boot_id="an earlier one", pid=1, started_ns=5))
    lost = container.state()
    assert (lost.status, lost.exit_code) == ("exited", 255)
    container.save_exit(ExitRecord(code=3, finished_ns=9))
    assert (container.state().status, container.state().exit_code) == ("exited", 3)
    lock = container.lock()
    lock.release()


def test_a_start_by_policy_that_has_no_process_yet_is_no_end(store: Containers) -> None:
    container = store.resolve(make(store))
    container.save_exit(ExitRecord(code=3, finished_ns=9))
    alive = container.take_alive()
    assert alive
    container.save_run(RunRecord(boot_id=paths.boot_id(), restarts=2))
    assert (container.state().status, container.state().exit_code) == ("restarting", 3)
    container.forget_exit()
    assert container.state().status == "restarting"
    alive.release()


def test_a_torn_state_is_as_none(store: Containers) -> None:
    container = store.resolve(make(store))
    Path(container.directory, "state.json").write_bytes(b'{"boot_')
    assert container.run_record() is None
    assert container.state().status == "created"

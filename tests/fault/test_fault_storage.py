"""Killed processes and full disks while layers and volumes are made: nothing half is ever seen."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.archives import digest, member, tar
from support.shell import wait_for

from rootless.errors import StorageError
from rootless.kernel import userns
from rootless.storage.layers import LayerStore, Unpacker
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYER = tar(*(member(f"d{i % 7}/f{i}", os.urandom(3000)) for i in range(300)))
PULL = """
import sys
from support.archives import GZIP, digest
from rootless.storage.layers import LayerStore, Unpacker
data = open(sys.argv[2], "rb").read()
with Unpacker(LayerStore(sys.argv[1])) as unpacker:
    sink = unpacker.begin(sys.argv[3], sys.argv[3], "", GZIP, "")
    try:
        sink.write(data[: len(data) // 2])
        print("half", flush=True)
        sys.stdin.read(1)
        sink.write(data[len(data) // 2 :])
        sink.finish()
    except BaseException as error:
        sink.abort()
        print(error, flush=True)
        raise
"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    yield LayerStore(str(tmp_path / "data"))
    userns.remove_tree_inside(str(tmp_path / "data"))


def puller(tmp_path: Path) -> subprocess.Popen[bytes]:
    """A process that stops in the middle of the layer, and goes on when its stdin ends."""
    (tmp_path / "layer").write_bytes(gzip.compress(LAYER))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path[1:]])}
    argv = [sys.executable, "-c", PULL, str(tmp_path / "data"), str(tmp_path / "layer"), digest(LAYER)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    wait_for(lambda: len(children(process.pid)) == 2, what="the parked process and the worker")
    return process


def children(pid: int) -> list[int]:
    try:
        found = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []
    return found + [grandchild for child in found for grandchild in children(child)]


def gone(pids: list[int]) -> bool:
    return not any(Path(f"/proc/{pid}/stat").exists() and b") Z" not in _stat(pid) for pid in pids)


def _stat(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return b") Z"


def test_the_puller_is_killed(tmp_path: Path, store: LayerStore) -> None:
    process = puller(tmp_path)
    family = children(process.pid)
    process.kill()
    process.communicate()
    wait_for(lambda: gone(family), what="the end of the worker")
    assert store.all() == []
    Staging(store.data_dir).sweep()
    assert os.listdir(f"{store.data_dir}/staging") == []


def test_the_worker_is_killed(tmp_path: Path, store: LayerStore) -> None:
    process = puller(tmp_path)
    os.kill(children(process.pid)[-1], signal.SIGKILL)
    out, _ = process.communicate(b"x")
    assert b"killed" in out or b"stopped" in out
    assert store.all() == []
    assert os.listdir(f"{store.data_dir}/staging") == []


def test_the_parked_process_is_killed(tmp_path: Path, store: LayerStore) -> None:
    """The layer under way is finished by its worker; the next one cannot begin."""
    process = puller(tmp_path)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    process.communicate(b"x")
    assert process.returncode == 0
    assert store.has(digest(LAYER))
    with Unpacker(store) as unpacker:
        os.kill(unpacker._parked, signal.SIGKILL)
        time.sleep(0.1)
        with pytest.raises(StorageError, match="cannot start unpacking"):
            unpacker.begin("sha256:" + 64 * "a", "", "", "", "")
    assert os.listdir(f"{store.data_dir}/staging") == []


def test_a_sweep_leaves_a_living_worker_alone(tmp_path: Path, store: LayerStore) -> None:
    process = puller(tmp_path)
    Staging(store.data_dir).sweep()
    process.communicate(b"x")
    assert process.returncode == 0
    assert store.has(digest(LAYER))


def test_two_processes_make_one_layer(tmp_path: Path, store: LayerStore) -> None:
    """Both succeed, one of them wins."""
    processes = [puller(tmp_path) for _ in range(2)]
    for process in processes:
        process.communicate(b"x")
    assert [process.returncode for process in processes] == [0, 0]
    assert [info.chain_id for info in store.all()] == [digest(LAYER)]
    assert os.listdir(f"{store.data_dir}/staging") == []


FULL = """
import os
from support.archives import unpack
from rootless.errors import StorageError
from rootless.storage.layers import LayerStore
from rootless.storage.volumes import VolumeStore
import sys
store, volumes = LayerStore(sys.argv[1]), VolumeStore(sys.argv[1])
volumes.create("old")
layer = open(sys.argv[2], "rb").read()
try:
    unpack(store, layer)
except StorageError as error:
    print(error.message)
print(store.all(), os.listdir(sys.argv[1] + "/staging"))
file = os.open(sys.argv[1] + "/fill", os.O_CREAT | os.O_WRONLY)
try:
    while True:
        os.write(file, bytes(4096))
except OSError:
    pass
try:
    volumes.create("new")
except StorageError as error:
    print(error.message)
volumes.remove("old")
print([volume.name for volume in volumes.all()], os.listdir(sys.argv[1] + "/staging"))
"""


def test_a_full_disk(tmp_path: Path) -> None:
    """A file system of 400 KiB: errors that say so, nothing left, and removing still works."""
    (tmp_path / "layer").write_bytes(LAYER)
    (tmp_path / "small").mkdir()
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path[1:]])}
    script = 'mount -t tmpfs -o size=400k none "$1" && exec "$2" -c "$4" "$1" "$3"'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path / "small", sys.executable, tmp_path / "layer", FULL],
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done
    assert "no space left on device" in lines[0]
    assert lines[1] == "[] []"
    assert "no space left on device" in lines[2]
    assert lines[3] == "[] []"

"""Volumes, their copy-up, the staging area, and sizes."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.archives import inside

from rootless.errors import ConflictError, NotFoundError, StorageError, UnsupportedError, UsageError
from rootless.kernel import files, userns
from rootless.storage import usage
from rootless.storage.copyup import copy_up
from rootless.storage.staging import Staging
from rootless.storage.volumes import VolumeStore, check_name


def test_a_volumes_life(tmp_path: Path) -> None:
    store = VolumeStore(str(tmp_path))
    made = store.create("data", {"a": "b"})
    assert stat.S_IMODE(os.stat(made.path).st_mode) == 0o755
    found = store.get("data")
    assert found is not None
    assert found.to_json() == made.to_json()
    anonymous = store.create(None, anonymous=True)
    assert len(anonymous.name) == 64
    assert [volume.name for volume in store.all()] == sorted(["data", anonymous.name])
    with pytest.raises(ConflictError, match="a volume named data exists"):
        store.create("data")
    store.remove("data")
    assert store.get("data") is None
    with pytest.raises(NotFoundError):
        store.remove("data")
    assert os.listdir(tmp_path / "staging") == []


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "-rf", "_x", "a/b", "a b", "ä", "n" * 201, "a\n"])
def test_names(tmp_path: Path, name: str) -> None:
    for method in (check_name, VolumeStore(str(tmp_path)).create, VolumeStore(str(tmp_path)).get):
        with pytest.raises(UsageError, match="cannot be a volume's name"):
            method(name)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"colour": "red"}, UsageError, "'colour'"),
        ({"type": "ext4", "device": "/dev/sda"}, UnsupportedError, "'ext4'"),
        ({"o": "size=10G"}, UnsupportedError, "quota"),
        ({"o": "uid=-1"}, UsageError, "uid=-1"),
        ({"o": "mode=9"}, UsageError, "mode=9"),
        ({"o": "loud"}, UsageError, "'loud'"),
        ({"type": "bind", "o": "bind"}, UsageError, "device"),
        ({"type": "none", "device": "/no/such/directory"}, UsageError, "/no/such"),
        ({"device": "/dev/sda"}, UsageError, "type=bind"),
    ],
)
def test_options_that_cannot_be_kept(
    tmp_path: Path, options: dict[str, str], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        VolumeStore(str(tmp_path)).create("x", options=options)
    assert VolumeStore(str(tmp_path)).all() == []


def test_what_a_container_mounts(tmp_path: Path) -> None:
    store = VolumeStore(str(tmp_path))
    assert store.create("plain").source == f"{tmp_path}/volumes/plain/_data"
    bound = store.create("bound", options={"type": "none", "o": "bind,ro", "device": str(tmp_path)})
    assert (bound.source, bound.mount_options) == (str(tmp_path), ["bind", "ro"])
    memory = store.create("memory", options={"type": "tmpfs", "o": "size=1m,uid=5"})
    assert (memory.source, memory.mount_options[-2:]) == ("tmpfs", ["size=1m", "uid=5"])
    assert store.create("mode", options={"o": "mode=0700"}).mount_options == []
    assert os.stat(f"{tmp_path}/volumes/mode/_data").st_mode & 0o777 == 0o700


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name":"other"}', '{"name":"v","labels":{"a":1}}'])
def test_a_damaged_record(tmp_path: Path, text: str) -> None:
    store = VolumeStore(str(tmp_path))
    store.create("v")
    (tmp_path / "volumes" / "v" / "volume.json").write_text(text)
    with pytest.raises(StorageError, match="record of volume v") as caught:
        store.get("v")
    assert caught.value.hint
    store.remove("v")


def test_a_volume_of_other_ids_is_removed(tmp_path: Path) -> None:
    store = VolumeStore(str(tmp_path))
    path = store.create("v").path

    def fill() -> None:
        os.mkdir(f"{path}/d", 0o700)
        os.chown(f"{path}/d", 5, 5)
        os.mkdir(f"{path}/d/e")

    inside(fill)
    store.remove("v")
    assert store.all() == []


# ---- copy-up


def opened(path: Path | str) -> int:
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY)


def test_copy_up_keeps_everything(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"

    def work() -> list[object]:
        (source / "sub").mkdir(parents=True)
        target.mkdir()
        (source / "file").write_bytes(b"x" * 3_000_000)
        os.chown(source / "file", 5, 7)
        (source / "file").chmod(0o6755)
        os.setxattr(source / "file", "user.kept", b"1")
        os.setxattr(source / "file", "user.fuseoverlayfs.origin", b"1")
        os.link(source / "file", source / "sub" / "twin")
        (source / "link").symlink_to("/etc/passwd")
        os.mkfifo(source / "fifo", 0o600)
        (source / "socket").touch()
        (source / "socket").unlink()
        here = os.getcwd()
        os.chdir(source)
        socket.socket(socket.AF_UNIX).bind("socket")
        os.chdir(here)
        source.chmod(0o1777)
        os.utime(source, ns=(0, 42))
        copy_up(opened(source), opened(target))
        info = os.stat(target / "file")
        result = [oct(info.st_mode), info.st_uid, info.st_gid, info.st_size, info.st_nlink]
        result += [os.listxattr(target / "file"), os.readlink(target / "link"), (target / "fifo").is_fifo()]
        result += [sorted(os.listdir(target)), oct(target.stat().st_mode), target.stat().st_mtime_ns]
        return [*result, (target / "sub" / "twin").samefile(target / "file")]

    assert inside(work) == [
        *("0o106755", 5, 7, 3_000_000, 2),
        *(["user.kept"], "/etc/passwd", True),
        *(["fifo", "file", "link", "sub"], "0o41777", 42),
        True,
    ]
    userns.remove_tree_inside(str(tmp_path / "source"))
    userns.remove_tree_inside(str(tmp_path / "target"))


@pytest.mark.parametrize("elsewhere", ["", "/dev/shm"])
def test_copy_up_keeps_holes(tmp_path: Path, elsewhere: str) -> None:
    """On the same file system and to another one."""
    source = tmp_path / "source"
    source.mkdir()
    with (source / "file").open("wb") as file:
        for offset in (5 << 20, 40 << 20):
            file.seek(offset)
            file.write(os.urandom(300_000))
        file.truncate(50 << 20)
    (source / "hole").touch()
    os.truncate(source / "hole", 10 << 20)
    with tempfile.TemporaryDirectory(dir=elsewhere or tmp_path) as target:
        copy_up(opened(source), opened(target))
        for name in ("file", "hole"):
            assert Path(target, name).read_bytes() == (source / name).read_bytes()
            assert Path(target, name).stat().st_blocks * 512 < 1_000_000


def test_copy_up_leaves_a_filled_volume_alone(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "new").touch()
    (target / "old").touch()
    copy_up(opened(source), opened(target))
    assert os.listdir(target) == ["old"]


def test_copy_up_does_not_go_down_for_ever(tmp_path: Path) -> None:
    fd = opened(tmp_path)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    (tmp_path / "target").mkdir()
    with pytest.raises(StorageError, match="nested deeper"):
        copy_up(opened(tmp_path / "d"), opened(tmp_path / "target"))


# ---- staging


def test_staging_is_swept_when_its_maker_is_gone(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path))
    staging.sweep()
    kept = staging.make()
    child = os.fork()
    if child == 0:
        staged = staging.make()
        os.mkdir(f"{staged.path}/work")
        os._exit(0)
    os.waitpid(child, 0)
    (tmp_path / "staging" / "stray").mkdir()
    assert len(os.listdir(tmp_path / "staging")) == 5
    staging.sweep()
    assert sorted(os.listdir(tmp_path / "staging")) == sorted(
        [os.path.basename(kept.path), os.path.basename(kept.path) + ".lock"]
    )
    kept.close()
    kept.close()
    assert os.listdir(tmp_path / "staging") == []


def test_staging_is_held_by_whoever_has_the_lock(tmp_path: Path) -> None:
    staging = Staging(str(tmp_path))
    staged = staging.make()
    held = os.dup(staged.lock_fd)
    staged._lock.release()
    staging.sweep()
    assert os.path.isdir(staged.path)
    os.close(held)
    staging.sweep()
    assert not os.path.exists(staged.path)


# ---- sizes


def du(path: Path) -> int:
    done = subprocess.run(["du", "-s", "--block-size=1", path], capture_output=True, check=True, text=True)
    return int(done.stdout.split()[0])


def test_sizes_agree_with_du(tmp_path: Path) -> None:
    (tmp_path / "d" / "e").mkdir(parents=True)
    (tmp_path / "d" / "file").write_bytes(b"x" * 100_001)
    os.link(tmp_path / "d" / "file", tmp_path / "d" / "e" / "twin")
    (tmp_path / "link").symlink_to("d")
    with open(tmp_path / "hole", "wb") as file:
        file.truncate(1 << 30)
    assert usage.tree_size(str(tmp_path)) == du(tmp_path)
    assert usage.tree_size(str(tmp_path / "d" / "file")) == du(tmp_path / "d" / "file")
    assert usage.tree_size(str(tmp_path / "missing")) == 0


def test_sizes_of_what_the_user_cannot_read(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()

    def fill() -> None:
        (tree / "d").mkdir()
        (tree / "d" / "file").write_bytes(b"x" * 50_000)
        os.chown(tree / "d", 5, 5)
        (tree / "d").chmod(0o700)

    inside(fill)
    with pytest.raises(PermissionError):
        os.listdir(tree / "d")
    size = usage.tree_size(str(tree))
    assert size >= 50_000
    assert size == inside(lambda: du(tree))
    userns.remove_tree_inside(str(tree))
    files.remove_tree(str(tree))

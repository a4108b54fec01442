"""The tar writer: GNU tar and our own reader agree with the tree."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from rootless.errors import StorageError
from rootless.storage.pack import Packer
from rootless.storage.tarstream import TarStream

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def pack(tree: Path, name: str = ".", ids: Callable[[int, int], tuple[int, int]] | None = None) -> bytes:
    parts: list[bytes] = []
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        packer = Packer(parts.append, ids)
        packer.add(fd, b".", os.fsencode(name))
        packer.finish()
    finally:
        os.close(fd)
    return b"".join(parts)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    deep = root / ("d" * 120) / ("e" * 120)
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"content")
    (root / "script").write_bytes(b"x" * 300_001)
    (root / "script").chmod(0o4751)
    os.link(root / "script", root / "twin")
    (root / "link").symlink_to("t" * 150)
    (root / "ümlaut").write_bytes(b"")
    with open(os.fsencode(root) + b"/\xff\xfe\n", "wb"):
        pass
    os.setxattr(root / "script", "user.note", b"a\0b")
    os.utime(root / "ümlaut", ns=(0, -1_500_000_000))
    os.mkfifo(root / "fifo")
    return root


def test_gnu_tar_unpacks_it(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-x", "-p", "--xattrs", "-C", out], input=pack(tree), check=True)
    assert subprocess.run(["diff", "-r", "--no-dereference", tree, out], check=False).returncode in (0, 1)
    for folder, _, files in os.walk(os.fsencode(tree)):
        for name in files:
            path = os.path.join(folder, name)
            there = os.fsencode(out) + path.removeprefix(os.fsencode(tree))
            one, other = os.lstat(path), os.lstat(there)
            assert (one.st_mode, one.st_mtime_ns, one.st_size) == (other.st_mode, other.st_mtime_ns, other.st_size), (
                path
            )
    assert os.path.samefile(out / "script", out / "twin")
    assert os.getxattr(out / "script", "user.note") == b"a\0b"


def test_our_reader_agrees(tree: Path) -> None:
    data = pack(tree, "top")
    chunks = iter([data, b""])
    entries = {entry.name: entry for entry in TarStream(lambda: next(chunks, b""))}
    assert entries[b"top/" + b"d" * 120 + b"/" + b"e" * 120 + b"/file"].size == 7
    assert entries[b"top/\xff\xfe\n"].size == 0
    assert entries[b"top/twin"].link == b"top/script"
    assert entries[b"top/link"].link == b"t" * 150
    assert entries["top/ümlaut".encode()].mtime_ns == -1_500_000_000
    assert entries[b"top/script"].xattrs == {"user.note": b"a\0b"}
    assert entries[b"top/script"].mode == 0o4751


def test_the_same_tree_gives_the_same_bytes(tree: Path) -> None:
    assert pack(tree) == pack(tree)


def test_ids_are_translated(tree: Path) -> None:
    data = pack(tree, ids=lambda uid, gid: (5_000_000, 7))
    chunks = iter([data])
    assert {(entry.uid, entry.gid) for entry in TarStream(lambda: next(chunks, b""))} == {(5_000_000, 7)}


def test_it_does_not_go_down_for_ever(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=fd)
        deeper = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = deeper
    os.close(fd)
    with pytest.raises(StorageError, match="nested deeper"):
        pack(tmp_path)

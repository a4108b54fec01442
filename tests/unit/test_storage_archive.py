"""A stored layer's archive comes back byte for byte, whatever strange things it did."""

from __future__ import annotations

import contextlib
import io
import os
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.archives import digest, directory, hardlink, inside, member, names, symlink, tar, unpack

from rootless.errors import StorageError
from rootless.kernel import userns
from rootless.storage.archive import Archive
from rootless.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    yield LayerStore(str(tmp_path / "data"))
    userns.remove_tree_inside(str(tmp_path / "data"))


def read(store: LayerStore, chain_id: str) -> bytes:
    buffer = io.BytesIO()
    with Archive(store, chain_id) as archive:
        while data := archive.read():
            buffer.write(data)
    return buffer.getvalue()


def old_gnu_sparse() -> bytes:
    """A file with two pieces, in GNU tar's own sparse format."""
    info = tarfile.TarInfo("holes")
    info.type, info.size = b"S", 1024
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    fields = [(386, 4096), (398, 512), (410, 1 << 20), (422, 512), (483, (1 << 20) + 512)]
    for offset, value in fields:
        block[offset : offset + 12] = b"%011o\0" % value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + b"a" * 512 + b"b" * 512


STRANGE = tar(
    directory("./", mode=0o750, mtime=7),
    member("dir/first", b"content of a file that is read later" * 1000, mode=0, uid=1000, gid=5),
    member("dir/empty"),
    member("twice", b"the first of two"),
    hardlink("dir/link", "twice"),
    member("twice", b"the second"),
    directory("gone"),
    member("gone/a", b"in a directory that becomes a file"),
    member("gone/b/c", b"deeper"),
    member("gone", b"the file"),
    directory("usr/lib"),
    symlink("lib", "usr/lib"),
    member("lib/through", b"written through a link"),
    member("lib/deep/er", b"and made through one"),
    member("usr/lib/through", b"replaced under its real name"),
    directory("lib"),
    member("lib/now", b"the link has become a directory"),
    member("dir/.wh.below", b"a whiteout with content"),
    member("n" * 200, b"a name that needs PAX", pax_headers={"mtime": "1.5", "comment": "kept"}),
    member(b"not-utf8-\xff", b"x"),
    member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("setuid", b"x" * 511, mode=0o4755),
)


def far_away() -> bytes:
    """Links lead to a place whose path is longer than PATH_MAX."""
    deep = "/".join(["d"] * 900)
    entries = [directory(deep), symlink("l0", deep)]
    for i in range(2):
        entries += [directory(f"l{i}/{deep}"), symlink(f"l{i + 1}", f"l{i}/{deep}")]
    return tar(*entries, member("l2/far", b"content " * 100), directory("l2/new"), member("l2/new/far", b"twice"))


@pytest.mark.parametrize(
    "data",
    [
        STRANGE,
        tar(),
        tar(member("a", b"x" * 3_000_000), member("b", os.urandom(513))),
        tar(member("a", b"no end mark"))[:1024],
        tar(member("a", b"more behind the end")) + b"trailing bytes that are no archive",
        far_away(),
        old_gnu_sparse() + bytes(1024),
        tar(member("unknown", b"data of a kind that nobody knows", type=b"Z"), member("after", b"y")),
    ],
    ids=["strange", "empty", "large", "endless", "trailer", "far", "sparse", "unknown"],
)
def test_every_byte_comes_back(store: LayerStore, data: bytes) -> None:
    info = unpack(store, data, parent=digest(b"something below"))
    assert read(store, info.chain_id) == data
    with Archive(store, info.chain_id) as archive:
        assert (archive.size_bytes, archive.diff_id) == (len(data), digest(data))


def test_archives_that_are_open_together_end_without_being_read(store: LayerStore) -> None:
    """Two threads of a push read a layer each, and a failure of one ends both."""
    chains = [unpack(store, tar(member(name, os.urandom(1 << 20)))).chain_id for name in "ab"]
    with contextlib.ExitStack() as later, Archive(store, chains[0]) as first:
        second = later.enter_context(Archive(store, chains[1]))
        assert first.read(1)
        assert second.read(1)


def test_what_was_replaced_is_beside_the_tree_not_in_it(store: LayerStore) -> None:
    root = store.path(unpack(store, STRANGE).chain_id)
    assert inside(lambda: Path(f"{root}/twice").read_bytes().decode()) == "the second"
    assert inside(lambda: Path(f"{root}/usr/lib/through").read_bytes().decode()) == "replaced under its real name"
    assert "gone/a" not in names(root)
    store.remove(digest(STRANGE))
    assert os.listdir(store.directory) == []


def test_a_changed_file_is_noticed(store: LayerStore) -> None:
    info = unpack(store, tar(member("a", b"right", mode=0o644)))
    path = f"{store.path(info.chain_id)}/a"
    inside(lambda: Path(path).write_bytes(b"wrong") and None)
    with pytest.raises(StorageError, match="comes back as"):
        read(store, info.chain_id)
    inside(lambda: os.truncate(path, 2))
    with pytest.raises(StorageError, match="'a' is too short"):
        read(store, info.chain_id)
    inside(lambda: os.unlink(path))
    inside(lambda: os.symlink("/etc/passwd", path))
    with pytest.raises(StorageError, match="is damaged"):
        read(store, info.chain_id)


def test_a_layer_without_a_good_record(store: LayerStore) -> None:
    info = unpack(store, STRANGE)
    record = Path(os.path.dirname(store.path(info.chain_id))) / "assembly.zst"
    whole = record.read_bytes()
    for torn in (whole[: len(whole) // 2], b"", whole[:20] + bytes([whole[20] ^ 0xFF]) + whole[21:]):
        record.write_bytes(torn)
        with pytest.raises(StorageError, match="damaged"):
            read(store, info.chain_id)
    record.unlink()
    with pytest.raises(StorageError, match="exact bytes are lost"):
        read(store, info.chain_id)


def test_a_reader_that_stops_early(store: LayerStore) -> None:
    info = unpack(store, tar(member("a", b"x" * 5_000_000)))
    with Archive(store, info.chain_id) as archive:
        assert archive.read(100)

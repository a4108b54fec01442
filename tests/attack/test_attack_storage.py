"""Hostile layers: whatever is in the archive, only the layer's own directory changes."""

from __future__ import annotations

import gzip
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
import zstandard
from support.archives import GZIP, digest, directory, hardlink, inside, member, names, symlink, tar, unpack

from rootless.errors import StorageError
from rootless.kernel import files, userns
from rootless.storage import unpack as worker
from rootless.storage.layers import LayerStore, Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.leaks import Canary

LOWER = "sha256:" + 64 * "1"


@pytest.fixture
def store(tmp_path: Path, canary: Canary) -> Iterator[LayerStore]:
    """A store beside the canary; afterwards nothing is there but whole layers."""
    data_dir = tmp_path / "data"
    layers = LayerStore(str(data_dir))
    yield layers
    assert sorted(os.listdir(tmp_path)) == ["canary", "data"]
    assert os.listdir(data_dir / "staging") == []
    assert set(os.listdir(data_dir)) <= {"staging", "layers", "ids.json"}
    userns.remove_tree_inside(str(data_dir))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "./../x", "a/b/../../../x", ".."])
@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.FIFOTYPE])
def test_names_that_climb(store: LayerStore, name: str, kind: bytes) -> None:
    with pytest.raises(StorageError, match=r"leads out of the archive|cannot be the root"):
        unpack(store, tar(member(name, type=kind, linkname="x")))


def test_names_that_only_look_hostile(store: LayerStore) -> None:
    layer = unpack(store, tar(member("/abs"), member("a/../b"), member("././/c/./d"), member("-rf"), member("...")))
    assert names(store.path(layer.chain_id)) == ["-rf", "...", "abs", "b", "c", "c/d"]


@pytest.mark.parametrize("up", ["/", "../" * 40, "/proc/self/root/", "/proc/1/root/", "/proc/self/fd/3/"])
@pytest.mark.parametrize("through", ["file", "directory", "hardlink", "whiteout", "opaque", "fifo"])
def test_a_link_and_something_through_it(store: LayerStore, canary: Canary, up: str, through: str) -> None:
    """It lands inside the layer, or nowhere."""
    entries = {
        "file": [member("l/file", b"x")],
        "directory": [directory("l/sub", mode=0)],
        "hardlink": [member("f"), hardlink("l/twin", "f"), hardlink("stolen", "l/passwd")],
        "whiteout": [member("l/.wh.file")],
        "opaque": [member("l/.wh..wh..opq")],
        "fifo": [member("l/fifo", type=tarfile.FIFOTYPE)],
    }[through]
    data = tar(symlink("l", up + str(canary.root).lstrip("/")), *entries)
    with pytest.raises(StorageError, match="'l"):
        unpack(store, data, parent=LOWER)


def test_a_link_chain_that_climbs(store: LayerStore, canary: Canary) -> None:
    """Each link is harmless; together they would lead to the canary without a root of our own."""
    steps = [directory("a/b/c"), symlink("a/b/c/up", ".."), symlink("x", "a/b/c/up/../../../..")]
    hidden = str(canary.root).lstrip("/")
    layer = unpack(store, tar(*steps, member(f"x/{hidden}/file", b"mine")))
    assert f"{hidden}/file" in names(store.path(layer.chain_id))


def test_hardlinks_to_the_outside(store: LayerStore, canary: Canary) -> None:
    for target in (str(canary.root / "file"), "../" * 9 + "etc/passwd", "/etc/passwd"):
        with pytest.raises(StorageError, match=r"cannot be linked|leads out"):
            unpack(store, tar(hardlink("stolen", target)))


def test_a_hardlink_to_a_link_is_a_link(store: LayerStore, canary: Canary) -> None:
    """A file written through the second name must not follow it."""
    data = tar(symlink("l", str(canary.root / "file")), hardlink("h", "l"), member("h", b"mine"))
    path = store.path(unpack(store, data).chain_id)
    assert inside(lambda: os.path.islink(f"{path}/l") and not os.path.islink(f"{path}/h"))


def test_a_name_that_begins_like_the_target(store: LayerStore) -> None:
    layer = unpack(store, tar(directory("fs"), member("fs-evil/x"), symlink("fs/l", "../../fs-evil")))
    assert names(store.path(layer.chain_id)) == ["fs", "fs-evil", "fs-evil/x", "fs/l"]


@pytest.mark.parametrize(
    "key", ["user.overlay.opaque", "user.overlay.redirect", "user.fuseoverlayfs.opaque", "trusted.overlay.opaque"]
)
def test_attributes_of_the_drivers_are_not_taken(store: LayerStore, key: str) -> None:
    data = tar(directory("d", pax_headers={f"SCHILY.xattr.{key}": "y", "SCHILY.xattr.user.fine": "1"}))
    path = store.path(unpack(store, data).chain_id)
    assert inside(lambda: os.listxattr(f"{path}/d")) == ["user.fine"]


def test_no_device_not_even_a_whiteout(store: LayerStore) -> None:
    data = tar(
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        member("disk", type=tarfile.BLKTYPE, devmajor=8, devminor=0),
        member("mark", type=tarfile.CHRTYPE, devmajor=0, devminor=0),
    )
    assert names(store.path(unpack(store, data).chain_id)) == []


def test_odd_names(store: LayerStore) -> None:
    odd = [b"\xff\xfe", b"new\nline", b"\x1b[31mred", b"n" * 255, b"sp ace", b"%s", b"'\"\\"]
    path = store.path(unpack(store, tar(*(member(name) for name in odd), form=tarfile.GNU_FORMAT)).chain_id)
    assert inside(lambda: sorted(os.fsencode(name).hex() for name in os.listdir(path))) == sorted(
        name.hex() for name in odd
    )
    for long in (b"n" * 300, b"d/" * 2500):
        with pytest.raises(StorageError, match=r"file name too long|is too long"):
            unpack(store, tar(member(long)))


def test_a_message_cannot_drive_the_terminal(store: LayerStore) -> None:
    with pytest.raises(StorageError) as caught:
        unpack(store, tar(hardlink("\x1b]0;title\x07", "missing")))
    assert caught.value.message.isprintable()


def test_a_tree_deeper_than_any_path(store: LayerStore) -> None:
    """Links make it deeper than PATH_MAX and than Python's stack; it can be unpacked and removed."""
    deep = "/".join(["d"] * 500)
    entries = [directory(deep)]
    for i in range(5):
        below = f"l{i - 1}/" if i else ""
        entries += [directory(below + deep), symlink(f"l{i}", below + deep)]
    layer = unpack(store, tar(*entries))
    store.remove(layer.chain_id)
    assert store.all() == []


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_bombs(store: LayerStore, monkeypatch: pytest.MonkeyPatch, compress: object) -> None:
    """The limit is lowered, what it stops is real: a file of 256 MiB, and as much behind the end of the archive."""
    assert callable(compress)
    monkeypatch.setattr(worker.inflate.open_stream, "__defaults__", ("", 1 << 24))
    for data in (tar(member("zeros", bytes(1 << 28))), tar(member("a")) + bytes(1 << 28)):
        chain_id = digest(data[:1000])
        with Unpacker(store) as unpacker:
            sink = unpacker.begin(chain_id, chain_id, "", "" if compress is zstandard.compress else GZIP, "")
            sink.write(compress(data))
            with pytest.raises(StorageError, match=r"unpacks to more than|follow the end"):
                sink.finish()


def test_a_layer_that_unpacks_to_something_else(store: LayerStore) -> None:
    good, bad = tar(member("good")), tar(member("bad"))
    with pytest.raises(StorageError, match="but the image's config names"):
        unpack(store, bad, diff_id=digest(good))


def test_modules_in_the_layer_are_not_imported(store: LayerStore, canary: Canary) -> None:
    """Every module that unpacking could want, as a layer that would sing if one were loaded."""
    song = f"open({str(canary.root / 'sung')!r}, 'w')".encode()
    places = ["", "usr/lib/python3.11/", "usr/lib/python3/dist-packages/", os.path.dirname(os.__file__)[1:] + "/"]
    modules = ["json", "traceback", "encodings/idna", "rootless/storage/unpack", "linecache", "tokenize"]
    entries = [member(f"{place}{name}.py", song) for place in places for name in modules]
    with pytest.raises(StorageError):
        unpack(store, tar(*entries, hardlink("fails", "missing")))
    unpack(store, tar(*entries))


def test_removal_follows_no_link(tmp_path: Path, canary: Canary) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "link").symlink_to(canary.root)
    files.remove_tree(str(tree / "link"))
    (tree / "link").symlink_to(canary.root)
    files.remove_tree(str(tree))
    assert not tree.exists()

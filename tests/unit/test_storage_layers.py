"""Layers: unpacked in the user namespace, whiteouts that both drivers understand, and the store."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.archives import GZIP, digest, directory, hardlink, inside, member, names, symlink, tar, unpack

from rootless.errors import NotFoundError, StorageError, UnsupportedError
from rootless.kernel import spawn, syscalls, userns
from rootless.storage import drivers
from rootless.storage.layers import LayerStore, Unpacker

if TYPE_CHECKING:
    from collections.abc import Iterator

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service+ep, VFS_CAP_REVISION_2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LayerStore]:
    yield LayerStore(str(tmp_path / "data"))
    assert not (tmp_path / "data" / "staging").exists() or os.listdir(tmp_path / "data" / "staging") == []
    userns.remove_tree_inside(str(tmp_path / "data"))


def facts(path: str) -> list[object]:
    """Seen from inside: type and mode, owner, links, time."""

    def look() -> list[object]:
        info = os.lstat(path)
        return [info.st_mode, info.st_uid, info.st_gid, info.st_nlink, info.st_mtime_ns]

    result = inside(look)
    assert isinstance(result, list)
    return result


def test_attributes(store: LayerStore) -> None:
    data = tar(
        directory("./", mode=0o750, mtime=7),
        directory("tmp", mode=0o1777),
        directory("mail", mode=0o2775, gid=8),
        member("mail/box", b"", mode=0o640),
        member("su", b"elf", mode=0o4755),
        member("caps", b"x", pax_headers={"SCHILY.xattr.security.capability": CAPABILITY.decode("latin-1")}),
        member("owned", b"x", uid=1000, gid=65536, mode=0o2755),
        member("late/deep/file", b"x"),
        hardlink("twin", "su"),
        symlink("ln", "/etc/passwd"),
        member("fifo", type=tarfile.FIFOTYPE),
        member("null", type=tarfile.CHRTYPE, devmajor=1, devminor=3),
        directory("old", mtime=5),
        member("old/file", b"x", pax_headers={"mtime": "1.123456789"}),
    )
    info = unpack(store, data)
    root = store.path(info.chain_id)
    assert info.size_bytes == len(data)
    assert facts(root)[0] == stat.S_IFDIR | 0o750
    assert facts(root)[4] == 7 * 10**9
    assert facts(f"{root}/tmp")[0] == stat.S_IFDIR | 0o1777
    assert facts(f"{root}/mail")[:3] == [stat.S_IFDIR | 0o2775, 0, 8]
    assert facts(f"{root}/mail/box")[1:3] == [0, 0]  # not the directory's group, although it hands it down
    assert facts(f"{root}/su")[0] == stat.S_IFREG | 0o4755
    assert facts(f"{root}/su")[3] == 2
    assert facts(f"{root}/owned")[:3] == [stat.S_IFREG | 0o2755, 1000, 65536]
    assert facts(f"{root}/late/deep")[:3] == [stat.S_IFDIR | 0o755, 0, 0]
    assert facts(f"{root}/fifo")[0] == stat.S_IFIFO | 0o644
    assert facts(f"{root}/old")[4] == 5 * 10**9
    assert facts(f"{root}/old/file")[4] == 1_123_456_789
    assert inside(lambda: os.readlink(f"{root}/ln")) == "/etc/passwd"
    assert inside(lambda: os.getxattr(f"{root}/caps", "security.capability").hex()) == CAPABILITY.hex()
    assert "null" not in names(root)


def test_what_replaces_what(store: LayerStore) -> None:
    data = tar(
        member("file-dir"),
        directory("file-dir"),
        directory("dir-file"),
        member("dir-file/inner"),
        member("dir-file", b"now a file"),
        member("file-file", b"first"),
        member("file-file", b"second"),
        directory("real"),
        symlink("link-dir", "real"),
        directory("link-dir"),
        directory("dir-link"),
        symlink("dir-link", "real"),
        member("dir-link/through", b"x"),
        directory("dir-dir", mode=0o700),
        member("dir-dir/kept"),
        directory("dir-dir", mode=0o711),
        hardlink("file-file2", "file-file"),
        hardlink("file-file2", "file-file"),
    )
    root = store.path(unpack(store, data).chain_id)
    assert names(root) == [
        "dir-dir",
        "dir-dir/kept",
        "dir-file",
        "dir-link",
        "file-dir",
        "file-file",
        "file-file2",
        "link-dir",
        "real",
        "real/through",
    ]
    assert facts(f"{root}/dir-dir")[0] == stat.S_IFDIR | 0o711
    assert inside(lambda: Path(f"{root}/file-file").read_text()) == "second"


def test_sparse_file(store: LayerStore, tmp_path: Path) -> None:
    with open(tmp_path / "holes", "wb") as file:
        for offset in (0, 1_000_000, 9_000_000):
            file.seek(offset)
            file.write(b"data %d" % offset)
        file.truncate(20_000_000)
    words = [
        "tar",
        "-S",
        "--hole-detection=raw",
        "--format=pax",
        "-C",
        str(tmp_path),
        "-cf",
        str(tmp_path / "t"),
        "holes",
    ]
    assert spawn.run([shutil.which("tar") or "", *words[1:]]).code == 0
    data = (tmp_path / "t").read_bytes()
    path = store.path(unpack(store, data).chain_id) + "/holes"
    with open(path, "rb") as file:
        assert file.read() == (tmp_path / "holes").read_bytes()
    assert os.stat(path).st_blocks * 512 < 1_000_000


# ---- whiteouts, looked at through both drivers


def merged(driver: str, layers: list[str], directory_: str) -> list[str]:
    """Every path that an overlay of ``layers`` shows."""
    os.mkdir(directory_)

    def look() -> list[str]:
        plan = drivers.RootPlan(driver, layers, directory_)
        plan.make_directories()
        if driver == drivers.OVERLAY:
            drivers.mount_overlay(plan)
        else:
            device = os.stat(plan.merged).st_dev
            null = os.open("/dev/null", os.O_RDWR)
            spawn.start(drivers.fuse_argv(plan), fds={1: null, 2: null})
            drivers.wait_for_mount(plan.merged, device)
        try:
            found = []
            for folder, folders, files in os.walk(plan.merged):
                found += [os.path.relpath(os.path.join(folder, name), plan.merged) for name in [*folders, *files]]
                for name in files:
                    os.lstat(os.path.join(folder, name))  # a whiteout that shows through has no inode
            return sorted(found)
        finally:
            syscalls.umount(plan.merged, syscalls.MNT_DETACH)

    result = userns.call_inside(look)
    assert isinstance(result, list)
    return result


@pytest.fixture(params=drivers.NAMES)
def overlay(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    driver = str(request.param)
    probe = drivers.probe_overlay if driver == drivers.OVERLAY else drivers.probe_fuse
    if reason := probe(str(tmp_path)):
        pytest.skip(f"{driver}: {reason}")
    return driver


LOWER = (
    directory("dir"),
    member("dir/one"),
    member("dir/two"),
    directory("dir/sub"),
    member("dir/sub/deep"),
    member("gone"),
    directory("gone-dir"),
    member("gone-dir/file"),
    directory("new-dir"),
    member("new-dir/old"),
    member("stays"),
)


@pytest.mark.parametrize(
    ("upper", "shown"),
    [
        ([member(".wh.gone"), member(".wh.gone-dir")], {"-gone", "-gone-dir", "-gone-dir/file"}),
        ([directory("dir"), member("dir/.wh.one"), member("dir/three")], {"-dir/one", "+dir/three"}),
        (
            [directory("dir"), member("dir/.wh..wh..opq"), member("dir/three")],
            {"-dir/one", "-dir/two", "-dir/sub", "-dir/sub/deep", "+dir/three"},
        ),
        # The marker after the content, and whiteouts where nothing is merged any more.
        (
            [member("dir/three"), member("dir/.wh.one"), member("dir/sub/.wh.deep"), member("dir/.wh..wh..opq")],
            {"-dir/one", "-dir/two", "-dir/sub/deep", "+dir/three"},
        ),
        # A whiteout is about the layers below: what this layer has of the name stays, and hides.
        ([member(".wh.new-dir"), directory("new-dir"), member("new-dir/new")], {"-new-dir/old", "+new-dir/new"}),
        ([directory("new-dir"), member("new-dir/new"), member(".wh.new-dir")], {"-new-dir/old", "+new-dir/new"}),
        ([member("gone", b"again"), member(".wh.gone")], set()),
        ([member(".wh.gone"), member("gone", b"again")], set()),
        ([member("gone-dir", b"a file now")], {"-gone-dir/file"}),
        ([member(".wh..wh.plnk"), member(".wh..wh.aufs")], set()),
    ],
)
def test_whiteouts(
    store: LayerStore, tmp_path: Path, overlay: str, upper: list[tuple[tarfile.TarInfo, bytes]], shown: set[str]
) -> None:
    lower = unpack(store, tar(*LOWER))
    top = unpack(store, tar(*upper), parent=lower.chain_id)
    expected = {info.name for info, _ in LOWER}
    for change in shown:
        (expected.add if change[0] == "+" else expected.discard)(change[1:])
    layers = [store.path(chain_id) for chain_id in store.chain(top.chain_id)]
    assert merged(overlay, layers, str(tmp_path / "mount")) == sorted(expected)


def test_whiteouts_of_a_base_layer_delete_nothing(store: LayerStore) -> None:
    root = store.path(unpack(store, tar(member(".wh.x"), directory("d"), member("d/.wh..wh..opq"))).chain_id)
    assert names(root) == ["d"]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.."])
def test_whiteouts_of_nothing(store: LayerStore, name: str) -> None:
    with pytest.raises(StorageError, match="names nothing"):
        unpack(store, tar(member(name)), parent="sha256:" + 64 * "1")


def test_an_opaque_root_is_refused(store: LayerStore) -> None:
    """No RpodError class crosses the pipe but StorageError; the words tell."""
    assert issubclass(UnsupportedError, Exception)
    with pytest.raises(StorageError, match="whole root as opaque"):
        unpack(store, tar(member(".wh..wh..opq")), parent="sha256:" + 64 * "1")


# ---- ids


def test_ids_outside_of_the_map(store: LayerStore) -> None:
    with pytest.raises(StorageError, match=r"'etc/x' belongs to 70000:0, which is outside of your ids") as caught:
        unpack(store, tar(member("etc/x", uid=70000)))
    assert caught.value.hint


def test_a_single_id_takes_everything(
    store: LayerStore, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(userns, "read_ranges", lambda: userns.Ranges([], []))
    info = unpack(store, tar(member("a", uid=70000), member("b", gid=5), member("c")))
    assert os.lstat(store.path(info.chain_id) + "/a").st_uid == os.geteuid()
    assert capfd.readouterr().err.count("without subordinate ids") == 1


# ---- the store


def test_the_record_and_the_chain(store: LayerStore) -> None:
    base = unpack(store, tar(member("a")))
    top = unpack(store, tar(member("b")), parent=base.chain_id)
    assert store.has(base.chain_id)
    assert store.info(top.chain_id).parent == base.chain_id
    assert store.chain(top.chain_id) == [base.chain_id, top.chain_id]
    assert {info.chain_id for info in store.all()} == {base.chain_id, top.chain_id}
    store.remove(base.chain_id)
    store.remove(base.chain_id)
    assert not store.has(base.chain_id)
    with pytest.raises(NotFoundError):
        store.chain(top.chain_id)


@pytest.mark.parametrize(
    "chain_id", ["", "sha256:", "sha256:../../x", "md5:" + 32 * "0", "sha256:" + 64 * "A", 64 * "0"]
)
def test_a_chain_id_is_never_a_path(store: LayerStore, chain_id: str) -> None:
    for method in (store.has, store.path, store.info, store.remove):
        with pytest.raises(StorageError, match="not a layer's chain id"):
            method(chain_id)


def test_a_tree_of_other_ids_is_removed(store: LayerStore) -> None:
    data = tar(directory("d", uid=5, mode=0o500), directory("d/e", uid=6, mode=0), member("d/e/f", uid=7))
    info = unpack(store, data)
    with pytest.raises(PermissionError):
        shutil.rmtree(store.path(info.chain_id))
    store.remove(info.chain_id)
    assert store.all() == []


def test_wrong_content_leaves_nothing(store: LayerStore) -> None:
    data = tar(member("a"))
    with pytest.raises(StorageError, match="but the image's config names sha256:0000"):
        unpack(store, data, diff_id="sha256:" + 64 * "0")
    with pytest.raises(StorageError, match="in the middle"):
        unpack(store, data, packed=gzip.compress(data)[:-9])
    assert store.all() == []


def test_a_worker_that_failed_stops_the_writer(store: LayerStore) -> None:
    """The pipe holds a mebibyte; after that the error must come without waiting for the end."""
    with Unpacker(store) as unpacker:
        sink = unpacker.begin("sha256:" + 64 * "a", "sha256:" + 64 * "a", "", "", "")
        with pytest.raises(StorageError, match="not a tar archive"):
            sink.write(b"no tar" * 10_000_000)
        sink.abort()
        sink.abort()


def test_several_layers_at_once_and_the_same_one_twice(store: LayerStore) -> None:
    layers = [tar(*(member(f"f{i}-{j}", os.urandom(2000)) for j in range(100))) for i in range(4)]
    layers += layers[:2]
    failures: list[BaseException] = []

    def send(unpacker: Unpacker, data: bytes) -> None:
        try:
            sink = unpacker.begin(digest(data), digest(data), "", GZIP, "")
            packed = gzip.compress(data)
            for start in range(0, len(packed), 10_000):
                sink.write(packed[start : start + 10_000])
            assert sink.finish().chain_id == digest(data)
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    with Unpacker(store) as unpacker:
        threads = [threading.Thread(target=send, args=(unpacker, data)) for data in layers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    assert len(store.all()) == 4


def test_a_directory_without_a_record_is_replaced(store: LayerStore) -> None:
    data = tar(member("a"))
    os.makedirs(store.path(digest(data)) + "/junk")
    unpack(store, data)
    assert names(store.path(digest(data))) == ["a"]


def children() -> set[str]:
    return set(Path("/proc/thread-self/children").read_text().split())


def test_the_unpackers_process_ends_with_it(store: LayerStore) -> None:
    before = children()
    with Unpacker(store) as unpacker:
        unpacker.begin("sha256:" + 64 * "a", "sha256:" + 64 * "a", "", "", "").abort()
        assert children() > before
    assert children() == before

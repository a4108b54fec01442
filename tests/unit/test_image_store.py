"""Image records and tags on the disk: names, ids, crashes at each step, users of layers."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from typing import TYPE_CHECKING

import pytest

from rootless import paths
from rootless.engine import check
from rootless.errors import ConflictError, NotFoundError, StorageError
from rootless.storage import unused_layers
from rootless.storage.images import ContainerUse, Image, ImageStore, MissingLayersError, NewImage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUSYBOX = "docker.io/library/busybox:latest"


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(str(tmp_path))


def chain(number: int) -> str:
    return f"sha256:{number:064x}"


def layer(store: ImageStore, number: int) -> str:
    """A layer directory as LayerStore leaves it."""
    folder = f"{store.data_dir}/layers/{number:064x}"
    os.makedirs(f"{folder}/fs", exist_ok=True)
    record = {
        "diff_id": chain(number),
        "chain_id": chain(number),
        "parent": "",
        "size_bytes": 5,
        "digest": chain(number),
    }
    with open(f"{folder}/layer.json", "w") as file:
        json.dump(record, file)
    return chain(number)


def new(store: ImageStore, mark: str, *numbers: int, digest: str = "") -> NewImage:
    config = json.dumps({"os": "linux", "created": "2024-01-01T00:00:00Z", "author": mark}).encode()
    digests = [f"docker.io/library/busybox@{digest}"] if digest else []
    return NewImage(config, b'{"schemaVersion":2}', "m", [layer(store, n) for n in numbers], digests)


def container(store: ImageStore, image: Image, name: str = "web") -> None:
    folder = f"{store.data_dir}/containers/{'c' * 64}"
    os.makedirs(folder)
    with open(f"{folder}/container.json", "w") as file:
        json.dump({"id": "c" * 64, "name": name, "image_id": image.id, "layers": image.layers}, file)


def test_add_and_find(store: ImageStore) -> None:
    wanted = new(store, "a", 1, 2, digest=chain(9))
    image = store.add(wanted, [BUSYBOX])
    assert image.hex == hashlib.sha256(wanted.config).hexdigest()
    found = store.find(BUSYBOX)
    assert found is not None
    assert (found.id, found.layers, found.size_bytes) == (image.id, [chain(1), chain(2)], 10)
    assert found.found_as == BUSYBOX
    assert found.config.author == "a"
    assert found.manifest() == wanted.manifest
    assert store.find("docker.io/library/busybox:other") is None
    by_digest = store.by_digest("docker.io/library/busybox", chain(9))
    assert by_digest is not None
    assert by_digest.id == image.id
    assert store.by_digest("docker.io/library/other", chain(9)) is None
    assert oct(os.stat(image.directory).st_mode & 0o777) == "0o700"


def test_layers_that_are_gone_are_named(store: ImageStore) -> None:
    wanted = new(store, "a", 1)
    wanted.layers.append(chain(7))
    with pytest.raises(MissingLayersError) as caught:
        store.add(wanted, [BUSYBOX])
    assert caught.value.chain_ids == [chain(7)]
    assert store.all() == []
    assert store.tags() == {}


def test_ids_and_their_beginnings(store: ImageStore) -> None:
    images = [store.add(new(store, str(n), 1)) for n in range(40)]
    one = images[0]
    for prefix in (one.hex, one.id, one.hex[:12], f"sha256:{one.hex[:20]}"):
        found = store.by_id(prefix)
        assert found is not None
        assert found.id == one.id
    for wrong in ("", "ab", "xyz", "../../etc", one.hex.upper(), "0" * 64, one.hex + "0"):
        assert store.by_id(wrong) is None


def test_an_ambiguous_beginning_names_the_candidates(store: ImageStore) -> None:
    for hex_id in ("abc1" + "0" * 60, "abc2" + "0" * 60):
        image = store.add(new(store, hex_id, 1))
        os.rename(image.directory, f"{store.images_dir}/{hex_id}")
        image.directory, image.id = f"{store.images_dir}/{hex_id}", f"sha256:{hex_id}"
        image.save()
    with pytest.raises(NotFoundError, match="abc100000000, abc200000000"):
        store.by_id("abc")


def test_the_last_part_of_a_name(store: ImageStore) -> None:
    image = store.add(new(store, "a", 1), ["quay.example/team/app:1"])
    for path in ("app", "team/app"):
        found = store.by_last_part(path, "1")
        assert found is not None
        assert (found.id, found.found_as) == (image.id, "quay.example/team/app:1")
    assert store.by_last_part("pp", "1") is None
    assert store.by_last_part("app", "2") is None
    store.add(new(store, "b", 1), ["other.example/app:1"])
    with pytest.raises(NotFoundError, match=r"other.example/app:1, quay.example/team/app:1"):
        store.by_last_part("app", "1")


def test_a_tag_moves(store: ImageStore) -> None:
    old = store.add(new(store, "old", 1), [BUSYBOX])
    young = store.add(new(store, "young", 2), [BUSYBOX])
    assert store.names(old) == []
    assert store.names(young) == [BUSYBOX]
    store.tag(old, "localhost/kept:1")
    store.tag(old, BUSYBOX)
    assert sorted(store.names(Image.read(old.directory))) == [BUSYBOX, "localhost/kept:1"]
    assert store.names(young) == []
    store.untag(old, BUSYBOX)
    assert store.find(BUSYBOX) is None
    with pytest.raises(NotFoundError, match="no such name"):
        store.untag(old, BUSYBOX)


def test_the_same_image_again_keeps_its_names(store: ImageStore) -> None:
    store.add(new(store, "a", 1, digest=chain(8)), [BUSYBOX])
    again = store.add(new(store, "a", 1, digest=chain(9)), ["localhost/a:1"])
    assert again.names == [BUSYBOX, "localhost/a:1"]
    assert again.repo_digests == [f"docker.io/library/busybox@{chain(n)}" for n in (8, 9)]
    assert store.names(again) == [BUSYBOX, "localhost/a:1"]
    assert len(store.all()) == 1


def test_remove_takes_what_nothing_else_needs(store: ImageStore) -> None:
    one = store.add(new(store, "one", 1, 2), [BUSYBOX, "localhost/one:1"])
    two = store.add(new(store, "two", 1, 3))
    container(store, two)
    assert store.remove(one) == [chain(2)]
    assert store.find(BUSYBOX) is None
    assert os.listdir(store.tags_dir) == []
    assert sorted(os.listdir(f"{store.data_dir}/layers")) == [f"{1:064x}", f"{3:064x}"]
    assert store.remove(two) == []
    assert not two.is_there()
    with pytest.raises(NotFoundError):
        store.remove(two)


def test_an_unused_image_is_not_removed_from_under_a_container(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``create`` writes its record, then looks for the image; the removal does both the other way round."""
    image = store.add(new(store, "one", 1), [BUSYBOX])
    look = ImageStore.containers

    def created_just_now(self: ImageStore) -> Iterator[ContainerUse]:
        assert not image.is_there(), "a container that is made from now on would find it gone"
        container(store, image)
        return look(self)

    monkeypatch.setattr(ImageStore, "containers", created_just_now)
    with pytest.raises(ConflictError, match="in use"):
        store.remove(image, if_unused=True)
    monkeypatch.undo()
    assert image.is_there() and store.find(BUSYBOX) is not None
    assert os.listdir(f"{store.data_dir}/layers") == [f"{1:064x}"]
    store.sweep()
    assert sorted(os.listdir(image.directory)) == ["config.json", "image.json", "manifest.json"]
    with open(f"{store.data_dir}/containers/{'c' * 64}/container.json", "w") as file:
        file.write("{")
    with pytest.raises(StorageError, match="record of container"):
        store.remove(image, if_unused=True)
    assert image.is_there()


def test_a_layer_that_came_into_use_is_not_mended_away(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    store = ImageStore(paths.data())
    layer(store, 1)

    (damage,) = check._Survey(quick=True).run()
    assert damage.why == "nothing uses it" and damage.mend is not None
    store.add(new(store, "one", 1))
    damage.mend()
    assert unused_layers.find(store) == [] and len(os.listdir(f"{store.data_dir}/layers")) == 1


def test_unused_layers(store: ImageStore) -> None:
    store.add(new(store, "one", 1))
    layer(store, 5)
    assert unused_layers.find(store) == [chain(5)]
    assert unused_layers.remove(store) == [chain(5)]
    assert unused_layers.find(store) == []
    assert os.listdir(f"{store.data_dir}/layers") == [f"{1:064x}"]


def test_containers_are_seen(store: ImageStore) -> None:
    image = store.add(new(store, "a", 1))
    container(store, image)
    assert [(user.name, user.image_id) for user in store.containers()] == [("web", image.id)]
    with open(f"{store.data_dir}/containers/{'c' * 64}/container.json", "w") as file:
        file.write("{")
    with pytest.raises(StorageError, match="record of container"):
        list(store.containers())


def test_a_damaged_record_hides_only_itself(store: ImageStore, capfd: pytest.CaptureFixture[str]) -> None:
    good = store.add(new(store, "good", 1))
    bad = store.add(new(store, "bad", 1), [BUSYBOX])
    for text in ("", "{", "[]", '{"schema": 1}', '{"schema": 2}', '{"schema": 1, "layers": ["x"]}', "\0" * 100):
        with open(f"{bad.directory}/image.json", "w") as file:
            file.write(text)
        assert [image.id for image in store.all()] == [good.id]
        with pytest.raises(StorageError, match=r"image\.json|newer version"):
            store.find(BUSYBOX)
    assert "image.json" in capfd.readouterr().err
    store.add(new(store, "bad", 1), [BUSYBOX])
    assert store.find(BUSYBOX) is not None


def test_what_a_killed_process_leaves_is_unseen_and_swept(store: ImageStore) -> None:
    good = store.add(new(store, "good", 1), [BUSYBOX])
    half = f"{store.images_dir}/{'d' * 64}"
    os.mkdir(half)
    for name in ("config.json", "manifest.json", "image.json.123.1.tmp"):
        with open(f"{half}/{name}", "w") as file:
            file.write("{}")
    with open(f"{good.directory}/image.json.99.1.tmp", "w") as file:
        file.write("{")
    os.symlink(f"../images/{'d' * 64}", f"{store.tags_dir}/localhost+half:1")
    os.symlink("../images/x", f"{store.tags_dir}/.123.new")
    assert [image.id for image in store.all()] == [good.id]
    assert store.find("localhost/half:1") is None
    assert store.by_id("d" * 64) is None
    store.sweep()
    assert os.listdir(store.images_dir) == [good.hex]
    assert sorted(os.listdir(good.directory)) == ["config.json", "image.json", "manifest.json"]
    assert os.listdir(store.tags_dir) == ["docker.io+library+busybox:latest"]


def test_a_name_never_dangles_while_it_moves(store: ImageStore) -> None:
    """One process moves a tag to and fro while this one resolves it."""
    one = store.add(new(store, "one", 1), [BUSYBOX])
    two = store.add(new(store, "two", 1))

    def move() -> None:
        for _ in range(50):
            store.tag(two, BUSYBOX)
            store.tag(one, BUSYBOX)

    mover = multiprocessing.get_context("fork").Process(target=move)
    mover.start()
    seen = set()
    while mover.is_alive():
        found = store.find(BUSYBOX)
        assert found is not None
        seen.add(found.id)
    mover.join()
    assert mover.exitcode == 0
    assert seen == {one.id, two.id}


def test_a_read_only_store_says_so(store: ImageStore, tmp_path: Path) -> None:
    store.add(new(store, "a", 1), [BUSYBOX])
    os.chmod(store.tags_dir, 0o500)
    try:
        with pytest.raises(StorageError, match="permission denied"):
            store.add(new(store, "b", 1), ["localhost/b:1"])
    finally:
        os.chmod(store.tags_dir, 0o700)

"""Hostile archives and layouts: load says what is wrong, stores nothing and touches nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from support.archives import hardlink, member, symlink, tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.leaks import Canary
    from support.shell import Rpod

LAYER = tar(member("f", b"content"))
LAYER_HEX = hashlib.sha256(LAYER).hexdigest()
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
VERSION = b'{"imageLayoutVersion":"1.0.0"}'
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"


def config(diff_ids: list[str] | None = None) -> bytes:
    rootfs = {"type": "layers", "diff_ids": diff_ids or [f"sha256:{LAYER_HEX}"]}
    return json.dumps({"os": "linux", "architecture": "amd64", "rootfs": rootfs}).encode()


def hex_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def archive(members: dict[str, bytes], *extra: tuple[tarfile.TarInfo, bytes]) -> bytes:
    return tar(*(member(name, data) for name, data in members.items()), *extra)


def docker(entry: object, *extra: tuple[tarfile.TarInfo, bytes], **files: bytes) -> bytes:
    """A docker-archive whose list is ``entry``."""
    return archive({"manifest.json": json.dumps(entry).encode(), **files}, *extra)


def good(**changes: object) -> list[dict[str, object]]:
    return [{"Config": "c.json", "RepoTags": ["a:1"], "Layers": ["l.tar"], **changes}]


def descriptor(data: bytes, media_type: str, **changes: object) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{hex_of(data)}", "size": len(data), **changes}


def oci(
    change: Callable[[dict[str, Any]], object] = lambda _: None, blobs: dict[str, bytes] | None = None, **index: object
) -> bytes:
    """An oci-archive of the layer; ``change`` edits the manifest, ``blobs`` replaces blobs by digest's digits."""
    document: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config(), CONFIG_TYPE),
        "layers": [descriptor(LAYER, LAYER_TYPE)],
    }
    change(document)
    raw = json.dumps(document).encode()
    files = {hex_of(data): data for data in (raw, config(), LAYER)} | (blobs or {})
    listing = {"schemaVersion": 2, "manifests": [descriptor(raw, MANIFEST, **index)]}
    members = {f"blobs/sha256/{name}": data for name, data in files.items()}
    return archive(
        {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(listing).encode(), **members}
    )


def header(name: str, size_field: bytes) -> bytes:
    """A member whose size field is as given."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.USTAR_FORMAT))
    block[124:136] = size_field
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def edit(key: str, **changes: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        target = document[key][0] if key == "layers" else document[key]
        target.update(changes)

    return change


CASES: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "neither manifest.json nor index.json"),
    "no image": (archive({"etc/passwd": b"root"}), "rpod import"),
    "list is not JSON": (archive({"manifest.json": b"{"}), "not JSON"),
    "list of nonsense": (docker([1]), "does not describe images"),
    "no layers key": (docker([{"Config": "c.json"}]), "does not describe images"),
    "config climbs": (docker(good(Config="../../etc/passwd")), "missing in the archive"),
    "config is absolute": (docker(good(Config="/etc/passwd")), "missing in the archive"),
    "config is a link out": (docker(good(), symlink("c.json", "/etc/passwd")), "missing in the archive"),
    "links in a circle": (docker(good(), symlink("c.json", "d"), symlink("d", "c.json")), "missing in the archive"),
    "config of another digest": (docker(good(Config=f"{64 * 'a'}.json"), **{f"{64 * 'a'}.json": config()}), "damaged"),
    "layer is missing": (docker(good(), **{"c.json": config()}), "'l.tar' is missing"),
    "layer of another digest": (docker(good(), **{"c.json": config(), "l.tar": tar(member("x"))}), "another digest"),
    "fewer layers": (docker(good(Layers=[]), **{"c.json": config()}), "0 layers, the config 1"),
    "config is a bomb": (docker(good(), **{"c.json": b" " * (5 << 20)}), "larger than 4 MiB"),
    "bad diff id": (docker(good(), **{"c.json": config(["sha256:../x"]), "l.tar": LAYER}), "sha256 digests"),
    "a huge size": (header("manifest.json", b"77777777777\0"), "missing|damaged|not JSON|larger than|in the middle"),
    "a negative size": (header("manifest.json", b"\xff" * 12), "negative"),
    "a torn archive": (docker(good(), **{"c.json": config(), "l.tar": LAYER})[:3000], "in the middle"),
    "no layout file": (archive({"index.json": b"{}"}), "oci-layout is missing"),
    "layout of the future": (archive({"index.json": b"{}", "oci-layout": b'{"imageLayoutVersion":"2"}'}), "version"),
    "empty index": (
        archive({"index.json": b'{"manifests":[]}', "oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}),
        "no image",
    ),
    "manifest digest climbs": (oci(digest="sha256:../../x"), "not a digest|digest"),
    "manifest of another size": (oci(size=17), "larger than the 17 bytes"),
    "a short blob": (oci(blobs={LAYER_HEX: LAYER[:512]}), "512 bytes instead of"),
    "a flipped blob": (oci(blobs={LAYER_HEX: LAYER[:-1] + b"x"}), "another digest"),
    "a flipped config": (oci(blobs={hex_of(config()): config()[:-1] + b" "}), "another digest"),
    "negative layer size": (oci(edit("layers", size=-1)), "no valid size"),
    "layer digest missing": (oci(edit("layers", digest=f"sha256:{64 * '0'}")), "missing in the archive"),
    "huge config": (oci(edit("config", size=1 << 40)), "larger than"),
    "an artifact": (oci(edit("config", mediaType="application/vnd.x")), "artifact of type"),
    "an artifact by name": (
        oci(lambda document: (document.update(artifactType="a/b"), document["config"].update(mediaType="x/y"))),
        "artifact of type 'a/b'",
    ),
    "schema 1": (oci(lambda document: document.update(schemaVersion=1)), "schema 1"),
    "foreign layer": (oci(edit("layers", mediaType=f"{LAYER_TYPE}.nondistributable")), "not supported"),
    "gzip in the type only": (oci(edit("layers", mediaType=f"{LAYER_TYPE}+gzip")), "although its media type"),
}


@pytest.fixture
def empty(fresh_rpod: Rpod, canary: Canary) -> Iterator[Rpod]:
    """An empty store beside the canary, in which nothing may be left."""
    yield fresh_rpod
    data = fresh_rpod.data
    assert fresh_rpod.ok("images", "-aq") == ""
    for name in ("staging", "layers", "images", "tags"):
        assert not (data / name).exists() or os.listdir(data / name) == [], name


@pytest.mark.parametrize("case", CASES)
def test_hostile_archives(empty: Rpod, case: str) -> None:
    data, says = CASES[case]
    error = empty.fails("load", "-q", stdin=data)
    assert any(part in error for part in says.split("|")), error
    assert len(error.splitlines()) <= 2


def test_layouts_with_links_are_refused(empty: Rpod, tmp_path: Path, canary: Canary) -> None:
    folder = tmp_path / "layout"
    with tarfile.open(fileobj=io.BytesIO(oci())) as opened:
        opened.extractall(folder)
    blob = folder / "blobs" / "sha256" / LAYER_HEX
    blob.rename(tmp_path / "outside")
    blob.symlink_to(tmp_path / "outside")
    assert "too many levels of symbolic links" in empty.fails("load", "-i", str(folder))
    blob.unlink()
    os.mkfifo(blob)
    assert "no regular file" in empty.fails("load", "-i", str(folder))


def test_names_of_an_archive_are_checked_and_the_image_loaded(fresh_rpod: Rpod) -> None:
    data = docker(good(RepoTags=["../../x:1", "good:1", "UPPER", 80 * "a/b"]), **{"c.json": config(), "l.tar": LAYER})
    done = fresh_rpod("load", "-q", stdin=data)
    assert done.out == "Loaded image: docker.io/library/good:1\n", done
    assert done.err.count("impossible name") == 3
    assert fresh_rpod.ok("images", "--format", "{{.Repository}}") == "docker.io/library/good"


def test_a_good_image_before_a_bad_one_stays(fresh_rpod: Rpod) -> None:
    entries = [*good(), *good(RepoTags=["b:1"], Layers=["none"])]
    assert "missing" in fresh_rpod.fails("load", stdin=docker(entries, **{"c.json": config(), "l.tar": LAYER}))
    assert fresh_rpod.ok("images", "-q") == ""  # every list is read before anything is stored


@pytest.mark.parametrize("what", ["climb", "link", "hardlink"])
@pytest.mark.parametrize("way", ["load", "import", "volume"])
def test_every_way_in_has_the_same_rules(fresh_rpod: Rpod, canary: Canary, way: str, what: str) -> None:
    data = {
        "climb": tar(member("good"), member("../../climbed")),
        "link": tar(symlink("l", str(canary.root)), member("l/new", b"x")),
        "hardlink": tar(hardlink("h", str(canary.root / "file")), member("h", b"x")),
    }[what]
    if way == "load":
        files = {"c.json": config([f"sha256:{hex_of(data)}"]), "l.tar": data}
        error = fresh_rpod.fails("load", stdin=docker(good(), **files))
    elif way == "import":
        error = fresh_rpod.fails("import", "-", "evil:1", stdin=data)
    else:
        fresh_rpod.ok("volume", "create", "prison")
        error = fresh_rpod.fails("volume", "import", "prison", "-", stdin=data)
    assert "leads out" in error if what == "climb" else "cannot" in error
    assert fresh_rpod.ok("images", "-aq") == ""
    assert not list((fresh_rpod.data / "staging").glob("*"))

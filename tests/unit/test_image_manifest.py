"""Manifests, indexes and platforms: what is taken, and what is refused by name."""

from __future__ import annotations

import json

import pytest

from rootless.errors import ImageError, UnsupportedError
from rootless.image import manifest
from rootless.image.manifest import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Index, Manifest, Platform

DIGEST = "sha256:" + "ab" * 32
CONFIG = {"mediaType": manifest.OCI_CONFIG, "digest": DIGEST, "size": 10}
LAYER = {"mediaType": f"{manifest.OCI_LAYER}+gzip", "digest": DIGEST, "size": 20}
GOOD = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}


def parse(document: object, content_type: str = OCI_MANIFEST) -> Manifest | Index:
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    return manifest.parse(raw, content_type, DIGEST)


def index(*platforms: tuple[str, str, str]) -> Index:
    entries = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": f"sha256:{number:064x}",
            "size": 1,
            "platform": {"os": os, "architecture": architecture, "variant": variant},
        }
        for number, (os, architecture, variant) in enumerate(platforms)
    ]
    found = parse({"schemaVersion": 2, "manifests": entries}, OCI_INDEX)
    assert isinstance(found, Index)
    return found


def test_a_good_manifest() -> None:
    found = parse(GOOD)
    assert isinstance(found, Manifest)
    assert (found.config.size, found.layers[0].size, found.media_type) == (10, 20, OCI_MANIFEST)
    assert isinstance(parse({**GOOD, "mediaType": DOCKER_MANIFEST}, "application/json"), Manifest)
    assert isinstance(parse({key: GOOD[key] for key in ("schemaVersion", "config", "layers")}, ""), Manifest)


@pytest.mark.parametrize(
    ("document", "content_type", "words"),
    [
        (b"", OCI_MANIFEST, "not JSON"),
        (b"[]", OCI_MANIFEST, "must be an object"),
        (b'{"schemaVersion": 2, "schemaVersion": 2}', OCI_MANIFEST, "duplicate key"),
        (b'{"schemaVersion": NaN}', OCI_MANIFEST, "NaN"),
        (b"[" * 200_000, OCI_MANIFEST, "nested too deeply"),
        (b'{"a":' * 200_000, OCI_MANIFEST, "nested too deeply"),
        (b" " * (manifest.MAX_BYTES + 1), OCI_MANIFEST, "larger than 4 MiB"),
        (b'{"schemaVersion": 2, "size": 1' + b"0" * 5000 + b"}", OCI_MANIFEST, "not JSON"),
        ({**GOOD, "schemaVersion": 3}, OCI_MANIFEST, "schemaVersion"),
        ({**GOOD, "manifests": []}, OCI_MANIFEST, "both"),
        (GOOD, DOCKER_MANIFEST, "the registry says"),
        ({**GOOD, "mediaType": OCI_INDEX}, OCI_INDEX, "does not look like"),
        ({**GOOD, "mediaType": 5}, "", "wrong type"),
        ({**GOOD, "layers": {}}, OCI_MANIFEST, "wrong type"),
        ({**GOOD, "layers": [LAYER] * 501}, OCI_MANIFEST, "501 layers"),
        ({**GOOD, "layers": [{**LAYER, "digest": "sha256:../../x"}]}, OCI_MANIFEST, "digest"),
        ({**GOOD, "layers": [{**LAYER, "digest": DIGEST.upper()}]}, OCI_MANIFEST, "digest"),
        ({**GOOD, "layers": [{**LAYER, "digest": "md5:" + "0" * 32}]}, OCI_MANIFEST, "only sha256"),
        ({**GOOD, "layers": [{**LAYER, "size": -1}]}, OCI_MANIFEST, "no valid size"),
        ({**GOOD, "layers": [{**LAYER, "size": True}]}, OCI_MANIFEST, "wrong type"),
        ({**GOOD, "layers": [{**LAYER, "size": 1.5}]}, OCI_MANIFEST, "wrong type"),
        ({**GOOD, "layers": [{**LAYER, "size": 1 << 63}]}, OCI_MANIFEST, "no valid size"),
        ({**GOOD, "config": {**CONFIG, "size": 5 << 20}}, OCI_MANIFEST, "config is larger"),
        ({**GOOD, "config": None}, OCI_MANIFEST, "config must be an object"),
    ],
)
def test_damaged_manifests(document: object, content_type: str, words: str) -> None:
    with pytest.raises((ImageError, UnsupportedError), match=words):
        parse(document, content_type)


@pytest.mark.parametrize(
    ("document", "content_type", "words"),
    [
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws", "schema 1"),
        (GOOD | {"mediaType": "application/x"}, "", "not an image"),
        ({**GOOD, "config": {**CONFIG, "mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "", "artifact"),
        ({**GOOD, "layers": [{**LAYER, "mediaType": "text/plain"}]}, "", "not supported"),
        ({**GOOD, "layers": [{**LAYER, "mediaType": f"{manifest.OCI_LAYER}+gzip+encrypted"}]}, "", "encrypted"),
        (
            {"schemaVersion": 2, "manifests": [{**LAYER, "mediaType": DOCKER_INDEX, "platform": {"os": "linux"}}]},
            OCI_INDEX,
            "another index",
        ),
    ],
)
def test_kinds_that_are_refused_by_name(document: object, content_type: str, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words):
        parse(document, content_type)


def test_choice_of_a_platform() -> None:
    found = index(("linux", "amd64", "v3"), ("linux", "amd64", ""), ("linux", "arm", "v6"), ("linux", "arm64", "v8"))

    def chosen(*wanted: str) -> int:
        return int(found.choose(Platform(*wanted), "x").digest[7:], 16)

    assert chosen("linux", "amd64") == 1
    assert chosen("linux", "amd64", "v3") == 0
    assert chosen("linux", "amd64", "v2") == 1
    assert chosen("linux", "arm64") == 3
    assert chosen("linux", "arm", "v7") == 2
    with pytest.raises(
        ImageError, match="no image for linux/arm/v5; it has: linux/amd64/v3, linux/amd64, linux/arm/v6"
    ):
        chosen("linux", "arm", "v5")


def test_attestations_are_no_platform() -> None:
    with pytest.raises(ImageError, match="it has: none"):
        index(("unknown", "unknown", "")).choose(Platform("linux", "amd64"), "x")


def test_platforms_as_typed() -> None:
    native = manifest.native_platform()
    assert str(manifest.parse_platform("")) == str(native)
    assert str(manifest.parse_platform("linux/arm/v7")) == "linux/arm/v7"
    assert str(manifest.parse_platform("linux/x86_64")).startswith("linux/amd64")
    assert str(manifest.parse_platform("s390x")) == "linux/s390x"
    assert manifest.parse_platform("linux").architecture == native.architecture
    with pytest.raises(UnsupportedError, match="only linux"):
        manifest.parse_platform("windows/amd64")
    for text in ("linux/a/b/c", "linux//v7", "linux/../x", "linux/a\n"):
        with pytest.raises(ImageError, match="not a platform"):
            manifest.parse_platform(text)


def test_chain_ids() -> None:
    """The example of image-spec config.md: each id is the digest of the one below and the layer's own."""
    import hashlib

    one, two = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    chain = manifest.chain_ids([one, two])
    assert chain == [one, "sha256:" + hashlib.sha256(f"{one} {two}".encode()).hexdigest()]
    assert manifest.chain_ids([]) == []

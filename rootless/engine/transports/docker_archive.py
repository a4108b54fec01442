"""``docker-archive:``: what ``docker save`` writes: ``manifest.json``, configs, and layers as uncompressed tars."""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from typing import TYPE_CHECKING, Any

from rootless import log
from rootless.engine.transports import members
from rootless.engine.transports.model import SourceImage
from rootless.errors import ImageError, RpodError
from rootless.image import manifest, reference
from rootless.image.manifest import Descriptor, Manifest
from rootless.kernel import fastjson
from rootless.storage import inflate
from rootless.storage.image_config import ImageConfig
from rootless.storage.image_record import MAX_NAME

if TYPE_CHECKING:
    from rootless.engine.target_file import TargetFile
    from rootless.engine.transports.members import Members
    from rootless.engine.transports.model import Read

MANIFEST = "manifest.json"


class ArchivedImage(SourceImage):
    """An image of such an archive. Its manifest is made up here: uncompressed layers under their diff ids."""

    made_up = True

    def __init__(self, archive: Members, entry: dict[str, Any]) -> None:
        self._archive = archive
        config_name, self._layers = entry["Config"], entry["Layers"]
        raw_config = archive.document(config_name)
        digest = hashlib.sha256(raw_config).hexdigest()
        _check_name(archive, config_name, digest)
        config = ImageConfig.parse(raw_config)
        if len(config.diff_ids) != len(self._layers):
            raise ImageError(
                f"{archive.what}: its {MANIFEST} has {len(self._layers)} layers, the config {len(config.diff_ids)}"
            )
        layers = [
            Descriptor(manifest.DOCKER_LAYER, diff_id, self._size(name))
            for name, diff_id in zip(self._layers, config.diff_ids, strict=True)
        ]
        found = _manifest(Descriptor(manifest.DOCKER_CONFIG, f"sha256:{digest}", len(raw_config)), layers)
        super().__init__(archive.what, found, raw_config, _names(entry.get("RepoTags") or []))

    def open(self, index: int) -> Read:
        """A layer's archive, uncompressed, whatever form it has here."""
        chunks = inflate.open_stream(self._archive.open(self._layers[index]))
        rest = b""

        def read(size: int) -> bytes:
            nonlocal rest
            rest = rest or chunks()
            data, rest = rest[:size], rest[size:]
            return data

        return read

    def _size(self, name: str) -> int:
        """The uncompressed length; only a compressed layer has to be read for it."""
        start = self._archive.open(name)(6)
        if not inflate.is_compressed(start):
            return self._archive.size(name)
        chunks = inflate.open_stream(self._archive.open(name))
        size = 0
        while data := chunks():
            size += len(data)
        return size


def _check_name(archive: Members, name: str, digest: str) -> None:
    """Docker and everybody after it name a config by its digest; another content is a damaged archive."""
    base = os.path.basename(name).removesuffix(".json")
    if len(base) == len(digest) and not base.strip("0123456789abcdef") and base != digest:
        raise ImageError(f"{archive.what}: the config {base[:12]} is damaged: its content has another digest")


def _manifest(config: Descriptor, layers: list[Descriptor]) -> Manifest:
    def entry(descriptor: Descriptor) -> dict[str, Any]:
        return {"mediaType": descriptor.media_type, "size": descriptor.size, "digest": descriptor.digest}

    document = {
        "schemaVersion": 2,
        "mediaType": manifest.DOCKER_MANIFEST,
        "config": entry(config),
        "layers": [entry(layer) for layer in layers],
    }
    raw = json.dumps(document).encode()
    found = manifest.parse(raw, manifest.DOCKER_MANIFEST, f"sha256:{hashlib.sha256(raw).hexdigest()}")
    assert isinstance(found, Manifest)
    return found


def _names(tags: list[str]) -> list[str]:
    """Full names; one that no engine could have given is left out and told of."""
    found = []
    for tag in tags:
        try:
            found.append(full_name(tag))
        except RpodError as error:
            log.warn(f"the archive has an image under an impossible name: {error.message}")
    return found


def full_name(text: str) -> str:
    """A tag from an archive as a full reference: Docker leaves ``docker.io`` out."""
    parsed = reference.parse(text)
    if parsed.digest:
        raise ImageError(f"{text[:200]!r} is no tag")
    name = (parsed if parsed.domain else parsed.at(reference.DOCKER_DOMAIN)).tagged
    if len(name) > MAX_NAME:
        raise ImageError(f"{name[:60]!r}… is longer than {MAX_NAME} characters")
    return name


def read(archive: Members) -> list[ArchivedImage]:
    """The images of an archive. Raises ImageError."""
    try:
        entries = fastjson.loads(archive.document(MANIFEST))
    except fastjson.JSONError as error:
        raise ImageError(f"{archive.what}: {MANIFEST} is not JSON: {error}") from None
    if not isinstance(entries, list) or not entries or not all(_is_entry(entry) for entry in entries):
        raise ImageError(f"{archive.what}: {MANIFEST} does not describe images")
    return [ArchivedImage(archive, entry) for entry in entries]


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, dict) or not isinstance(entry.get("Config"), str):
        return False
    lists = (entry.get("Layers"), entry.get("RepoTags") or [])
    return all(isinstance(item, list) and all(isinstance(text, str) for text in item) for item in lists)


class DockerArchiveTarget:
    """Writes such an archive, of one image or several; layers that they share are in it once."""

    def __init__(self, target: TargetFile) -> None:
        self._target = target
        self._entries: list[dict[str, Any]] = []
        self._written: set[str] = set()

    def put(self, image: SourceImage, names: list[str]) -> None:
        """Add an image under ``names`` (full references)."""
        layers = []
        for index, diff_id in enumerate(image.config.diff_ids):
            name = f"{diff_id[7:]}.tar"
            layers.append(name)
            if name not in self._written:
                self._layer(image, index, name)
                self._written.add(name)
        config = f"{hashlib.sha256(image.raw_config).hexdigest()}.json"
        if config not in self._written:
            self._file(config, image.raw_config)
            self._written.add(config)
        self._entries.append({"Config": config, "RepoTags": names or None, "Layers": layers})

    def _layer(self, image: SourceImage, index: int, name: str) -> None:
        size = image.plain_size(index)
        if size is not None:
            self._header(name, size)
            for data in image.plain(index):
                self._target.write(data)
        else:
            size = self._from_spool(image, index, name)
        self._target.write(bytes(-size % 512))

    def _from_spool(self, image: SourceImage, index: int, name: str) -> int:
        """The header has the length, which only unpacking tells."""
        fd = members.unnamed_file()
        try:
            with os.fdopen(fd, "r+b", closefd=False) as file:
                for data in image.plain(index):
                    file.write(data)
                file.flush()
                size = file.tell()
                self._header(name, size)
                file.seek(0)
                while data := file.read(1 << 20):
                    self._target.write(data)
        finally:
            os.close(fd)
        return size

    def _file(self, name: str, data: bytes) -> None:
        self._header(name, len(data))
        self._target.write(data + bytes(-len(data) % 512))

    def _header(self, name: str, size: int) -> None:
        info = tarfile.TarInfo(name)
        info.size, info.mode = size, 0o644
        self._target.write(info.tobuf(tarfile.PAX_FORMAT))

    def finish(self) -> None:
        """The list of images, and the end of the archive."""
        self._file(MANIFEST, json.dumps(self._entries).encode())
        self._target.write(bytes(1024))

"""``oci:`` and ``oci-archive:``: an image layout (image-spec image-layout.md) as a directory or a tar of it."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol

from rootless import log
from rootless.engine.transports.model import OCI, SourceImage, of_platform, read_all
from rootless.errors import ImageError, NotFoundError, RpodError, UnsupportedError
from rootless.image import manifest, reference
from rootless.image.manifest import Descriptor
from rootless.kernel import fastjson

if TYPE_CHECKING:
    from rootless.engine.transports.blobs import Folder
    from rootless.engine.transports.model import Read
    from rootless.image.manifest import Manifest

INDEX = "index.json"
_LAYOUT = "oci-layout"
_BLOBS = "blobs/sha256/"
_REF_NAME = "org.opencontainers.image.ref.name"
# containerd, Docker and Podman put the full name here, and only the tag into the annotation above.
_FULL_NAME = "io.containerd.image.name"


class _Files(Protocol):
    """What a directory and an archive have in common."""

    what: str

    def has(self, name: str) -> bool:
        """Whether there is such a file."""

    def open(self, name: str) -> Read:
        """Read a file."""

    def document(self, name: str) -> bytes:
        """A small file's content."""


class LayoutImage(SourceImage):
    """An image of a layout."""

    def __init__(self, layout: _Files, found: Manifest, names: list[str]) -> None:
        self._layout = layout
        super().__init__(layout.what, found, _document(layout, found.config), names)

    def open(self, index: int) -> Read:
        """A layer's blob."""
        return self._layout.open(_blob(self.manifest.layers[index].digest))


def _blob(digest: str) -> str:
    return _BLOBS + digest[7:]


def is_layout(layout: _Files) -> bool:
    """Whether it looks like one."""
    return layout.has(INDEX)


def read(layout: _Files, wanted: str = "", platform: str = "") -> list[LayoutImage]:
    """The images of a layout: all, or the one called ``wanted`` (as annotated); of an index the platform's.

    Raises ImageError, NotFoundError naming what there is.
    """
    entries = _entries(layout)
    if wanted:
        chosen = [
            entry for entry in entries if wanted in (_annotation(entry, _REF_NAME), _annotation(entry, _FULL_NAME))
        ]
        if not chosen:
            there = ", ".join(filter(None, (_annotation(entry, _REF_NAME) for entry in entries))) or "no names"
            raise NotFoundError(f"{layout.what} has no image {wanted!r}; it has: {log.printable(there)[:400]}")
        entries = chosen
    elif _is_multi_platform(entries):
        raw = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        return [_resolve(layout, raw, manifest.OCI_INDEX, [], platform)]
    return [_image(layout, entry, platform) for entry in entries]


def _entries(layout: _Files) -> list[dict[str, Any]]:
    if not layout.has(_LAYOUT):
        raise ImageError(f"{layout.what}: the file {_LAYOUT} is missing: this is no OCI image layout")
    try:
        version = fastjson.loads(layout.document(_LAYOUT))
        index = fastjson.loads(layout.document(INDEX))
    except fastjson.JSONError as error:
        raise ImageError(f"{layout.what}: its index is not JSON: {error}") from None
    if not isinstance(version, dict) or not str(version.get("imageLayoutVersion", "")).startswith("1."):
        raise UnsupportedError(f"{layout.what}: an image layout of another version than 1")
    entries = index.get("manifests") if isinstance(index, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ImageError(f"{layout.what}: its index is damaged")
    if not entries:
        raise ImageError(f"{layout.what} has no image")
    return entries


def _is_multi_platform(entries: list[dict[str, Any]]) -> bool:
    """Whether the entries are one image for several platforms, not several images."""
    return len(entries) > 1 and all("platform" in e and not _annotation(e, _REF_NAME) for e in entries)


def _annotation(entry: dict[str, Any], key: str) -> str:
    annotations = entry.get("annotations")
    text = annotations.get(key) if isinstance(annotations, dict) else ""
    return text if isinstance(text, str) else ""


def _image(layout: _Files, entry: dict[str, Any], platform: str) -> LayoutImage:
    descriptor = Descriptor.parse(entry, "manifests")
    return _resolve(layout, _document(layout, descriptor), descriptor.media_type, _names(entry), platform)


def _resolve(layout: _Files, raw: bytes, media_type: str, names: list[str], platform: str) -> LayoutImage:
    found = manifest.parse(raw, media_type, f"sha256:{hashlib.sha256(raw).hexdigest()}")
    chosen = of_platform(found, platform, layout.what, lambda entry: _document(layout, entry))
    return LayoutImage(layout, chosen, names)


def _document(layout: _Files, descriptor: Descriptor) -> bytes:
    return read_all(layout.open(_blob(descriptor.digest)), descriptor, layout.what)


def _names(entry: dict[str, Any]) -> list[str]:
    text = _annotation(entry, _FULL_NAME) or _annotation(entry, _REF_NAME)
    if not text:
        return []
    try:
        return [reference.parse_target(text).tagged]
    except RpodError as error:
        log.warn(f"the image has an impossible name: {error.message}")
        return []


class LayoutTarget:
    """Writes images into a layout directory; what is there already stays, but for the same name."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        folder.make(_BLOBS)
        if not folder.has(_LAYOUT):
            folder.write(_LAYOUT, b'{"imageLayoutVersion": "1.0.0"}')

    def put(self, image: SourceImage, name: str) -> None:
        """Add an image, annotated with ``name`` ("" for none)."""
        layers = self._folder.put_layers(_BLOBS, image)
        raw, media_type = image.document(layers, OCI)
        for data in (image.raw_config, raw):
            self._folder.write(_BLOBS + hashlib.sha256(data).hexdigest(), data)
        entry: dict[str, Any] = {
            "mediaType": media_type,
            "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}",
            "size": len(raw),
        }
        if name:
            entry["annotations"] = {_REF_NAME: name}
        self._write_index(entry, name)

    def _write_index(self, entry: dict[str, Any], name: str) -> None:
        entries = _entries(self._folder) if self._folder.has(INDEX) else []
        others = [
            old
            for old in entries
            if _annotation(old, _REF_NAME) != name or (not name and old.get("digest") != entry["digest"])
        ]
        document = {"schemaVersion": 2, "mediaType": manifest.OCI_INDEX, "manifests": [*others, entry]}
        self._folder.write(INDEX, json.dumps(document).encode())

"""An image that is made here, of a base and one more layer: its documents, and how it comes into the store."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from rootless import paths
from rootless.engine import budget, image_documents
from rootless.errors import UsageError
from rootless.image import manifest, progress
from rootless.storage import unused_layers
from rootless.storage.image_record import NewImage
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore, Unpacker
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.storage.image_record import Image
    from rootless.storage.layers import LayerInfo, Sink

FORMATS = ("oci", "docker")
_KEPT = ("architecture", "os", "variant", "os.version", "os.features")


class Draft:
    """An image to be: what of ``base`` stays, the ``config`` object, and one step of history."""

    def __init__(self, base: Image | None, *, format: str = "oci") -> None:
        if format not in FORMATS:
            raise UsageError(f"--format {format}: there is no such format", ", ".join(FORMATS))
        self.docker = format == "docker"
        self.chain: list[str] = list(base.layers) if base else []
        self.author = ""
        self.comment = ""
        self.created_by = ""
        self.annotations: dict[str, str] = {}
        if base is None:
            platform = manifest.native_platform()
            self._kept = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
            self.config: dict[str, Any] = {}
            self._diff_ids: list[str] = []
            self._history: list[dict[str, Any]] = []
            self._layers: list[dict[str, Any]] = []
            return
        document = json.loads(image_documents.raw_config_of(base))
        self._kept = {key: document[key] for key in _KEPT if document.get(key)}
        self.config = dict(document.get("config") or {})
        self._diff_ids = list(base.config.diff_ids)
        self._history = list(document.get("history") or [])
        listed = json.loads(image_documents.manifest_of(base).raw).get("layers", [])
        self._layers = [self._converted(layer) for layer in listed]

    def set_platform(self, *, os: str = "", architecture: str = "", variant: str = "") -> None:
        """What the image is for, where it is not this machine."""
        asked = {"os": os, "architecture": architecture, "variant": variant}
        self._kept.update({key: value for key, value in asked.items() if value})
        if architecture and not variant:
            self._kept.pop("variant", None)

    def flatten(self) -> None:
        """Forget the base's layers and history: one layer is to hold everything."""
        self.chain, self._diff_ids, self._history, self._layers = [], [], [], []

    def put_layer(self, layer: LayerInfo) -> None:
        """Put a new, uncompressed layer on top."""
        self.chain.append(layer.chain_id)
        self._diff_ids.append(layer.diff_id)
        media_type = manifest.layer_type("", docker=self.docker)
        self._layers.append({"mediaType": media_type, "digest": layer.diff_id, "size": layer.size_bytes})

    def _converted(self, layer: dict[str, Any]) -> dict[str, Any]:
        """A base's descriptor under the type that this format has for it."""
        form = manifest.compression_of(layer["mediaType"])
        return {**layer, "mediaType": manifest.layer_type(form, docker=self.docker)}

    def documents(self) -> NewImage:
        """The image as the store takes it."""
        created = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()) + f".{time.time_ns() % 1_000_000_000:09d}Z"
        step = {"created": created, "created_by": self.created_by, "author": self.author, "comment": self.comment}
        config = {
            "created": created,
            "author": self.author,
            "comment": self.comment if self.docker else "",  # OCI has one in the history only
            **self._kept,
            "config": {key: value for key, value in self.config.items() if value},
            "rootfs": {"type": "layers", "diff_ids": self._diff_ids},
            "history": [*self._history, {key: value for key, value in step.items() if value}],
        }
        raw_config = json.dumps({key: value for key, value in config.items() if value}).encode()
        media_type = manifest.DOCKER_MANIFEST if self.docker else manifest.OCI_MANIFEST
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": {
                "mediaType": manifest.DOCKER_CONFIG if self.docker else manifest.OCI_CONFIG,
                "digest": f"sha256:{hashlib.sha256(raw_config).hexdigest()}",
                "size": len(raw_config),
            },
            "layers": self._layers,
        }
        return NewImage(raw_config, json.dumps(document).encode(), media_type, self.chain)


def store(draft: Draft, names: list[str], fill: Callable[[Sink], object], *, told: str, quiet: bool) -> Image:
    """Put the layer that ``fill`` writes on top of ``draft`` and store the image under ``names``.

    ``told`` is the progress's first line. Nothing is left when something fails. Raises StorageError,
    and what ``fill`` raises.
    """
    data = paths.data()
    Staging(data).sweep()
    shown = progress.choose(quiet=quiet)
    shown.message(told)
    with Unpacker(LayerStore(data)) as unpacker:
        sink = unpacker.begin_new(draft.chain[-1] if draft.chain else "")
        try:
            fill(sink)
            draft.put_layer(sink.finish())
        except BaseException:
            sink.abort()
            raise
    shown.message("Writing manifest to image destination")
    shown.close()
    images = ImageStore(data)
    try:
        image = images.add(draft.documents(), names)
    except BaseException:
        unused_layers.give_back(images, draft.chain[-1:])
        raise
    budget.keep()
    return image

"""The image in the package: ``hello`` runs without network and registry.

It is made on the spot from the static helper ``rpod-init``, whose ``hello`` call greets,
through the same unpack path as any layer, and made again when the helper has changed.
"""

from __future__ import annotations

import os

from rootless import paths
from rootless.engine.builtin_names import NAME, SHORT, is_name
from rootless.errors import StorageError, os_reason
from rootless.kernel import digest, fastjson, files
from rootless.storage.images import ImageStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.storage.image_record import Image, NewImage

_LABEL = "io.rpod.builtin"


def ensure(name: str) -> Image | None:
    """The built-in image if ``name`` means it, built where it is missing or old; else None.

    ``hello`` means another image as soon as one is stored under that name.
    """
    if not is_name(name):
        return None
    store = ImageStore(paths.data())
    if name in SHORT and _is_taken(store):
        return None
    binary = _read_binary()
    binary_digest = digest.sha256_hex(binary)
    image = store.find(NAME)
    if image is None or image.config.labels.get(_LABEL) != binary_digest:
        image = store.add(_build(binary, binary_digest), [NAME])
        image.found_as = NAME
    return image


def _is_taken(store: ImageStore) -> bool:
    """Whether a stored image has the short name in earnest."""
    from rootless import config
    from rootless.image import reference

    wanted = reference.candidates(reference.parse("hello"), config.load().registries.search)
    return any(store.find(candidate.stored) for candidate in wanted)


def binary_path() -> str:
    """Where the static helper is."""
    import rootless

    return f"{os.path.dirname(rootless.__file__)}/_bin/rpod-init"


def _read_binary() -> bytes:
    try:
        return files.read_file(binary_path())
    except OSError as error:
        raise StorageError(
            f"the built-in image cannot be made: {os_reason(error)}", "install rpod again, with its helpers compiled"
        ) from error


def _build(binary: bytes, binary_digest: str) -> NewImage:
    """Unpack the layer and return the image's documents. The helper's own time is the image's."""
    import time

    from rootless.image import manifest
    from rootless.storage.image_record import NewImage
    from rootless.storage.layers import LayerStore, Unpacker

    modified_s = int(os.stat(binary_path()).st_mtime)
    layer = _layer_tar(binary, modified_s)
    diff_id = f"sha256:{digest.sha256_hex(layer)}"
    layers = LayerStore(paths.data())
    if not layers.has(diff_id):
        with Unpacker(layers) as unpacker:
            sink = unpacker.begin(diff_id, diff_id, "", manifest.OCI_LAYER, diff_id)
            try:
                sink.write(layer)
                sink.finish()
            except BaseException:
                sink.abort()
                raise
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(modified_s))
    config = fastjson.dumps(_config(diff_id, binary_digest, created)).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_MANIFEST,
        "config": _descriptor(manifest.OCI_CONFIG, config),
        "layers": [_descriptor(manifest.OCI_LAYER, layer)],
    }
    raw = fastjson.dumps(document).encode()
    return NewImage(config, raw, manifest.OCI_MANIFEST, [diff_id])


def _config(diff_id: str, binary_digest: str, created: str) -> dict[str, object]:
    from rootless.image import manifest

    platform = manifest.native_platform()
    step = {"created": created, "created_by": "rpod: the static helper", "comment": "built in"}
    return {
        "created": created,
        "os": platform.os,
        "architecture": platform.architecture,
        "config": {"Cmd": ["/hello", "hello"], "Labels": {_LABEL: binary_digest}},
        "rootfs": {"type": "layers", "diff_ids": [diff_id]},
        "history": [step],
    }


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest.sha256_hex(content)}", "size": len(content)}


def _layer_tar(binary: bytes, modified_s: int) -> bytes:
    """A layer with the one file ``/hello``, the same bytes for the same helper."""
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo("hello")
        entry.mode = 0o755
        entry.size = len(binary)
        entry.mtime = modified_s
        archive.addfile(entry, io.BytesIO(binary))
    return buffer.getvalue()

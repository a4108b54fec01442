"""An OCI image layout of given layers (image-spec, image-layout.md)."""

from __future__ import annotations

import gzip
import hashlib
import json
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_PREFIX = "application/vnd.oci.image"


def write(directory: Path, trees: list[bytes], config: dict[str, object], tag: str = "latest") -> str:
    """Write an image of the uncompressed tars ``trees``, base first; returns ``oci:DIRECTORY:TAG`` for skopeo."""
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    created = "2024-01-01T00:00:00Z"
    image = {
        "created": created,
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tree).hexdigest()}" for tree in trees]},
        "history": [{"created": created, "created_by": "tests"} for _ in trees],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_PREFIX}.manifest.v1+json",
        "config": blob(json.dumps(image).encode(), f"{_PREFIX}.config.v1+json"),
        "layers": [blob(gzip.compress(tree, 1, mtime=0), f"{_PREFIX}.layer.v1.tar+gzip") for tree in trees],
    }
    entry = blob(json.dumps(manifest).encode(), f"{_PREFIX}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{directory}:{tag}"

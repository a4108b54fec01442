"""A small image of Debian's static busybox, as an OCI image layout (image-spec, image-layout.md)."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import platform
import subprocess
import tarfile
from pathlib import Path

BUSYBOX = "/bin/busybox"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
PASSWD = (
    "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\nuser:x:1000:1000::/home/user:/bin/sh\n"
)
GROUP = "root:x:0:\nnogroup:x:65534:\nuser:x:1000:\nextra:x:2000:user\n"
DIRECTORIES = {"bin": 0o755, "etc": 0o755, "root": 0o700, "tmp": 0o1777, "var": 0o755, "var/www": 0o755, "home": 0o755}


def _add(archive: tarfile.TarFile, name: str, data: bytes = b"", **fields: object) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    info.mode = 0o644
    for key, value in fields.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(data))


def layer() -> bytes:
    """The root file system as an uncompressed tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, mode in DIRECTORIES.items():
            _add(archive, name, type=tarfile.DIRTYPE, mode=mode)
        _add(archive, "home/user", type=tarfile.DIRTYPE, mode=0o755, uid=1000, gid=1000)
        _add(archive, "bin/busybox", Path(BUSYBOX).read_bytes(), mode=0o755)
        applets = subprocess.run([BUSYBOX, "--list"], capture_output=True, text=True, check=True).stdout.split()
        for applet in applets:
            if applet != "busybox":
                _add(archive, f"bin/{applet}", type=tarfile.SYMTYPE, linkname="busybox")
        _add(archive, "etc/passwd", PASSWD.encode())
        _add(archive, "etc/group", GROUP.encode())
        _add(archive, "var/www/index.html", b"<h1>hello from a container</h1>\n")
    return buffer.getvalue()


def write_layout(directory: Path, config: dict[str, object] | None = None, tag: str = "latest") -> str:
    """Write an image layout and return its name for skopeo (``oci:DIRECTORY:TAG``).

    ``config`` is laid over the image's own ``config`` object (Cmd, Env, User, Volumes …).
    """
    blobs = directory / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def blob(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    tree = layer()
    image = {
        "created": "2024-01-01T00:00:00Z",
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Env": ["PATH=/bin", "ORIGIN=image"], "Cmd": ["sh"], **(config or {})},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tree).hexdigest()}"]},
        "history": [{"created": "2024-01-01T00:00:00Z", "created_by": "busybox"}],
    }
    prefix = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{prefix}.manifest.v1+json",
        "config": blob(json.dumps(image).encode(), f"{prefix}.config.v1+json"),
        "layers": [blob(gzip.compress(tree, 6, mtime=0), f"{prefix}.layer.v1.tar+gzip")],
    }
    entry = blob(json.dumps(manifest).encode(), f"{prefix}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": tag}
    (directory / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    (directory / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return f"oci:{directory}:{tag}"

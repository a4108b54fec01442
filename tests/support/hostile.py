"""Images with hostile content: busybox below, and one more layer of whatever a test writes."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from functools import cache

from support import busybox
from support.rogue_registry import ARCHITECTURE, CONFIG, LAYER, MANIFEST, RogueRegistry, descriptor, digest_of

# With `-v /usr:/usr:ro` these links give a container the host's Python, for probes that need system calls.
HOST_PYTHON = {"lib": "usr/lib", "lib64": "usr/lib64", "usr": None}


@cache
def base_layer() -> bytes:
    """The busybox layer, uncompressed."""
    return busybox.layer()


class Entry:
    """One entry of the hostile layer: a file by default, a link with ``link``, else a tar type."""

    def __init__(self, data: bytes = b"", *, link: str = "", kind: bytes = tarfile.REGTYPE, mode: int = 0o755) -> None:
        self.data = data
        self.link = link
        self.kind = tarfile.SYMTYPE if link else kind
        self.mode = mode


FIFO = Entry(kind=tarfile.FIFOTYPE)
DIRECTORY = Entry(kind=tarfile.DIRTYPE)


def layer(entries: dict[str, Entry]) -> bytes:
    """An uncompressed layer of ``entries``, by path; what the base has there is whited out."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, entry in entries.items():
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.linkname, info.size = entry.kind, entry.mode, entry.link, len(entry.data)
            archive.addfile(info, io.BytesIO(entry.data))
    return buffer.getvalue()


def python_entries() -> dict[str, Entry]:
    """What an image needs to run the host's Python from ``-v /usr:/usr:ro``."""
    return {name: Entry(link=target) if target else DIRECTORY for name, target in HOST_PYTHON.items()}


def serve(registry: RogueRegistry, name: str, entries: dict[str, Entry], config: dict[str, object]) -> str:
    """Put the image into ``registry``; returns its full reference."""
    trees = [base_layer(), *([layer(entries)] if entries else [])]
    image = {
        "created": "2024-01-01T00:00:00Z",
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"], **config},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tree) for tree in trees]},
    }
    document = json.dumps(image).encode()
    packed = [gzip.compress(tree, 1, mtime=0) for tree in trees]
    for blob in (document, *packed):
        registry.blob(name, blob)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, document),
        "layers": [descriptor(LAYER, blob) for blob in packed],
    }
    registry.manifest(name, "latest", manifest)
    return f"{registry.address}/{name}:latest"

"""Many images and containers, made as cheaply as both engines allow."""

from __future__ import annotations

import hashlib
import io
import json
import os
import platform
import tarfile
from typing import TYPE_CHECKING

from support.layout import ARCHITECTURES

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Engine

AT_ONCE = os.cpu_count() or 2


def archive(path: Path, first: int, count: int) -> Path:
    """Write a docker-archive of ``count`` images ``many:N`` that share one small layer, and differ in a label."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tree:
        _member(tree, "file", b"many")
    data = layer.getvalue()
    entries = []
    with tarfile.open(path, "w") as whole:
        _member(whole, "layer.tar", data)
        for number in range(first, first + count):
            config = {
                "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "created": f"2024-01-01T{number // 3600 % 24:02}:{number // 60 % 60:02}:{number % 60:02}Z",
                "config": {"Cmd": ["/file"], "Labels": {"number": str(number)}},
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(data).hexdigest()}"]},
            }
            raw = json.dumps(config).encode()
            name = f"{hashlib.sha256(raw).hexdigest()}.json"
            _member(whole, name, raw)
            entries.append({"Config": name, "RepoTags": [f"localhost/many:{number}"], "Layers": ["layer.tar"]})
        _member(whole, "manifest.json", json.dumps(entries).encode())
    return path


def _member(whole: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    whole.addfile(info, io.BytesIO(data))


def load(engine: Engine, folder: Path, first: int, count: int) -> None:
    """Have an engine store the images ``first`` to ``first + count - 1``."""
    path = archive(folder / f"many-{engine.name}.tar", first, count)
    engine.output("load", "-q", "-i", str(path))
    path.unlink()


def create(engine: Engine, image: str, first: int, count: int) -> None:
    """Create containers ``many-N``, several at a time."""
    numbers = range(first, first + count)
    engine.run_many(
        [["create", "--network", "none", "--name", f"many-{number}", image, "true"] for number in numbers], AT_ONCE
    )

"""A real Debian root file system, made by mmdebstrap once and kept."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

from support import layout

RECIPE = ("--mode=unshare", "--variant=important", "--include=less", "bookworm")
SYSTEM = ("--mode=unshare", "--variant=minbase", "--include=systemd-sysv,dbus", "bookworm")


def tarball(recipe: tuple[str, ...] = RECIPE) -> Path:
    """The root file system as a tar, from the cache where it was made before."""
    cache = Path(os.environ.get("RPOD_TEST_CACHE") or Path.home() / ".cache" / "rpod-tests")
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"debian-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}.tar"
    if not path.exists():
        fresh = path.with_suffix(".new.tar")
        argv = ["mmdebstrap", *recipe, str(fresh)]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=900)
        fresh.rename(path)
    return path


def _split(source: Path) -> list[bytes]:
    """The same files in three layers: documentation, libraries, and everything else below them."""
    buffers = [io.BytesIO() for _ in range(3)]
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT)) for buffer in buffers
        ]
        archive = stack.enter_context(tarfile.open(source))
        for member in archive:
            name = member.name.removeprefix("./")
            where = 1 if name.startswith("usr/share/") else 2 if name.startswith("usr/lib/") else 0
            # A hard link stays in the layer of its file, or the layer would have no such file.
            if member.islnk():
                target = member.linkname.removeprefix("./")
                where = 1 if target.startswith("usr/share/") else 2 if target.startswith("usr/lib/") else 0
            writers[where].addfile(member, archive.extractfile(member) if member.isreg() else None)
    return [buffer.getvalue() for buffer in buffers]


def write_layout(directory: Path) -> str:
    """Write the image and return its name for skopeo."""
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return layout.write(directory, _split(tarball()), {"Env": [path], "Cmd": ["bash"]})

"""A real Debian root file system, made by mmdebstrap once and kept."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

from support import layout

RECIPE = ("--mode=unshare", "--variant=important", "--include=less,git,perl,python3,vim", "bookworm")
SYSTEM = ("--mode=unshare", "--variant=minbase", "--include=systemd-sysv,dbus", "bookworm")


def tarball(recipe: tuple[str, ...] = RECIPE) -> Path:
    """The root file system as a tar, from the cache where it was made before."""
    cache = Path(os.environ.get("RPOD_TEST_CACHE") or Path.home() / ".cache" / "rpod-tests")
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / f"debian-{hashlib.sha256(repr(recipe).encode()).hexdigest()[:12]}.tar"
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another run of the tests may be making it
        if not path.exists():
            fresh = path.with_suffix(".new.tar")
            argv = ["mmdebstrap", *recipe, str(fresh)]
            subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=900)
            fresh.rename(path)
    return path


# What lies where it lies in the layers above the first, which has all else.
_LAYERS = ("usr/share/", "usr/lib/", "usr/share/doc/", "usr/bin/")


def _layer_of(name: str) -> int:
    fitting = [prefix for prefix in _LAYERS if name.removeprefix("./").startswith(prefix)]
    return 1 + _LAYERS.index(max(fitting, key=len)) if fitting else 0


def _split(source: Path) -> list[bytes]:
    """The same files in five layers."""
    buffers = [io.BytesIO() for _ in range(1 + len(_LAYERS))]
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT)) for buffer in buffers
        ]
        archive = stack.enter_context(tarfile.open(source))
        for member in archive:
            # A hard link stays in the layer of its file, or the layer would have no such file.
            where = _layer_of(member.linkname if member.islnk() else member.name)
            writers[where].addfile(member, archive.extractfile(member) if member.isreg() else None)
    return [buffer.getvalue() for buffer in buffers]


def write_layout(directory: Path) -> str:
    """Write the image and return its name for skopeo."""
    path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return layout.write(directory, _split(tarball()), {"Env": [path], "Cmd": ["bash"]})

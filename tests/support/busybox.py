"""A small image of Debian's static busybox, as an OCI image layout (image-spec, image-layout.md)."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

from support import layout

BUSYBOX = "/bin/busybox"
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
    """Write busybox's image layout and return its name for skopeo; ``config`` is laid over its config object."""
    own = {"Env": ["PATH=/bin", "ORIGIN=image"], "Cmd": ["sh"], **(config or {})}
    return layout.write(directory, [layer()], own, tag)

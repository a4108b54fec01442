"""Tar archives for the storage tests, and layers unpacked from them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from typing import TYPE_CHECKING

from rootless.kernel import userns
from rootless.storage.layers import LayerStore, Unpacker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rootless.storage.layers import LayerInfo

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def member(name: str | bytes, data: bytes = b"", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    """A member of a tar archive; ``fields`` are TarInfo's (type, linkname, mode, uid, gid, mtime, pax_headers)."""
    info = tarfile.TarInfo(name.decode("utf-8", "surrogateescape") if isinstance(name, bytes) else name)
    info.mode, info.mtime, info.size = 0o644, 1_000_000_000, len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    if info.isdir() and "mode" not in fields:
        info.mode = 0o755
    return info, data


def directory(name: str, **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, **fields)


def symlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hardlink(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def tar(*members: tuple[tarfile.TarInfo, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    """An archive of ``members``, in order, names as they are."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def unpack(store: LayerStore, data: bytes, *, parent: str = "", diff_id: str = "", packed: bytes = b"") -> LayerInfo:
    """Unpack one layer; its chain id is its diff id. ``packed`` is sent instead of the gzipped ``data``."""
    diff_id = diff_id or digest(data)
    with Unpacker(store) as unpacker:
        sink = unpacker.begin(digest(data), diff_id, parent, GZIP, "sha256:" + 64 * "0")
        try:
            sink.write(packed or gzip.compress(data, 1))
            return sink.finish()
        except BaseException:
            sink.abort()
            raise


def inside(work: Callable[[], object]) -> object:
    """Look at a tree as the container does: as root of the default user namespace."""
    return userns.call_inside(work)


def names(root: Path | str) -> list[str]:
    """Every path below ``root``, seen from inside."""
    import os

    def walk() -> list[str]:
        found = []
        for folder, folders, files in os.walk(root):
            found += [os.path.relpath(os.path.join(folder, name), root) for name in [*folders, *files]]
        return sorted(found)

    result = inside(walk)
    assert isinstance(result, list)
    return result

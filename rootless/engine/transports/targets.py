"""The archives and directories that images are written to: what ``save`` and ``image copy`` have in common."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rootless import paths
from rootless.engine.target_file import TargetFile
from rootless.engine.transports.blobs import Folder
from rootless.engine.transports.directory import DirectoryTarget
from rootless.engine.transports.docker_archive import DockerArchiveTarget
from rootless.engine.transports.layout import LayoutTarget
from rootless.engine.transports.model import AS_IS
from rootless.storage.pack import Packer
from rootless.storage.staging import Staging

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.engine.transports.model import SourceImage

    Put = Callable[[SourceImage, list[str]], None]

_HINT = "rpod save IMAGE > image.tar, or --output FILE"


@contextmanager
def opened(kind: str, path: str, form: str = AS_IS) -> Iterator[Put]:
    """A function that writes an image under names to ``path``, which is whole at the end of the ``with`` block.

    ``kind`` is docker-archive, oci-archive ("" is standard output for both), oci or dir, which takes one image and
    the ``form`` of its manifest. Raises UsageError, ImageError, StorageError.
    """
    if kind == "docker-archive":
        with TargetFile(path, _HINT) as file:
            archive = DockerArchiveTarget(file)
            yield archive.put
            archive.finish()
    elif kind == "oci-archive":
        with TargetFile(path, _HINT) as file, Staging(paths.data()).make() as staged:
            with opened("oci", staged.path) as put:
                yield put
            _pack_layout(staged.path, file)
    else:
        folder = Folder(path, make=True)
        try:
            yield _into_layout(folder) if kind == "oci" else lambda image, _: DirectoryTarget(folder, form).put(image)
        finally:
            folder.close()


def _into_layout(folder: Folder) -> Put:
    layout = LayoutTarget(folder)

    def put(image: SourceImage, names: list[str]) -> None:
        for name in names or [""]:
            layout.put(image, name)

    return put


def _pack_layout(directory: str, file: TargetFile) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        packer = Packer(file.write, lambda _uid, _gid: (0, 0))
        for entry in (b"oci-layout", b"index.json", b"blobs"):
            packer.add(fd, entry, entry)
        packer.finish()
    finally:
        os.close(fd)

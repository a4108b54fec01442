"""``load``: images out of an archive or a directory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rootless.engine import budget
from rootless.engine.transports import directory, docker_archive, layout, local
from rootless.engine.transports.blobs import Folder
from rootless.engine.transports.members import Members
from rootless.errors import ImageError
from rootless.image import progress
from rootless.state import events

if TYPE_CHECKING:
    from rootless.engine.transports.model import SourceImage


def load(path: str, *, quiet: bool = False) -> list[str]:
    """Store every image of the archive or directory ``path`` ("" is standard input); returns names, or ids without.

    What it is shows itself: docker-archive, oci-archive, an OCI layout or a docker-dir, in any
    compression. Raises UsageError, ImageError, StorageError; images before a damaged one stay.
    """
    shown = progress.choose(quiet=quiet)
    source: Folder | Members
    source = Folder(path) if path and os.path.isdir(path) else Members(path)
    try:
        images = _images(source)
        loaded = []
        for image in images:
            shown.message(f"Loading {', '.join(image.names) or image.manifest.config.digest[7:19]}")
            stored = local.store(image, image.names)
            loaded += image.names or [stored.id]
            events.of_image("loadfromarchive", stored.id, path)
        budget.keep()
        return loaded
    finally:
        shown.close()
        source.close()


def _images(source: Folder | Members) -> list[SourceImage]:
    if isinstance(source, Folder):
        if directory.is_directory(source):
            return [directory.read(source)]
        if layout.is_layout(source):
            return [*layout.read(source)]
        raise ImageError(f"{source.what} is neither an OCI image layout nor a docker-dir")
    # Docker writes both lists into one archive; the names are in its own.
    if source.has(docker_archive.MANIFEST):
        return [*docker_archive.read(source)]
    if layout.is_layout(source):
        return [*layout.read(source)]
    raise ImageError(
        f"{source.what} has neither manifest.json nor index.json: it holds no image",
        "a file system's archive becomes an image by: rpod import",
    )

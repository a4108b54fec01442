"""Names of places for images, as containers-transports(5) spells them: ``docker://NAME``, ``oci:PATH:NAME`` …"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rootless.engine.transports import directory, docker_archive, layout, remote
from rootless.engine.transports.blobs import Folder
from rootless.engine.transports.local import StoredImage
from rootless.engine.transports.members import Members
from rootless.errors import NotFoundError, UnsupportedError, UsageError
from rootless.kernel.numbers import decimal

if TYPE_CHECKING:
    from rootless.engine.transports.model import SourceImage
    from rootless.image.access import Access

KINDS = ("docker", "oci", "oci-archive", "docker-archive", "dir", "containers-storage")
_REFUSED = ("docker-daemon", "ostree", "sif", "tarball", "atomic")


class Place:
    """``kind`` is one of KINDS, ``path`` a path or (docker, containers-storage) a name, ``name`` the image in it."""

    __slots__ = ("kind", "name", "path", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        kind, colon, rest = text.partition(":")
        if colon and kind in _REFUSED:
            raise UnsupportedError(f"{kind}: is not supported", f"use one of: {', '.join(KINDS)}")
        self.kind, self.path, self.name = "containers-storage", text, ""
        if not colon or kind not in KINDS:
            return
        self.kind, self.path = kind, rest
        if kind == "docker":
            if not rest.startswith("//") or not rest[2:]:
                raise UsageError(f"{text}: it is docker://NAME")
            self.path = rest[2:]
        elif kind in ("oci", "oci-archive", "docker-archive"):
            self.path, _, self.name = rest.partition(":")
        if not self.path:
            raise UsageError(f"{text}: a path is missing after {kind}:")


class Source:
    """An open source; close it in the end. ``image`` is the one image that the place names."""

    def __init__(self, place: Place, access: Access, platform: str = "") -> None:
        self._holds: Folder | Members | SourceImage | None = None
        try:
            self.image = self._read(place, access, platform)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Give back files and connections."""
        if self._holds is not None:
            self._holds.close()

    def _read(self, place: Place, access: Access, platform: str) -> SourceImage:
        if place.kind == "containers-storage":
            from rootless.engine import images

            image = images.resolve(place.path)
            return StoredImage(image, [image.found_as] if image.found_as else [])
        if place.kind == "docker":
            self._holds = found = remote.read(place.path, access, platform)
            return found
        if place.kind in ("oci", "dir"):
            self._holds = folder = Folder(place.path)
            if place.kind == "dir":
                return directory.read(folder, platform)
            return _only(place, [*layout.read(folder, place.name, platform)])
        if os.path.isdir(place.path):
            raise UsageError(f"{place.path} is a directory, no archive", f"oci:{place.path} or dir:{place.path}")
        self._holds = archive = Members(place.path)
        if place.kind == "oci-archive":
            return _only(place, [*layout.read(archive, place.name, platform)])
        return _named(place, [*docker_archive.read(archive)])


def _only(place: Place, found: list[SourceImage]) -> SourceImage:
    if len(found) > 1:
        names = ", ".join(name for image in found for name in image.names or ["one without a name"])
        raise UsageError(f"{place.text} has {len(found)} images: {names[:400]}", f"name one: {place.text}:NAME")
    return found[0]


def _named(place: Place, found: list[SourceImage]) -> SourceImage:
    """Of a docker-archive: by name, or by ``@NUMBER``."""
    if not place.name:
        return _only(place, found)
    if place.name.startswith("@") and place.name[1:].isdecimal():
        number = decimal(place.name[1:], len(found) - 1)
        if number is not None:
            return found[number]
    else:
        wanted = docker_archive.full_name(place.name)
        for image in found:
            if wanted in image.names:
                return image
    names = ", ".join(name for image in found for name in image.names) or "no names"
    raise NotFoundError(f"{place.path} has no image {place.name}; it has: {names[:400]}")

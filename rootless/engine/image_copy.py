"""``image copy``: an image from one place to another, and not through the store unless that is one of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rootless import log
from rootless.engine import budget
from rootless.engine.transports import local, targets
from rootless.engine.transports.docker_archive import full_name
from rootless.engine.transports.places import Place, Source
from rootless.engine.transports.remote import RemoteTarget, target_reference
from rootless.errors import ImageError, NotFoundError, UsageError
from rootless.image import manifest, progress, reference
from rootless.state import events

if TYPE_CHECKING:
    from rootless.engine.transports.model import SourceImage
    from rootless.image.access import Access, PullOptions
    from rootless.storage.image_record import Image


def copy(source: str, target: str, access: Access, *, platform: str = "", quiet: bool = False) -> None:
    """Copy the image at ``source`` to ``target``; of an index the one for ``platform``.

    Blobs and manifest keep their bytes wherever the target's kind allows it. Raises UsageError,
    ImageError, RegistryError, StorageError, NotFoundError.
    """
    destination = Place(target)
    _check(destination)
    opened = Source(Place(source), access, platform)
    shown = progress.choose(quiet=quiet)
    shown.message(f"Copying {source} to {target}")
    try:
        _put(opened.image, destination, access)
    finally:
        shown.close()
        opened.close()


def take(text: str, wanted: PullOptions) -> Image:
    """Store the image at the place ``text`` under the names that it brings along, as ``load`` does, and return it.

    Layers that are there are not read. Raises as ``copy``, and ImageError for an image of another platform.
    """
    if wanted.policy == "never":
        raise NotFoundError(f"{text} is not an image that is here, and the policy is never", f"rpod pull {text}")
    opened = Source(Place(text), wanted.access, wanted.platform)
    shown = progress.choose(quiet=wanted.quiet)
    shown.message(f"Copying {text}")
    try:
        found = opened.image
        if wanted.platform and manifest.parse_platform(wanted.platform).rank(found.platform) is None:
            raise ImageError(f"{text} is for {log.printable(str(found.platform))[:80]}, not for {wanted.platform}")
        image = local.store(found, found.names)
        image.found_as = next(iter(found.names), "")
    finally:
        shown.close()
        opened.close()
    events.of_image("pull", image.id, text)
    budget.keep()
    return image


def _check(target: Place) -> None:
    """What must be wrong, before anything is fetched."""
    if target.kind == "containers-storage":
        reference.parse_target(target.path)
    if target.kind == "docker":
        target_reference(target.path)
    if target.kind == "docker-archive" and os.path.exists(target.path):
        raise UsageError(f"{target.path} exists already", "a docker-archive is written anew: remove it first")
    if target.kind == "docker-archive" and target.name:
        full_name(target.name)


def _put(image: SourceImage, target: Place, access: Access) -> None:
    if target.kind == "containers-storage":
        local.store(image, [reference.parse_target(target.path).tagged])
    elif target.kind == "docker":
        remote = RemoteTarget(target.path, access)
        try:
            remote.put(image)
        finally:
            remote.close()
    else:
        names = [target.name] if target.name else []
        with targets.opened(target.kind, target.path) as put:
            put(image, [full_name(name) for name in names] if target.kind == "docker-archive" else names)


def describe(text: str, access: Access, platform: str = "") -> dict[str, object]:
    """``image inspect`` of an image that is not in the store: only its documents are fetched."""
    from rootless.engine import image_report

    opened = Source(Place(text), access, platform)
    try:
        return image_report.describe_source(opened.image)
    finally:
        opened.close()

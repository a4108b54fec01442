"""``manifest``: lists of images for several platforms, made here and pushed as an index."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rootless import config, paths
from rootless.engine import images, target_file
from rootless.engine.transports import remote
from rootless.engine.transports.places import Place, Source
from rootless.engine.transports.remote import RemoteTarget
from rootless.errors import ConflictError, NotFoundError, UnsupportedError, UsageError
from rootless.image import manifest, progress, reference
from rootless.image.manifest import Index
from rootless.storage.images import ImageStore
from rootless.storage.lists import ImageList, ListStore

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.image.access import Access, PullOptions
    from rootless.image.reference import Reference
    from rootless.storage.image_record import Image

Entry = dict[str, Any]
FORMATS = ("oci", "v2s2")


@dataclass(kw_only=True)
class Changes:
    """What ``add`` and ``annotate`` say about an entry; "" and [] say nothing."""

    annotation: list[str] = field(default_factory=list)
    arch: str = ""
    features: list[str] = field(default_factory=list)
    os: str = ""
    os_features: list[str] = field(default_factory=list)
    os_version: str = ""
    variant: str = ""

    def apply(self, entry: Entry) -> None:
        """Change ``entry``. Raises UsageError."""
        platform = entry.setdefault("platform", {})
        for key, value in (
            ("os", self.os),
            ("architecture", self.arch),
            ("variant", self.variant),
            ("os.version", self.os_version),
            ("os.features", self.os_features),
            ("features", self.features),
        ):
            if value:
                platform[key] = value
        for text in self.annotation:
            key, equals, value = text.partition("=")
            if not key or not equals:
                raise UsageError(f"--annotation {text}: it is KEY=VALUE")
            entry.setdefault("annotations", {})[key] = value


def resolve(name: str) -> ImageList:
    """The list that ``name`` means. Raises NotFoundError."""
    found = find(name)
    if found is None:
        raise NotFoundError(f"{name}: no such list", f"rpod manifest create {name}")
    return found


def find(name: str) -> ImageList | None:
    """The list that ``name`` (or the beginning of an id) means, or None."""
    store = ListStore(paths.data())
    for candidate in reference.candidates(reference.parse(name), config.load().registries.search):
        if found := store.find(candidate.stored):
            return found
    if len(name) >= 3 and not name.strip("0123456789abcdef"):
        return next((item for item in map(store.find, store.names()) if item and item.id.startswith(name)), None)
    return None


def image_for(found: ImageList, wanted: PullOptions) -> Image:
    """The image that serves ``wanted.platform``, from the store or pulled. Raises ImageError when there is none."""
    listed = [(_platform(entry), _descriptor(entry)) for entry in found.entries]
    chosen = Index(b"", "", listed).choose(manifest.parse_platform(wanted.platform), found.name)
    place = Place(next(entry["source"] for entry in found.entries if entry["digest"] == chosen.digest))
    if place.kind == "containers-storage":
        return images.resolve(place.path)
    if place.kind == "docker":
        return images.ensure_image(place.path, wanted)
    raise UnsupportedError(
        f"{found.name} has its image for this platform at {place.text}, from where it cannot be run",
        f"rpod image copy {place.text} containers-storage:NAME",
    )


def _platform(entry: Entry) -> manifest.Platform:
    said = entry.get("platform") or {}
    return manifest.Platform(said.get("os", ""), said.get("architecture", ""), said.get("variant", ""))


def _descriptor(entry: Entry) -> manifest.Descriptor:
    return manifest.Descriptor(entry["mediaType"], entry["digest"], entry["size"])


@contextmanager
def _changed(name: str) -> Iterator[ImageList]:
    """The list ``name`` under the lock, written at the end. Raises NotFoundError."""
    resolve(name)  # before a folder is made for the lock
    store = ListStore(paths.data())
    with store.lock():
        found = resolve(name)
        yield found
        store.save(found)


def create(name: str, sources: list[str], access: Access, *, all: bool, amend: bool) -> ImageList:
    """Make a list (with ``amend`` go on with one that is there) and add ``sources`` to it."""
    full = reference.parse_target(name).tagged
    if ImageStore(paths.data()).find(full) is not None:
        raise ConflictError(f"{full} is the name of an image", f"rpod untag {full} {full}")
    entries = [entry for source in sources for entry in _entries(source, Changes(), access, all=all)]
    store = ListStore(paths.data())
    with store.lock():
        made = (store.find(full) if amend else None) or store.create(full)
        _merge(made, entries)
        store.save(made)
    return made


def add(name: str, sources: list[str], changes: Changes, access: Access, *, all: bool) -> ImageList:
    """Add images to a list; one with the same digest takes the place of the old one."""
    resolve(name)  # before a registry is asked
    entries = [entry for source in sources for entry in _entries(source, changes, access, all=all)]
    for entry in entries:
        changes.apply(entry)
    with _changed(name) as found:
        _merge(found, entries)
    return found


def _merge(target: ImageList, entries: list[Entry]) -> None:
    digests = {entry["digest"] for entry in entries}
    target.entries = [entry for entry in target.entries if entry["digest"] not in digests] + entries


def annotate(name: str, member: str, changes: Changes) -> ImageList:
    """Change what the list says about the image with the digest, or from the place, ``member``."""
    with _changed(name) as found:
        changes.apply(_member(found, member))
    return found


def remove_member(name: str, member: str) -> ImageList:
    """Take an image from a list."""
    with _changed(name) as found:
        found.entries.remove(_member(found, member))
    return found


def _member(found: ImageList, member: str) -> Entry:
    digests = {member}
    if not member.startswith("sha256:") and (image := images.find(member)) is not None:
        digests |= {image.digest}
    for entry in found.entries:
        if entry["digest"] in digests or entry["source"].removeprefix("docker://") == member:
            return entry
    listed = ", ".join(entry["digest"] for entry in found.entries) or "nothing"
    raise NotFoundError(f"{found.name} does not list {member}; it lists: {listed[:400]}")


def remove(name: str) -> ImageList:
    """Remove a list; the images stay."""
    found = resolve(name)
    store = ListStore(paths.data())
    with store.lock():  # else a change that is under way would bring it back
        store.remove(found.name)
    return found


def inspect(name: str, access: Access) -> str:
    """The JSON of a list that is made here, else the manifest of an image or a list in a registry."""
    if not name.startswith("docker://"):
        if (found := find(name)) is not None:
            return json.dumps(_document(found, manifest.OCI_INDEX), indent=4)
        if (image := images.find(name)) is not None:
            return image.manifest().decode()
    return _ask(name, access)[1].raw.decode()


def _document(found: ImageList, media_type: str) -> dict[str, Any]:
    """The index (image-spec image-index.md)."""
    entries = [{key: value for key, value in entry.items() if key != "source" and value} for entry in found.entries]
    document: dict[str, Any] = {"schemaVersion": 2, "mediaType": media_type, "manifests": entries}
    if found.annotations and media_type == manifest.OCI_INDEX:
        document["annotations"] = found.annotations
    return document


def _entries(source: str, changes: Changes, access: Access, *, all: bool) -> list[Entry]:
    """The entries for what ``source`` names: a stored image, a place, or else an image of a registry."""
    place = Place(source)
    if place.kind == "containers-storage":
        image = images.find(place.path)
        if image is not None:
            platform = manifest.Platform(image.os, image.architecture, image.variant)
            raw = image.manifest()
            return [_entry(image.media_type, image.digest, len(raw), platform, f"containers-storage:{image.id}")]
        place = Place(f"docker://{source}")
    if place.kind == "docker":
        return _remote_entries(place, changes, access, all=all)
    opened = Source(place, access, _platform_of(changes))
    try:
        found = opened.image.manifest
        kind = f"{place.kind}:{os.path.abspath(place.path)}" + (f":{place.name}" if place.name else "")
        return [_entry(found.media_type, found.digest, len(found.raw), opened.image.platform, kind)]
    finally:
        opened.close()


def _platform_of(changes: Changes) -> str:
    if not changes.arch:
        return ""
    words = [changes.os or "linux", changes.arch, changes.variant]
    return "/".join(word for word in words if word)


def _entry(media_type: str, digest: str, size: int, platform: manifest.Platform, source: str) -> Entry:
    named = {"architecture": platform.architecture, "os": platform.os, "variant": platform.variant}
    return {
        "mediaType": media_type,
        "digest": digest,
        "size": size,
        "platform": {key: value for key, value in named.items() if value},
        "source": source,
    }


def _ask(name: str, access: Access) -> tuple[Reference, manifest.Manifest | Index]:
    """The first registry's answer, and the name there."""
    registry, place, found = remote.first_that_has(
        reference.parse(name), access, lambda registry, place: registry.manifest(place)
    )
    registry.transport.close()
    return place, found


def _remote_entries(place: Place, changes: Changes, access: Access, *, all: bool) -> list[Entry]:
    candidate, found = _ask(place.path, access)
    if isinstance(found, Index):
        wanted = found.entries
        if not all:
            chosen = found.choose(manifest.parse_platform(_platform_of(changes)), place.text)
            wanted = [item for item in found.entries if item[1] is chosen]
        return [
            _entry(d.media_type, d.digest, d.size, platform, f"docker://{candidate.name}@{d.digest}")
            for platform, d in wanted
        ]
    source = f"docker://{candidate.name}@{found.digest}"
    opened = Source(Place(source), access)
    try:
        return [_entry(found.media_type, found.digest, len(found.raw), opened.image.platform, source)]
    finally:
        opened.close()


@dataclass(kw_only=True)
class PushOptions:
    """What ``manifest push`` says."""

    all: bool = True
    digestfile: str = ""
    format: str = "oci"
    quiet: bool = False
    rm: bool = False


def push(name: str, target: str, access: Access, options: PushOptions) -> str:
    """Push a list to ``target`` ("": its own name), with the images that it names; returns the index's digest."""
    target_file.check("--digestfile", options.digestfile)
    found = resolve(name)
    if options.format not in FORMATS:
        raise UsageError(f"--format {options.format}: there is no such format", ", ".join(FORMATS))
    if not found.entries:
        raise UsageError(f"{found.name} lists no image", f"rpod manifest add {found.name} IMAGE")
    place = Place(target or f"docker://{found.name}")
    if place.kind not in ("docker", "containers-storage"):
        raise UnsupportedError(f"a list goes to registries only, not to {place.kind}:", "docker://REGISTRY/NAME:TAG")
    shown = progress.choose(quiet=options.quiet)
    registry = RemoteTarget(place.path, access)
    try:
        for entry in found.entries if options.all else ():
            shown.message(f"Copying {entry['source']}")
            opened = Source(Place(entry["source"]), access)
            try:
                sent = registry.put(opened.image, tag=False)
            finally:
                opened.close()
            entry.update(mediaType=sent.media_type, digest=sent.digest, size=sent.size)
        media_type = manifest.OCI_INDEX if options.format == "oci" else manifest.DOCKER_INDEX
        shown.message("Writing manifest list to image destination")
        digest = registry.put_manifest(json.dumps(_document(found, media_type)).encode(), media_type).digest
    finally:
        registry.close()
        shown.close()
    target_file.note(options.digestfile, digest)
    if options.rm:
        ListStore(paths.data()).remove(found.name)
    return digest

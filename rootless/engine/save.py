"""``save``: images into an archive or a directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rootless.engine import images as image_names
from rootless.engine.transports import targets
from rootless.engine.transports.local import GZIP, PLAIN, StoredImage
from rootless.engine.transports.model import DOCKER
from rootless.errors import UsageError
from rootless.image import progress, reference
from rootless.state import events
from rootless.storage.images import ImageStore

if TYPE_CHECKING:
    from rootless.storage.image_record import Image

# What --format calls each kind of place (transports/places.py).
_KINDS = {"docker-archive": "docker-archive", "oci-archive": "oci-archive", "oci-dir": "oci", "docker-dir": "dir"}


@dataclass(kw_only=True)
class SaveOptions:
    """Options of ``save`` under podman-save(1)'s names."""

    compress: bool = False
    format: str = "docker-archive"
    multi_image_archive: bool = False
    output: str = ""
    quiet: bool = False
    uncompressed: bool = False


def save(names: list[str], options: SaveOptions) -> None:
    """Write the image ``names[0]``, the others being more names of it; with -m every one is an image of its own."""
    _check(names, options)
    if options.multi_image_archive:
        chosen = [(image, _own_names(name, image)) for name in names for image in [image_names.resolve(name)]]
    else:
        image = image_names.resolve(names[0])
        more = [reference.parse_target(name).tagged for name in names[1:]]
        chosen = [(image, [*_own_names(names[0], image), *more])]
    shown = progress.choose(quiet=options.quiet)
    try:
        sources = []
        for found, tags in chosen:
            shown.message(f"Saving {', '.join(tags) or found.hex[:12]}")
            sources.append(StoredImage(found, tags, _compression(options)))
        with targets.opened(_KINDS[options.format], options.output, form=DOCKER) as put:
            for source in sources:
                put(source, source.names)
        for found, _ in chosen:
            events.of_image("save", found.id, options.output)
    finally:
        shown.close()


def _check(names: list[str], options: SaveOptions) -> None:
    if options.format not in _KINDS:
        raise UsageError(f"--format {options.format}: there is no such format", ", ".join(_KINDS))
    if options.format.endswith("-dir") and not options.output:
        raise UsageError(f"--format {options.format} needs --output", "rpod save --format oci-dir -o DIRECTORY IMAGE")
    if options.compress and options.format != "docker-dir":
        raise UsageError("--compress works with --format docker-dir only", "other forms are compressed, or never are")
    if options.compress and options.uncompressed:
        raise UsageError("--compress and --uncompressed exclude each other", "leave one out")
    if options.multi_image_archive and options.format != "docker-archive":
        raise UsageError("--multi-image-archive works with --format docker-archive only")
    if not names:
        raise UsageError("an image is missing", "rpod images")


def _compression(options: SaveOptions) -> str | None:
    """How layers are written: as the image's manifest has them where nothing else was asked for."""
    if options.uncompressed:
        return PLAIN
    return GZIP if options.compress else None


def _own_names(typed: str, image: Image) -> list[str]:
    """The name that was meant; an id stands for all names of its image, as with Podman for none."""
    if image.found_as and "@" not in image.found_as:
        return [image.found_as]
    return [name for name in ImageStore(image.data_dir).names(image) if "@" not in name] if typed == image.hex else []

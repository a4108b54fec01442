"""``import``: a file system's archive becomes an image of one layer."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rootless.engine import compose_image, instructions
from rootless.engine.compose_image import Draft
from rootless.errors import ImageError, UsageError, os_reason
from rootless.image import reference
from rootless.kernel.numbers import decimal
from rootless.state import events

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.storage.image_record import Image

_CHUNK = 1 << 20
_TIMEOUT_S = 60


@dataclass(kw_only=True)
class ImportOptions:
    """Options of ``import`` under podman-import(1)'s names."""

    arch: str = ""
    change: list[str] = field(default_factory=list)
    message: str = ""
    os: str = ""
    quiet: bool = False
    variant: str = ""


def import_(source: str, name: str, options: ImportOptions) -> Image:
    """Store the archive at ``source`` (a path, an http or https URL, ``-`` for standard input) as an image.

    It may be compressed with gzip, zstd, xz or bzip2, and is checked as a layer is.
    """
    target = [reference.parse_target(name).tagged] if name else []
    draft = Draft(None)
    draft.set_platform(os=options.os, architecture=options.arch, variant=options.variant)
    instructions.apply(draft.config, options.change, docker=False)
    draft.comment, draft.created_by = options.message, f"rpod import {'from stdin' if source == '-' else source}"
    told = f"Copying {'standard input' if source == '-' else source}"
    image = compose_image.store(draft, target, lambda sink: _read(source, sink.write), told=told, quiet=options.quiet)
    events.of_image("import", image.id, target[0] if target else image.id)
    return image


def _read(source: str, write: Callable[[bytes], None]) -> None:
    if source.startswith(("http://", "https://")):
        _download(source, write)
        return
    if source == "-" and os.isatty(0):
        raise UsageError("an archive is not read from a terminal", "rpod import - NAME < root.tar")
    try:
        fd = os.dup(0) if source == "-" else os.open(source, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"the archive cannot be read: {os_reason(error)}") from error
    try:
        while data := os.read(fd, _CHUNK):
            write(data)
    except OSError as error:
        raise ImageError(f"the archive {source} cannot be read: {os_reason(error)}") from error
    finally:
        os.close(fd)


def _download(url: str, write: Callable[[bytes], None]) -> None:
    """Whatever comes is data to be checked; a shorter answer than announced is an error."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as response:  # noqa: S310 - the scheme was looked at
            announced = response.headers.get("Content-Length", "")
            received = 0
            while data := response.read(_CHUNK):
                write(data)
                received += len(data)
    except (urllib.error.URLError, OSError, ValueError) as error:
        reason = error if isinstance(error, urllib.error.HTTPError) else getattr(error, "reason", None) or error
        words = isinstance(reason, OSError) and reason.strerror  # without "[Errno 111]"
        raise ImageError(f"{url} cannot be fetched: {words or reason}") from error
    if announced.isdecimal() and decimal(announced, 1 << 62) != received:
        raise ImageError(f"{url}: the connection ended after {received} of {announced} bytes", "try again")

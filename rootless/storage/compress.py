"""Compress a layer while it leaves: gzip or zstd, the counterpart of ``storage.inflate``.

The same bytes, form and level give the same bytes: no time and no name is in a header.
"""

from __future__ import annotations

import zlib

import zstandard
from isal import isal_zlib

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Compressor(Protocol):
        """What both libraries have."""

        def compress(self, data: bytes, /) -> bytes:
            """The next bytes, if any are ready."""

        def flush(self) -> bytes:
            """The rest."""


FORMS = ("gzip", "zstd")
# ISA-L's level 3 is as small as zlib's 3 or 4, at ten times its speed; zlib takes over where more is asked for.
_ISAL_LEVELS = 3
_GZIP_WINDOW = 16 + zlib.MAX_WBITS  # zlib.h: 16 more asks for a gzip header
_HIGHEST = {"gzip": 9, "zstd": 20}
_ZSTD_LEVEL = 3


def check_level(form: str, level: int | None) -> None:
    """Raise UsageError for a level that ``form`` does not have."""
    if form not in FORMS:
        raise UsageError(f"--compression-format {form}: there is no such format", ", ".join(FORMS))
    if level is not None and not 1 <= level <= _HIGHEST[form]:
        raise UsageError(f"--compression-level {level}: {form} has 1 to {_HIGHEST[form]}")


def compressor(form: str, level: int | None = None) -> Compressor:
    """A compressor for ``form``; None is a level that is fast and good."""
    check_level(form, level)
    if form == "zstd":
        return zstandard.ZstdCompressor(level=level or _ZSTD_LEVEL, write_content_size=False).compressobj()
    if level is None or level <= _ISAL_LEVELS:
        return isal_zlib.compressobj(level or _ISAL_LEVELS, isal_zlib.DEFLATED, _GZIP_WINDOW)
    return zlib.compressobj(level, zlib.DEFLATED, _GZIP_WINDOW)

"""Compressed layers: every form, damaged ones, and bombs."""

from __future__ import annotations

import gzip
import io
import os
import resource

import pytest
import zstandard

from rootless.errors import StorageError
from rootless.storage import inflate

PLAIN = "application/vnd.oci.image.layer.v1.tar"
TEXT = b"some text and some more\n" * 100_000


def unpack(data: bytes, media_type: str = "", limit_bytes: int = 1 << 30) -> bytes:
    file = io.BytesIO(data)
    chunks = inflate.open_stream(file.read, media_type, limit_bytes)
    return b"".join(iter(chunks, b""))


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (TEXT, PLAIN),
        (TEXT, "application/vnd.docker.image.rootfs.diff.tar"),
        (gzip.compress(TEXT), PLAIN + "+gzip"),
        (gzip.compress(TEXT), "application/vnd.docker.image.rootfs.diff.tar.gzip"),
        (gzip.compress(TEXT[:1000]) + gzip.compress(TEXT[1000:]), ""),
        (gzip.compress(TEXT) + bytes(100_000), ""),
        (zstandard.compress(TEXT), PLAIN + "+zstd"),
        (zstandard.compress(TEXT[:1000]) + zstandard.compress(TEXT[1000:]), ""),
        (b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(TEXT), PLAIN + "+zstd"),
    ],
)
def test_forms(data: bytes, media_type: str) -> None:
    assert unpack(data, media_type) == TEXT


def test_input_in_single_bytes() -> None:
    for data in (TEXT[:100], gzip.compress(TEXT[:100]) * 2, zstandard.compress(TEXT[:100])):
        file = io.BytesIO(data)
        chunks = inflate.open_stream(lambda size, file=file: file.read(1))
        assert b"".join(iter(chunks, b"")) in (TEXT[:100], TEXT[:100] * 2)


@pytest.mark.parametrize(
    ("data", "media_type", "words"),
    [
        (gzip.compress(TEXT), PLAIN, "is gzip although its media type"),
        (TEXT, PLAIN + "+gzip", "is plain although"),
        (gzip.compress(TEXT), PLAIN + "+zstd", "is gzip although"),
        (gzip.compress(TEXT)[:-4], "", "ends in the middle"),
        (gzip.compress(TEXT) + b"tail", "", "follows the gzip stream"),
        (gzip.compress(TEXT) + b"\x1f\x8b", "", "ends in the middle"),
        (gzip.compress(os.urandom(1000))[:100] + b"x" * 200, "", "gzip stream"),
        (zstandard.compress(TEXT) + b"tail", "", "zstd stream is damaged"),
        (zstandard.compress(TEXT, 19)[:40] + b"x" * 100, "", "zstd stream is damaged"),
    ],
)
def test_what_is_refused(data: bytes, media_type: str, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        unpack(data, media_type)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_bombs_are_bounded_in_size_and_memory(compress: object) -> None:
    assert callable(compress)
    bomb = compress(bytes(1 << 28))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    file = io.BytesIO(bomb)
    chunks = inflate.open_stream(file.read, "", 1 << 27)
    with pytest.raises(StorageError, match="more than 134217728 bytes"):
        sum(len(chunk) for chunk in iter(chunks, b""))
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 64 * 1024

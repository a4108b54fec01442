"""SHA-256 without OpenSSL: ``import hashlib`` loads its library, 7 ms of a command that hashes a few kilobytes.

For the megabytes of a transfer ``hashlib`` is three times faster and worth its price.
"""

from __future__ import annotations

try:
    from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12 and newer
except ImportError:
    from _sha256 import sha256  # type: ignore[import-not-found]


def sha256_hex(data: bytes) -> str:
    """The digest as 64 hexadecimal digits."""
    digits: str = sha256(data).hexdigest()
    return digits


def sha256_bytes(data: bytes) -> bytes:
    """The digest as 32 bytes."""
    digest: bytes = sha256(data).digest()
    return digest

"""The detach key sequence, found in what is typed."""

from __future__ import annotations

from rootless.errors import UsageError


def parse_keys(text: str) -> bytes:
    """``ctrl-p,ctrl-q`` or ``a,ctrl-@`` -> the bytes; "" turns detaching off."""
    result = bytearray()
    for key in filter(None, text.split(",")):
        if len(key) == 1 and key.isascii():
            result += key.encode()
        elif key.startswith("ctrl-") and len(key) == 6 and key.isascii() and (key[5].isalpha() or key[5] in "@[\\]^_"):
            result.append(ord(key[5].upper()) & 0x1F)
        else:
            raise UsageError(f"--detach-keys {text}: {key!r} is neither a letter nor ctrl-LETTER")
    return bytes(result)


class Keys:
    """Looks for the sequence in a stream; bytes that may begin it are held back until they are decided."""

    __slots__ = ("_held", "_sequence")

    def __init__(self, text: str) -> None:
        self._sequence = parse_keys(text)
        self._held = 0

    def feed(self, data: bytes) -> tuple[bytes, bool]:
        """What may be passed on, and whether the sequence is complete."""
        if not self._sequence:
            return data, False
        out = bytearray()
        for byte in data:
            if byte == self._sequence[self._held]:
                self._held += 1
                if self._held == len(self._sequence):
                    self._held = 0
                    return bytes(out), True
                continue
            out += self._sequence[: self._held]
            self._held = 1 if byte == self._sequence[0] else 0
            if not self._held:
                out.append(byte)
        return bytes(out), False

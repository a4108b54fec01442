"""Numbers as strangers write them."""

from __future__ import annotations


def decimal(text: str, most: int) -> int | None:
    """The number that ``text`` is in ASCII digits, if it is at most ``most``; None for anything else.

    ``str.isdecimal`` takes the digits of every script, and ``int`` raises ValueError for more than 4300 of them.
    """
    digits = text.lstrip("0") or "0"
    if not text.isascii() or not text.isdecimal() or len(digits) > len(str(most)):
        return None
    number = int(digits)
    return number if number <= most else None

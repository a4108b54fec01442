"""Words of a unit file's value: quotes and escapes as systemd.syntax(7) and systemd.service(5) have them."""

from __future__ import annotations

_SPACE = " \t\n\r"
_LETTERS = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "s": 32, "\\": 92, '"': 34, "'": 39}
_ESCAPED = {7: "\\a", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t", 11: "\\v", 92: "\\\\", 34: '\\"'}
# After the backslash: the digits that follow, their base.
_DIGITS = {"x": (2, 16), "u": (4, 16), "U": (8, 16)}


def split(text: str, *, unescape: bool = True) -> list[str]:
    """The words of a value, without their quotes; with ``unescape`` also C's escapes.

    An escape that systemd does not know stays as it is written. ValueError with the reason for a quote without its
    end, or an escape that makes no character.
    """
    words: list[str] = []
    word: bytearray | None = None
    quote = ""
    index = 0
    while index < len(text):
        character = text[index]
        index += 1
        if character == "\\" and unescape and index < len(text):
            data, index = _escape(text, index)
            word = (word or bytearray()) + data
        elif quote:
            if character == quote:
                quote = ""
            else:
                word = (word or bytearray()) + character.encode("utf-8", "surrogateescape")
        elif character in "\"'":
            quote, word = character, word or bytearray()
        elif character in _SPACE:
            if word is not None:
                words.append(word.decode("utf-8", "surrogateescape"))
            word = None
        else:
            word = (word or bytearray()) + character.encode("utf-8", "surrogateescape")
    if quote:
        raise ValueError(f"a {quote} has no end")
    if word is not None:
        words.append(word.decode("utf-8", "surrogateescape"))
    return words


def _escape(text: str, index: int) -> tuple[bytes, int]:
    """What the escape whose letter is at ``index`` stands for, and where the text goes on."""
    letter = text[index]
    if letter in _LETTERS:
        return bytes((_LETTERS[letter],)), index + 1
    if letter in _DIGITS or letter in "01234567":
        length, base = _DIGITS.get(letter, (3, 8))
        start = index if base == 8 else index + 1
        digits = text[start : start + length]
        try:
            if len(digits) != length:
                raise ValueError
            number = int(digits, base)
            if not number or (base == 8 and number > 255):
                raise ValueError
            data = chr(number).encode() if letter in "uU" else bytes((number,))
        except (ValueError, OverflowError):
            raise ValueError(f"\\{letter}{digits} is no character") from None
        return data, start + length
    return f"\\{letter}".encode("utf-8", "surrogateescape"), index + 1


def quote(word: str) -> str:
    """A word as it stands in ``ExecStart=`` and its like. ``%`` and ``$`` keep their meaning to systemd."""
    plain = word and word != ";" and not any(c in " \"'\\" or ord(c) < 32 or ord(c) == 127 for c in word)
    if plain:
        return word
    return '"' + "".join(_quoted(c) for c in word) + '"'


def _quoted(character: str) -> str:
    code = ord(character)
    if code in _ESCAPED:
        return _ESCAPED[code]
    return f"\\x{code:02x}" if code < 32 or code == 127 else character


def join(words: list[str]) -> str:
    """A command line."""
    return " ".join(quote(word) for word in words)


def literal(text: str) -> str:
    """``text`` in which systemd's specifiers shall mean nothing: a path of ours."""
    return text.replace("%", "%%")


def literal_argument(text: str) -> str:
    """The same for a word of a command line, where systemd replaces variables, too."""
    return literal(text).replace("$", "$$")

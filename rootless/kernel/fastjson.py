"""JSON through the C halves of the standard library.

``import json`` costs 7 ms because its Python half pulls in ``re``; the scanner and
the encoder are C objects that work alone. Only what RFC 8259 allows is accepted:
no NaN, no Infinity, no second value after the first, and no duplicate keys.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_encoder, make_scanner

_WHITESPACE = " \t\n\r"


class JSONError(ValueError):
    """The text is not JSON; the message says what is wrong and at which character."""


def _refuse_constant(name: str) -> float:
    raise JSONError(f"{name} is not allowed in JSON")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JSONError(f"duplicate key {key!r}")
            seen.add(key)
    return result


class _Context:
    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_unique)
    parse_float = float
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)
    memo: dict[str, str] = {}


_scan = make_scanner(_Context())  # type: ignore[arg-type]


def _reason(data: str | bytes, error: Exception) -> str:
    """What is wrong. The C scanner has no words for it while ``json.decoder`` is not loaded."""
    if isinstance(error, ValueError):
        return str(error)
    import json

    try:
        json.loads(data)
    except (ValueError, RecursionError) as explained:
        return str(explained)
    return "malformed JSON"


def loads(data: str | bytes) -> object:
    """Parse one JSON text. Raises JSONError for anything else, never another exception."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        start = len(text) - len(text.lstrip(_WHITESPACE))
        value, end = _scan(text, start)
    except StopIteration as stop:
        raise JSONError(f"no JSON value at character {stop.value}") from None
    except RecursionError:
        raise JSONError("nested too deeply") from None
    except JSONError:
        raise
    except (ValueError, SystemError) as error:
        raise JSONError(_reason(data, error)) from None
    if text[end:].strip(_WHITESPACE):
        raise JSONError(f"something follows the JSON value at character {end}")
    return value


def _refuse_type(value: object) -> object:
    raise TypeError(f"{type(value).__name__} is not a JSON type")


def dumps(value: object) -> str:
    """The compact JSON text of dicts, lists, strings, numbers, booleans and None."""
    encode = make_encoder(None, _refuse_type, encode_basestring_ascii, None, ":", ",", False, False, False)
    return "".join(encode(value, 0))

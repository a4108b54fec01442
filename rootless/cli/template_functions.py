"""What templates can call, and how Go prints, compares and tests values."""

from __future__ import annotations

from _json import encode_basestring

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class TemplateError(Exception):
    """A mistake in a template: the ``reason``, and the ``position`` in characters (-1 unknown)."""

    def __init__(self, reason: str, position: int = -1) -> None:
        super().__init__(reason)
        self.reason = reason
        self.position = position


def show(value: Any) -> str:
    """A value as Go's ``%v`` prints it; nil is ``<no value>`` as in a template."""
    if isinstance(value, str):
        return value
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if value != int(value) else str(int(value))
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(show(item) for item in value)}]"
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{show(value[key])}' for key in sorted(value) if not callable(value[key]))}]"
    return str(value)


def to_json(value: Any, indent: str = "", _prefix: str = "\n") -> str:
    """JSON text as Go writes it: UTF-8 as it is, methods left out; with ``indent``, one element a line."""
    if isinstance(value, str):
        return str(encode_basestring(value))
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return repr(value)
    inner = _prefix + indent if indent else ""
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        items = [
            f"{encode_basestring(str(k))}{colon}{to_json(v, indent, inner)}"
            for k, v in value.items()
            if not callable(v)
        ]
        left, right = "{}"
    elif isinstance(value, (list, tuple)):
        items = [to_json(item, indent, inner) for item in value]
        left, right = "[]"
    else:
        raise TemplateError(f"{type(value).__name__} has no JSON form")
    if not items:
        return left + right
    return f"{left}{inner}{(',' + inner).join(items)}{_prefix if indent else ''}{right}"


def compare_truth(value: Any) -> bool:
    """Go's truth: false, 0, nil, and anything empty are not true."""
    return bool(value)


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else type(value).__name__


def _same_kind(first: Any, second: Any) -> None:
    if _kind(first) != _kind(second) and first is not None and second is not None:
        raise TemplateError(f"a {_kind(first)} and a {_kind(second)} cannot be compared")


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TemplateError("two values are needed")
    for other in others:
        _same_kind(first, other)
    return any(first == other for other in others)


def _less(first: Any, second: Any) -> bool:
    _same_kind(first, second)
    if _kind(first) not in ("number", "string"):
        raise TemplateError(f"a {_kind(first)} has no order")
    return bool(first < second)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"{show(value)[:40]!r} is not a string")
    return value


def _items(value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        raise TemplateError(f"{show(value)[:40]!r} is not a list")
    return [show(item) for item in value]


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(key, "" if all(isinstance(item, str) for item in value.values()) else None)
        elif value is None:
            raise TemplateError("index of nothing")
        else:
            if not isinstance(key, int) or not 0 <= key < len(value):
                raise TemplateError(f"index {show(key)} is out of range")
            value = ord(value[key]) if isinstance(value, str) else value[key]
    return value


def _slice(value: Any, *bounds: int) -> Any:
    low = bounds[0] if bounds else 0
    high = bounds[1] if len(bounds) > 1 else len(value)
    if not isinstance(value, (str, list)) or not 0 <= low <= high <= len(value):
        raise TemplateError(f"{low}:{high} is out of range")
    return value[low:high]


def _print(*values: Any) -> str:
    """Go's Sprint: a space between two values of which neither is a string."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(show(value))
    return "".join(parts)


def _printf(form: str, *values: Any) -> str:
    """Go's Sprintf with the verbs v s d x X o b c q t f e g and flags, width and precision."""
    parts: list[str] = []
    rest = list(values)
    index = 0
    while index < len(form):
        if form[index] != "%":
            parts.append(form[index])
            index += 1
            continue
        end = index + 1
        while end < len(form) and form[end] in "+-# 0123456789.":
            end += 1
        verb, flags = form[end : end + 1], form[index + 1 : end]
        index = end + 1
        if verb == "%":
            parts.append("%")
        elif not verb:
            parts.append("%!(NOVERB)")
        elif not rest:
            parts.append(f"%!{verb}(MISSING)")
        else:
            parts.append(_verb(verb, flags, rest.pop(0)))
    if rest:
        parts.append(f"%!(EXTRA {', '.join(show(value) for value in rest)})")
    return "".join(parts)


def _verb(verb: str, flags: str, value: Any) -> str:
    width = "".join(char for char in flags.partition(".")[0] if char.isdigit())
    if len(width) > 4 or len(flags.partition(".")[2]) > 4:
        raise TemplateError(f"%{flags}{verb} is too wide")
    if verb in "vst":
        return f"%{flags.replace('+', '').replace('#', '')}s" % show(value)
    if verb == "q":
        return f"%{flags.replace('+', '').replace('#', '')}s" % encode_basestring(_text(value))
    if verb in "xX" and isinstance(value, str):
        text = value.encode("utf-8", "surrogateescape").hex()
        return text.upper() if verb == "X" else text
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if verb == "b":
            return format(int(value), "b")
        if verb in "dxXoc" and isinstance(value, int):
            return str(f"%{flags}{verb}" % value)
        if verb in "feg" and isinstance(value, float):
            return str(f"%{flags}{verb}" % value)
    return f"%!{verb}({_kind(value)}={show(value)})"


def _title(text: str) -> str:
    """The first letter of each word in upper case, the rest as it is (Go's strings.Title)."""
    text = _text(text)
    return "".join(char.upper() if not index or text[index - 1].isspace() else char for index, char in enumerate(text))


def _truncate(text: str, length: int) -> str:
    return _text(text)[: max(0, length)]


def _pad(text: str, before: int, after: int) -> str:
    return " " * min(before, 1000) + _text(text) + " " * min(after, 1000) if text else text


FUNCTIONS: dict[str, Any] = {
    "and": lambda *values: values[-1],  # these two are evaluated by the engine, which stops early
    "or": lambda *values: values[-1],
    "not": lambda value: not compare_truth(value),
    "eq": _equal,
    "ne": lambda first, second: not _equal(first, second),
    "lt": _less,
    "le": lambda first, second: not _less(second, first),
    "gt": lambda first, second: _less(second, first),
    "ge": lambda first, second: not _less(first, second),
    "len": lambda value: len(value) if value is not None else 0,
    "index": _index,
    "slice": _slice,
    "print": _print,
    "printf": _printf,
    "println": lambda *values: " ".join(show(value) for value in values) + "\n",
    "json": to_json,
    "join": lambda values, separator: _text(separator).join(_items(values)),
    "split": lambda text, separator: _text(text).split(separator) if separator else list(_text(text)),
    "upper": lambda text: _text(text).upper(),
    "lower": lambda text: _text(text).lower(),
    "title": _title,
    "truncate": _truncate,
    "pad": _pad,
}

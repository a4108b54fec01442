"""Members of a JSON object whose types are checked: of config.json, which a stranger may have written."""

from __future__ import annotations

from rootless.errors import RpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

_WORDS: dict[type, str] = {
    str: "a string",
    int: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


class SpecError(RpodError):
    """A property of config.json that is missing or wrong."""


def take(value: object, key: str, kind: type[T], default: T, where: str) -> T:
    """``value[key]`` checked to be of ``kind``; ``default`` where it is missing or null. Raises SpecError.

    ``where`` is what stands before the key in the property's full name.
    """
    assert isinstance(value, dict)
    found = value.get(key)
    if found is None:
        return default
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise SpecError(f"config.json: {where}{key} must be {_WORDS[kind]}")
    return found


def strings(value: object, key: str, where: str) -> list[str]:
    """A list of strings, as ``take``."""
    found = take(value, key, list, [], where)
    if not all(isinstance(item, str) and "\0" not in item for item in found):
        raise SpecError(f"config.json: {where}{key} must be a list of strings without NUL")
    return found


def string_map(value: object, key: str, where: str) -> dict[str, str]:
    """An object of strings, as ``take``."""
    found = take(value, key, dict, {}, where)
    if not all(isinstance(item, str) for item in found.values()):
        raise SpecError(f"config.json: {where}{key} must hold strings only")
    return found

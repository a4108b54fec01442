"""How tables and keys of ``containers.toml`` are declared: a class per table, an attribute per key."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Field:
    """One key: its ``default`` as written in TOML, ``help``, allowed words, and ``check``.

    ``check`` turns the written value into the one that the program reads, or raises ValueError
    with the reason in words.
    """

    __slots__ = ("check", "default", "help", "key", "kind", "words")

    def __init__(
        self, default: object, text: str, words: tuple[str, ...], check: Callable[[Any], object] | None
    ) -> None:
        self.key = ""  # given by the section that declares it, and so is its kind
        self.kind = ""
        self.default = default
        self.help = text
        self.words = words
        self.check = check

    def read(self, value: object) -> object:
        """The checked value of what a file says. Raises ValueError with the reason."""
        if not self._fits(value):
            raise ValueError(f"must be {_KINDS[self.kind]}, not {_toml_type(value)}")
        if self.words and value not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}, not {value!r}")
        return self.check(value) if self.check else value

    def _fits(self, value: object) -> bool:
        if self.kind == "list[str]":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        if self.kind == "bool" or isinstance(value, bool):
            return self.kind == "bool" and isinstance(value, bool)
        if self.kind == "int" and isinstance(self.default, str):
            return isinstance(value, (str, int))
        return isinstance(value, int if self.kind == "int" else str)


_KINDS = {"str": "a string", "int": "a whole number", "bool": "true or false", "list[str]": "a list of strings"}


def _toml_type(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a fraction", str: "a string", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


def field(
    default: object, text: str, *, words: tuple[str, ...] = (), check: Callable[[Any], object] | None = None
) -> Any:
    """Declare a key of a section; the annotation of the attribute gives its type."""
    return Field(default, text, words, check)


class Section:
    """A table of the file: attributes hold checked values, ``given`` the keys that a file or the command line has."""

    def __init__(self, values: dict[str, object]) -> None:
        self.given = frozenset(values)
        for declared in self.fields():
            value = values[declared.key] if declared.key in values else declared.read(declared.default)
            setattr(self, declared.key, list(value) if isinstance(value, list) else value)

    @classmethod
    def fields(cls) -> list[Field]:
        """The declared keys, in order."""
        found = []
        for key, kind in cls.__annotations__.items():
            declared = _DECLARED[cls.__name__][key]
            declared.key, declared.kind = key, str(kind)
            found.append(declared)
        return found

    @classmethod
    def by_key(cls) -> dict[str, Field]:
        """The same by their keys."""
        return {declared.key: declared for declared in cls.fields()}

    def __init_subclass__(cls) -> None:
        _DECLARED[cls.__name__] = {key: vars(cls)[key] for key in cls.__annotations__}


_DECLARED: dict[str, dict[str, Field]] = {}

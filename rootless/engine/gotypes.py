"""Go's types in a report, as ``--format`` tells them apart: a plain dict is a struct, ``Map`` is a map.

A template that names a field which a struct does not have is a mistake; a map answers ``<no value>``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Map(dict[str, object]):
    """A map: its keys are data, such as labels and ports."""

    __slots__ = ()


class Struct(dict[str, object]):
    """A struct whose JSON leaves fields out (Go's omitempty): ``omitted`` has what templates see of those."""

    __slots__ = ("omitted",)

    def __init__(self, fields: Mapping[str, object], omitted: Mapping[str, object]) -> None:
        super().__init__(fields)
        self.omitted = omitted

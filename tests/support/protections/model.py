"""What a protection is: lines that can be taken out, and the tests that must fail then."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    """``old`` stands once in the file ``path`` of the tree; with ``new`` in its place the protection is gone."""

    path: str
    old: str
    new: str

    def apply(self, text: str) -> str:
        """The file's text without the protection."""
        assert text.count(self.old) == 1, f"{self.path}: the protection's lines have changed: {self.old!r}"
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Protection:
    """One protection: its name, the attack, the mechanism in words, and the tests that must fail.

    A test is ``tests/FILE.py::NAME``, with ``[PARAMETERS]`` where one of its cases is to be run.
    """

    name: str
    threat: str
    mechanism: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


def several(name: str, threat: str, mechanism: str, edits: tuple[Edit, ...], *tests: str) -> Protection:
    """A protection that stands in several places; ``tests`` are named from tests/ on."""
    return Protection(name, threat, mechanism, edits, tuple(f"tests/{test}" for test in tests))


def one(name: str, threat: str, mechanism: str, path: str, old: str, new: str, *tests: str) -> Protection:
    """A protection that stands in one place."""
    return several(name, threat, mechanism, (Edit(path, old, new),), *tests)


def function_of(test: str) -> str:
    """The name of a test's function."""
    return test.rpartition("::")[2].partition("[")[0]

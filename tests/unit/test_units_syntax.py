"""The syntax of unit files (systemd.syntax(7)): lines, and the words of their values."""

from __future__ import annotations

import pytest

from rootless.units import words
from rootless.units.unitfile import UnitError, UnitFile


def test_lines_comments_continuations_and_repeated_sections() -> None:
    unit = UnitFile("x.container", "x")
    unit.parse(
        "\ufeff# a comment\n[A]\n K = one \\\n; inside\n   two \\\\\nK=\nK=three\n\n[B]\nX=1\n[A]\nL=a=b\n",
        "x",
    )
    assert [(e.key, e.value, e.line) for e in unit.entries("A")] == [
        ("K", "one    two \\\\".replace("    ", "  "), 3),
        ("K", "", 6),
        ("K", "three", 7),
        ("L", "a=b", 12),
    ]
    assert [entry.value for entry in unit.all("A", "K")] == ["three"]
    assert unit.text("B", "Y") == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [("K=1\n", 1), ("[A\nK=1", 1), ("[A]\n\nnonsense\n", 3), ("[A]\n=1\n", 2), ("[A]\nK=\\\n\0x", 3)],
)
def test_a_broken_line_is_pointed_at(text: str, line: int) -> None:
    with pytest.raises(UnitError, match=rf"^x:{line}: "):
        UnitFile("x", "x").parse(text, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  a  b\t", ["a", "b"]),
        ('a "b c" \'d "e\'', ["a", "b c", 'd "e']),
        ('x="a b"c ""', ["x=a bc", ""]),
        (r"a\x20b \u00e9 \101 a\sb \q", ["a b", "é", "A", "a b", "\\q"]),
        ("ünï", ["ünï"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words.split(text) == expected


@pytest.mark.parametrize("text", ['"a', "'", r"\x0", r"\xzz", r"\x00", r"\400", r"\U99999999"])
def test_words_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"has no end|is no character"):
        words.split(text)


@pytest.mark.parametrize("word", ["a", "", " ", ";", 'a"b', "a'b", "a\\b", "a\nb\t\x01", "%n", "ü", "-x=y z"])
def test_a_quoted_word_is_read_back(word: str) -> None:
    assert words.split(f"before {words.quote(word)} after") == ["before", word, "after"]

"""The list of protections is true of the tree: every line that it would take out stands there, every test is one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.protections import PROTECTIONS, Protection, table

TREE = Path(__file__).parents[2]


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda each: each.name)
def test_a_protection_can_be_taken_out(protection: Protection) -> None:
    for edit in protection.edits:
        text = edit.apply((TREE / edit.path).read_text())
        if edit.path.endswith(".py"):
            ast.parse(text, edit.path)
    for test in protection.tests:
        path, _, name = test.partition("::")
        assert f"def {name}(" in (TREE / path).read_text(), test


def test_the_names_are_unique() -> None:
    names = [each.name for each in PROTECTIONS]
    assert len(names) == len(set(names))


def test_the_documentation_has_the_whole_list() -> None:
    text = (TREE / "docs" / "security.md").read_text()
    assert table() in text, "put there what tests/attack/unprotect.py --table prints"

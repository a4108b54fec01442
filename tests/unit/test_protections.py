"""The list of protections is true of the tree: every line that it would take out stands there, every test is one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from support.protections import PROTECTIONS, Protection, function_of, table

TREE = Path(__file__).parents[2]


@pytest.mark.parametrize("protection", PROTECTIONS, ids=lambda each: each.name)
def test_a_protection_can_be_taken_out(protection: Protection) -> None:
    for edit in protection.edits:
        text = edit.apply((TREE / edit.path).read_text())
        if edit.path.endswith(".py"):
            ast.parse(text, edit.path)
    for test in protection.tests:
        path = test.partition("::")[0]
        assert f"def {function_of(test)}(" in (TREE / path).read_text(), test


def test_the_names_are_unique() -> None:
    names = [each.name for each in PROTECTIONS]
    assert len(names) == len(set(names))


def test_every_file_of_attacks_and_faults_has_a_protection() -> None:
    seen = {test.partition("::")[0] for protection in PROTECTIONS for test in protection.tests}
    there = {
        str(path.relative_to(TREE)) for kind in ("attack", "fault") for path in TREE.glob(f"tests/{kind}/test_*.py")
    }
    assert there - seen == set()


def test_the_documentation_has_the_whole_list() -> None:
    text = (TREE / "docs" / "security.md").read_text()
    assert table() in text, "put there what tests/attack/unprotect.py --table prints"

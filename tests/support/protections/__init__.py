"""What protects against each attack and fault: the lines that do it, and the tests that see it gone.

``attack/unprotect.py`` takes them out one by one; ``unit/test_protections.py`` holds the list to the tree,
and ``docs/security.md`` to the list.
"""

from __future__ import annotations

from support.protections import archives, faults, host, program, registries, state
from support.protections.model import Edit, Protection, function_of

__all__ = ["PROTECTIONS", "Edit", "Protection", "function_of", "table"]

PROTECTIONS = (
    *program.PROTECTIONS,
    *host.PROTECTIONS,
    *state.PROTECTIONS,
    *archives.PROTECTIONS,
    *registries.PROTECTIONS,
    *faults.PROTECTIONS,
)


def table() -> str:
    """The rows of docs/security.md."""
    lines = ["| protection | against | by | seen by |", "|---|---|---|---|"]
    for each in PROTECTIONS:
        tests = ", ".join(f"`{test.removeprefix('tests/').replace('.py::', '` `')}`" for test in each.tests)
        lines.append(f"| {each.name} | {each.threat} | {each.mechanism} | {tests} |")
    return "\n".join(lines) + "\n"

"""What a prerequisite is made of: a check, the causes for which it fails, and what was found.

A text stands here once and serves four times: in ``rpod doctor``, as the hint of a command
that fails for this reason, in ``rpod doctor --script`` and in ``docs/troubleshooting.md``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ADMIN = "admin"
USER = "user"


@dataclass(frozen=True, slots=True)
class Cause:
    """One reason for which a check fails, and what mends it.

    ``command`` is a shell command without single quotes: of root where ``who`` is ADMIN. It
    may hold ``{placeholders}`` of the facts (user, uid, range, install_NEED …). ``unless``
    is a shell test that is true where the command has been run already. ``advice`` stands
    instead of a command where no command can mend it.
    """

    says: str
    who: str
    command: str = ""
    unless: str = ""
    advice: str = ""

    def fix(self, facts: Mapping[str, str]) -> str:
        """What the user is told to do: a command that can be pasted, or the advice."""
        if not self.command:
            return self.advice.format_map(facts)
        command = self.command.format_map(facts)
        if self.who == USER:
            return command
        plain = not set(command) & set("|&;<>()$`\\\"'*?[#~=%")
        return f"sudo {command}" if plain else f"sudo sh -c '{command}'"

    def script(self, facts: Mapping[str, str]) -> str:
        """The same as a line of a root shell script that may run again; "" if it is not root's to do."""
        if self.who != ADMIN or not self.command:
            return ""
        command = self.command.format_map(facts)
        return f"if ! {{ {self.unless.format_map(facts)}; }}; then {command}; fi" if self.unless else command


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a probe found, and the name of the cause if it is not good ("" = fine)."""

    found: str
    cause: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Check:
    """A prerequisite. ``probe`` tries it for real; ``causes`` are the ones that it can name.

    Checks with the same ``one_of`` stand in for each other: they are required only while
    none of them is fine. ``needs`` names the checks without which this one cannot be tried.
    """

    name: str
    title: str
    checked: str
    why: str
    causes: tuple[str, ...]
    probe: Callable[[], Verdict]
    required: bool = True
    one_of: str = ""
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``fix`` and ``script`` are "" where nothing is to be done."""

    name: str
    title: str
    ok: bool
    required: bool
    found: str
    why: str
    fix: str = ""
    who: str = ""
    cause: str = ""
    script: str = ""

    def as_dict(self) -> dict[str, object]:
        """The finding as JSON has it."""
        return dataclasses.asdict(self)

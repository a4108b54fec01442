"""``rpod doctor``: each prerequisite tried for real, and what mends it."""

from __future__ import annotations

import dataclasses
import os
import shlex
from typing import TYPE_CHECKING

from rootless.engine.doctor import ids, packages
from rootless.engine.doctor.causes import CAUSES
from rootless.engine.doctor.checks import CHECKS
from rootless.engine.doctor.model import Check, Finding, Verdict
from rootless.errors import RpodError, os_reason
from rootless.kernel import userns

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Finding", "examine", "facts", "hint", "names", "remedy", "script"]


def facts() -> dict[str, str]:
    """What the texts say of this machine and user: the values of their ``{placeholders}``."""
    known = {f"install_{need}": packages.install_command(need) for need in packages.PACKAGES}
    return {
        **known,
        "user": userns.user_name(),
        "uid": str(os.geteuid()),
        "range": ids.free_range(),
        "tool": "/usr/bin/newuidmap",
        "path": "/etc/subuid",
        "kind": "net",
        "profile": "rpod",
    }


def examine(only: list[str] | None = None) -> list[Finding]:
    """Try every prerequisite (or those in ``only``, with what they need) and tell what was found.

    Nothing is left behind: what a probe makes, it removes. An unknown name is a KeyError.
    """
    wanted = _with_needs(only)
    known = facts()
    findings: dict[str, Finding] = {}
    for check in CHECKS:
        if check.name in wanted:
            blocker = next((findings[need] for need in check.needs if not findings[need].ok), None)
            findings[check.name] = _blocked(check, blocker) if blocker else _finding(check, _try(check), known)
    return _settle(findings)


def names() -> list[str]:
    """What the checks are called."""
    return [check.name for check in CHECKS]


def remedy(name: str) -> str:
    """What mends the first failure among a check and what it needs; "" if all is well, or there is no such check."""
    if name not in names():
        return ""
    return next((finding.fix for finding in examine([name]) if not finding.ok and finding.fix), "")


def _with_needs(only: list[str] | None) -> set[str]:
    by_name = {check.name: check for check in CHECKS}
    if only is None:
        return set(by_name)
    wanted = {need for name in only for need in by_name[name].needs} | set(only)
    groups = {by_name[name].one_of for name in only} - {""}
    return wanted | {check.name for check in CHECKS if check.one_of in groups}


def _try(check: Check) -> Verdict:
    """The probe's verdict; a failure that it did not expect is one, too."""
    try:
        return check.probe()
    except RpodError as error:
        return Verdict(error.message, check.causes[-1])
    except OSError as error:
        return Verdict(os_reason(error), check.causes[-1])


def _finding(check: Check, verdict: Verdict, known: Mapping[str, str]) -> Finding:
    common = (check.name, check.title, not verdict.cause, check.required, verdict.found, check.why)
    if not verdict.cause:
        return Finding(*common)
    cause = CAUSES[verdict.cause]
    values = {**known, **verdict.facts}
    return Finding(*common, cause.fix(values), cause.who, verdict.cause, cause.script(values))


def _blocked(check: Check, blocker: Finding) -> Finding:
    """A check that cannot be tried before another one is fine; that one's fix is its own."""
    found = f"not tried, because of: {blocker.title}"
    return Finding(
        check.name, check.title, False, check.required, found, check.why, blocker.fix, blocker.who, blocker.cause
    )


def _settle(findings: Mapping[str, Finding]) -> list[Finding]:
    """One of several that stand in for each other is enough: then the others are optional."""
    group = {check.name: check.one_of for check in CHECKS}
    served = {group[name] for name, finding in findings.items() if finding.ok}
    return [
        dataclasses.replace(finding, required=False) if group[name] and group[name] in served else finding
        for name, finding in findings.items()
    ]


def hint(name: str, **values: str) -> str:
    """What mends the cause ``name`` (a key of CAUSES) for this user: a command or an advice."""
    return CAUSES[name].fix({**facts(), **values})


def script(findings: list[Finding] | None = None) -> str:
    """One sh script with every command of an administrator that ``findings`` ask for.

    Without ``findings`` the machine is examined. The script may run again: each command is
    harmless the second time, or guarded by a test.
    """
    todo: dict[str, Finding] = {}
    for finding in examine() if findings is None else findings:
        if finding.script:
            todo.setdefault(finding.script, finding)
    user = userns.user_name()
    lines = ["#!/bin/sh", f"# What rpod asks of an administrator for {user}. Run it as root: it may run again."]
    if not todo:
        return "\n".join([*lines, "# Nothing is missing.", ""])
    lines += ["set -eu", 'if [ "$(id -u)" != 0 ]; then echo "run this as root: sudo sh $0" >&2; exit 1; fi']
    for command, finding in todo.items():
        need = "required" if finding.required else "optional"
        lines += ["", f"# {finding.title} ({need}): {finding.why}", f"echo {shlex.quote(finding.title)}", command]
    return "\n".join([*lines, ""])

"""``docs/troubleshooting.md``, written from the declarations by ``contrib/generate``."""

from __future__ import annotations

from rootless.engine.doctor import packages
from rootless.engine.doctor.causes import CAUSES
from rootless.engine.doctor.checks import CHECKS
from rootless.engine.doctor.model import ADMIN, Cause, Check

_OPENING = """\
# Troubleshooting

This page is written by `contrib/generate` from the declarations that `rpod doctor` works with;
change those (`checks.py` and `causes.py` in `rootless/engine/doctor`), not this page.

`rpod doctor` tries each of the following for real and prints the command for *your* user and
distribution; `rpod doctor --script` prints everything that an administrator has to do as one
script. Below, the user is `alice` (id 1001) on Debian or Ubuntu.
"""

_EXAMPLE = {
    **{f"install_{need}": f"apt-get install -y {names['apt-get']}" for need, names in packages.PACKAGES.items()},
    "user": "alice",
    "uid": "1001",
    "range": "100000-165535",
    "tool": "/usr/bin/newuidmap",
    "path": "/etc/subuid",
    "kind": "net",
    "profile": "rpod",
}


def page() -> str:
    """The page."""
    return "\n".join([_OPENING, *(_section(check) for check in CHECKS)])


def _section(check: Check) -> str:
    need = "Required." if check.required else "Optional."
    if check.one_of:
        need = f"One of several; {check.one_of} is required."
    lines = [f"## {check.title}", "", f"{need} Checked: {check.checked}. Why: {check.why}.", ""]
    for name in check.causes:
        lines += _remedy(CAUSES[name])
    return "\n".join(lines)


def _remedy(cause: Cause) -> list[str]:
    who = "an administrator" if cause.who == ADMIN else "the user"
    fix = cause.fix(_EXAMPLE)
    if not cause.command:
        return [f"- {cause.says[:1].upper()}{cause.says[1:]}: {fix}.", ""]
    return [f"- {cause.says[:1].upper()}{cause.says[1:]} ({who}):", "", f"  ```\n  {fix}\n  ```", ""]

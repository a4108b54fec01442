"""Runs in the machine, as root: each finding of the doctor is caused, seen, mended as it says, and seen to be gone.

::

    python3 findings.py < CASES.json        a line of JSON for each case, as it is done

What stands in a case is told in ``test_findings.py``. One program for all of them, because each login and each start
of Python takes a second where the processor is emulated.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

USER, HOME, UID = "dora", "/home/dora", 1000
PATH = f"{HOME}/venv/bin:/usr/bin:/bin"
# The shells of root have the user's at hand; "sudo" stands in what the doctor prints, and this is root already.
ROOT = f"""
sudo() {{ "$@"; }}
as_user() {{ runuser -u {USER} -- env -i HOME={HOME} USER={USER} PATH={PATH} bash -c "cd; $1"; }}
export DEBIAN_FRONTEND=noninteractive
"""
ASK = """
import json, sys
from rootless.engine import doctor
found = {finding.name: finding for finding in doctor.examine(sys.argv[1:])}
print(json.dumps(found[sys.argv[1]].as_dict()))
"""
KEPT = ("/etc/subuid", "/etc/subgid")
TRIES = 5  # udev, and systemd for a user, take a moment after a command has ended


def as_root(lines: str) -> None:
    done = subprocess.run(["bash", "-c", ROOT + lines], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{lines}\n{done.stdout}{done.stderr}[{done.returncode}]")


def ask(case: dict[str, Any], user: str) -> dict[str, Any]:
    """The finding of the case's check, in a shell of the user's that has run ``user``."""
    asked = f"{case['around']} {HOME}/venv/bin/python {HOME}/ask.py {case['check']}"
    argv = ["bash", "-c", f"cd {HOME}\n{user}\n{asked}"]
    if not case["as_root"]:
        session = ["env", "-i", f"HOME={HOME}", f"USER={USER}", f"PATH={PATH}", f"XDG_RUNTIME_DIR=/run/user/{UID}"]
        argv = [*shlex.split(case["outer"]), "runuser", "-u", USER, "--", *session, *argv]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise RuntimeError(f"{asked}: {done.stdout}{done.stderr}[{done.returncode}]") from None
    return found


def put_back(kept: dict[str, str]) -> None:
    for path, text in kept.items():
        Path(path).write_text(text)


def gone(case: dict[str, Any], finding: dict[str, Any]) -> bool:
    return bool(finding["ok"] or (case["another"] and not finding["required"]))


def examine(case: dict[str, Any]) -> dict[str, Any]:
    """The finding before and after it was mended; "trouble" where a step of the case itself failed."""
    told: dict[str, Any] = {"cause": case["cause"]}
    kept = {path: Path(path).read_text() for path in KEPT}
    user, mended = case["user"], ""
    try:
        as_root(case["root"])
        told["before"] = ask(case, user)
        if case["command"] and told["before"]["who"] == "user":
            mended = f"{{ {told['before']['fix']}; }} > /dev/null <<< y"  # prune asks whether it may
        elif case["command"]:
            as_root(told["before"]["fix"])
    except RuntimeError as error:
        told["trouble"] = str(error)
    try:
        as_root(case["undo"])
        if not case["command"]:
            case, user = {**case, "around": "", "outer": "", "as_root": False}, ""
            put_back(kept)
        for _ in range(TRIES):
            told["after"] = ask(case, f"{user}\n{mended}")
            told["gone"] = gone(case, told["after"])
            if told["gone"]:
                break
            time.sleep(1)
        as_root(case["tidy"])
    except RuntimeError as error:
        told.setdefault("trouble", str(error))
    put_back(kept)
    return told


def main() -> None:
    Path(f"{HOME}/ask.py").write_text(ASK)
    for case in json.load(sys.stdin):
        began = time.monotonic()
        told = examine(case)
        print(json.dumps({**told, "took_s": round(time.monotonic() - began)}), flush=True)


main()

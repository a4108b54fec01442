#!/usr/bin/env python3
"""Take each protection out, and see that its test fails.

    tests/testbed --user NAME --path VENV/bin python tests/attack/unprotect.py [--list | --table | PROTECTION…]

A test of an attack proves nothing that would pass without the protection. This program copies
the tree, and for each entry of ``support/protections`` (or those whose names begin with
PROTECTION) takes that one protection out of the copy, runs its tests there as the ordinary user
that it is started as, and demands that they fail: each of them, by an assertion or by its time limit, not by
code that cannot run. Before that, all of them must pass on the copy as it is. It takes minutes,
and a machine on which nothing else matters: some protections keep the machine from harm.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(TREE / "tests"))

from support.protections import PROTECTIONS, Protection, function_of, table  # noqa: E402

from rootless.kernel import userns  # noqa: E402

# What a test says when the attack came through; anything else is a mutation that does not run, and proves nothing.
_BY_ASSERTION = ("AssertionError", "assert ", "Failed: DID NOT RAISE", "subprocess.TimeoutExpired", "Failed: Timeout")


class Copy:
    """A copy of the tree, and an environment whose Python imports it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        ignored = shutil.ignore_patterns(".git", "__pycache__", ".*_cache", "*.egg-info")
        shutil.copytree(TREE, self.root, ignore=ignored)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
        self.python = str(folder / "venv" / "bin" / "python")
        (packages,) = folder.glob("venv/lib/*/site-packages")
        own = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
        lines = [str(self.root), sysconfig.get_path("purelib"), *own]
        (packages / "tree.pth").write_text("".join(f"{line}\n" for line in lines))
        self._whole: dict[Path, str] = {}  # what changed files were like before
        self._results = folder / "results.xml"
        self._scratch = folder / "pytest"

    def apply(self, protection: Protection) -> None:
        """Take ``protection`` out."""
        for edit in protection.edits:
            path = self.root / edit.path
            whole = path.read_text()
            self._whole.setdefault(path, whole)
            path.write_text(edit.apply(whole))
        self._build(protection)

    def restore(self, protection: Protection) -> None:
        """Put it back."""
        for path, whole in self._whole.items():
            path.write_text(whole)
        self._whole.clear()
        self._build(protection)

    def _build(self, protection: Protection) -> None:
        if any(edit.path.startswith("helpers/") for edit in protection.edits):
            subprocess.run([self.python, "helpers/build_hook.py"], cwd=self.root, check=True, stdout=subprocess.DEVNULL)

    def run(self, tests: list[str], *options: str) -> dict[str, list[str]]:
        """Run ``tests``; what went wrong in each, by the test's name without parameters."""
        self._results.unlink(missing_ok=True)
        userns.remove_tree_inside(str(self._scratch))  # what stayed there can be more than pytest removes
        argv = [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={self._scratch}"]
        argv += [f"--junitxml={self._results}", *options, *tests]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        output = subprocess.run(argv, cwd=self.root, env=environment, capture_output=True, text=True, check=False)
        if not self._results.exists():
            sys.exit(f"pytest did not run:\n{output.stdout}{output.stderr}")
        wrong: dict[str, list[str]] = {function_of(test): [] for test in tests}
        for case in ET.parse(self._results).iter("testcase"):
            name = (case.get("name") or "").partition("[")[0]
            for found in (*case.iter("failure"), *case.iter("error")):
                wrong.setdefault(name, []).append(found.get("message") or found.text or "")
        return wrong


def verdict(protection: Protection, copy: Copy) -> str:
    """What is not right; nothing when every test has failed as it should."""
    for test in protection.tests:
        name = function_of(test)
        found = copy.run([test], "--exitfirst")[name]
        if not found:
            return f"{name} PASSES without it"
        if not any(word in message for message in found for word in _BY_ASSERTION):
            return f"{name} fails, but not by an assertion: {found[0].splitlines()[0][:120]}"
    return ""


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="See every attack's test fail without its protection.")
    parser.add_argument("--list", action="store_true", help="print the names and end")
    parser.add_argument("--table", action="store_true", help="print the table of docs/security.md and end")
    parser.add_argument("names", nargs="*", metavar="PROTECTION")
    options = parser.parse_args()
    if options.table:
        print(table(), end="")
        return 0
    chosen = [each for each in PROTECTIONS if not options.names or each.name.startswith(tuple(options.names))]
    if options.list:
        print("\n".join(each.name for each in chosen))
        return 0
    if not chosen or os.geteuid() == 0:
        parser.error("no such protection" if not chosen else "an ordinary user runs this: tests/testbed --user NAME …")
    folder = Path(tempfile.mkdtemp(prefix="unprotect-"))
    try:
        return _all(Copy(folder), chosen)
    finally:
        userns.remove_tree_inside(str(folder))


def _all(copy: Copy, chosen: list[Protection]) -> int:
    tests = sorted({test for protection in chosen for test in protection.tests})
    wrong = {name: found for name, found in copy.run(tests).items() if found}
    for name, found in wrong.items():
        print(f"{name} fails although nothing was taken out: {found[0].splitlines()[0][:160]}")
    if wrong:
        return 2
    failed = 0
    print(f"{'protection':34} {'removed from':36} {'s':>4}  seen to fail")
    for protection in chosen:
        begin = time.monotonic()
        copy.apply(protection)
        try:
            problem = verdict(protection, copy)
        finally:
            copy.restore(protection)
        failed += bool(problem)
        places = ", ".join(dict.fromkeys(edit.path for edit in protection.edits))
        took = time.monotonic() - begin
        print(f"{protection.name:34} {places:36} {took:4.0f}  {problem or 'yes'}", flush=True)
    print(f"{len(chosen) - failed} of {len(chosen)} seen to fail")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

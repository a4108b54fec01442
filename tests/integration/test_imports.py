"""What the hot commands load: a newcomer costs every user milliseconds, so it is named here first."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.shell import Rpod

# C modules, and Python's own start-up is left out of the count.
ALLOWED = frozenset(
    "_ctypes _json _sha2 _sha256 _signal _socket __future__ array errno fcntl gc itertools posix pwd resource select "
    "termios time".split()
)
SCRIPT = """
import sys
before = set(sys.modules)
from rootless import __main__
code = __main__.run(sys.argv[1:])
loaded = set(sys.modules) - before
print("loaded", *sorted(name for name in loaded if not name.startswith("rootless")), file=sys.stderr)
sys.exit(code)
"""


def loaded(rpod: Rpod, *args: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-P", "-c", SCRIPT, *args],
        env=rpod.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split()[1:])


@pytest.mark.parametrize("network", ["none", "slirp4netns"])
def test_run_loads_nothing_slow(rpod: Rpod, image: str, network: str) -> None:
    assert loaded(rpod, "run", "--rm", "--network", network, image, "true") <= ALLOWED


def test_the_other_hot_verbs_load_nothing_slow(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "busy", image, "sleep", "1000")
    for args in (["exec", "busy", "true"], ["ps", "-a"], ["logs", "busy"], ["stop", "-t", "0", "busy"], ["rm", "busy"]):
        assert loaded(rpod, *args) <= ALLOWED, args

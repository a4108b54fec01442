"""Containers with ids of their own against each other, and against the user who started them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

# Everything that one process can do to another, tried one by one; each that works is a line.
ATTACKS = """
for p in "$@"; do
    kill -0 $p && echo signal
    cat /proc/$p/environ >/dev/null && echo environ
    ls /proc/$p/root/ >/dev/null && echo root
    ls -l /proc/$p/fd/ | grep -q '>' && echo fd
    head -c 1 /proc/$p/mem && echo mem
    echo 5 >/proc/$p/oom_score_adj && echo written
    readlink /proc/$p/ns/user && echo namespace
done 2>/dev/null
true
"""
ALL = ("--pid", "host", "--network", "none", "--cap-add", "all", "--security-opt", "seccomp=unconfined")


def attack(rpod: Rpod, image: str, *words: str, against: list[str]) -> list[str]:
    return rpod.ok("run", "--rm", *ALL, *words, image, "sh", "-c", ATTACKS, "sh", *against).split()


def test_containers_with_ids_of_their_own_cannot_touch_each_other(safe: Rpod, plain: str) -> None:
    targets = []
    for name, mode in (("own", "auto"), ("ordinary", "host")):
        safe.ok("run", "-d", "--name", name, "--userns", mode, "--network", "none", plain, "sleep", "60")
        targets.append(safe.ok("inspect", name, "--format", "{{.State.Pid}}"))
    targets.append(str(os.getpid()))
    assert attack(safe, plain, "--userns", "auto", against=targets) == []
    # The test itself can see an attack that works: under the default map both are one user.
    assert "signal" in attack(safe, plain, against=targets[1:2])
    safe.ok("rm", "-f", "-t", "0", "own", "ordinary")


def test_the_files_of_one_are_closed_to_the_other(rpod: Rpod, plain: str) -> None:
    words = ("run", "--rm", "--network", "none", "--cap-add", "all", "-v", "shared:/v")
    rpod.ok(
        "create", "--name", "first", "--userns", "auto", "-v", "shared:/v", plain, "sh", "-c", "umask 077; echo x >/v/f"
    )
    rpod.ok("start", "-a", "first")
    tries = "for c in 'cat' 'rm -f' 'chmod 777' 'chown 0'; do $c /v/f 2>/dev/null && echo $c; done; true"
    assert rpod.ok(*words, "--userns", "auto", plain, "sh", "-c", tries) == ""
    assert rpod.ok(*words, plain, "sh", "-c", "cat /v/f") == "x", "the user's own containers see all"
    rpod.ok("rm", "first")


@pytest.mark.parametrize("mode", ["nomap", "auto"])
def test_the_user_does_not_exist_inside(safe: Rpod, plain: str, tmp_path: Path, mode: str) -> None:
    """Nothing of the user's can be changed, nor read where it is closed to others; nobody can become the user."""
    mine = tmp_path / "mine"
    mine.write_text("secret")
    mine.chmod(0o600)
    tmp_path.chmod(0o755)
    tries = f"""
        cat /mine/mine 2>/dev/null; rm /mine/mine 2>/dev/null; chown 0 /mine/mine 2>/dev/null && echo chown
        touch /mine/new 2>/dev/null && echo new
        chown {os.getuid()} /etc/passwd 2>/dev/null && stat -c %u /etc/passwd
        echo end"""
    words = ("--network", "none", "--cap-add", "all", "-v", f"{tmp_path}:/mine")
    out = safe.ok("run", "--rm", "--userns", mode, *words, plain, "sh", "-c", tries)
    # An id of that number there may be, but it is another's.
    assert out.split() in (["end"], [str(os.getuid()), "end"])
    assert mine.read_text() == "secret"
    assert os.listdir(tmp_path) == ["mine"]

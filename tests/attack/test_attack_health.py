"""A health check is a program of the image: what it prints, and how long it runs, harms nobody outside."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.shell import Rpod

    MakeImage = Callable[..., str]

_KIB = 1024


def check(rpod: Rpod, image: str, *options: str) -> dict[str, object]:
    """Run the image's check once by hand; the last entry of the health log."""
    words = ("--health-interval", "disable", "--network", "none", *options)
    rpod.ok("run", "-d", "--name", "web", *words, image, "sleep", "1000")
    rpod("healthcheck", "run", "web", timeout_s=40)
    (found,) = json.loads(rpod.ok("inspect", "web"))
    log = found["State"]["Health"]["Log"]
    assert log, "the check was run and is remembered"
    last: dict[str, object] = log[-1]
    return last


def test_a_check_that_prints_without_end(safe: Rpod, make_image: MakeImage) -> None:
    """It ends by its timeout, and what is kept of it is bounded, also where the whole output was asked for."""
    image = make_image({}, Healthcheck={"Test": ["CMD", "yes", "x" * 100]})
    last = check(safe, image, "--health-timeout", "1s", "--health-max-log-size", "0")
    assert last["ExitCode"] != 0
    (ident,) = safe.ok("ps", "-q", "--no-trunc").split()
    assert (safe.data / "containers" / ident / "health.json").stat().st_size < 3 * _KIB * _KIB


def test_what_a_check_prints_drives_no_terminal(safe: Rpod, make_image: MakeImage) -> None:
    evil = r"""printf '\033]0;owned\007\n{"a":"b'; exit 1"""
    last = check(safe, make_image({}, Healthcheck={"Test": ["CMD-SHELL", evil]}))
    assert last["Output"] == '\x1b]0;owned\x07\n{"a":"b'
    assert "\x1b" not in safe.ok("inspect", "web")


def test_a_check_runs_as_the_containers_program_does(safe: Rpod, make_image: MakeImage) -> None:
    look = "grep -E 'CapEff|Seccomp:' /proc/self/status; id -u; ls /proc/self/fd | wc -l"
    image = make_image({}, Healthcheck={"Test": ["CMD-SHELL", look]}, User="1000")
    output = str(check(safe, image)["Output"]).split()
    assert output == ["CapEff:", "0" * 16, "Seccomp:", "2", "1000", "4"]  # ls's own is the fourth

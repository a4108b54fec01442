"""Volumes that a container made hostile, while another one is started with them: nothing on the host may change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.hostile import DIRECTORY, Entry

if TYPE_CHECKING:
    from attack.conftest import MakeImage
    from support.leaks import Canary
    from support.shell import Rpod

TURNS = 8


def swapping(target: str) -> str:
    """A shell script that makes /v/a now a directory with a file, now a link to ``target``."""
    return (
        f"mkdir -p /v/dir /v/b; touch /v/dir/file /v/b/file; ln -sfn {target} /v/link; touch /v/ready; "
        "while true; do mv -T /v/dir /v/a; mv -T /v/a /v/dir; mv -T /v/link /v/a; mv -T /v/a /v/link; done"
    )


@pytest.fixture
def swapper(safe: Rpod, plain: str, canary: Canary) -> str:
    """The name of a volume in which a container swaps a directory for a link to the canary."""
    words = ("run", "-d", "--network", "none", "-v", "swapped:/v", plain, "sh", "-c", swapping(str(canary.root)))
    safe.ok(*words)
    return "swapped"


def test_a_new_owner_reaches_nothing_outside(safe: Rpod, plain: str, swapper: str, canary: Canary) -> None:
    for _ in range(TURNS):
        done = safe("run", "--rm", "--network", "none", "-u", "1000", "-v", f"{swapper}:/x:U", plain, "true")
        assert done.code in (0, 125), done
        assert "Traceback" not in done.err
    canary.assert_untouched()
    safe.remove_containers()
    safe.ok("volume", "rm", swapper)


def test_a_part_of_a_volume_never_leads_out(safe: Rpod, plain: str, swapper: str, canary: Canary) -> None:
    words = ("--mount", f"type=volume,src={swapper},dst=/x,subpath=a")
    for _ in range(TURNS):
        done = safe("run", "--rm", "--network", "none", *words, plain, "sh", "-c", "ls /x; cat /x/*; touch /x/new")
        assert canary.SECRET not in done.out
        assert "passwd" not in done.out.split()
        assert "Traceback" not in done.err
    canary.assert_untouched()
    safe.remove_containers()
    safe.ok("volume", "rm", swapper)


def test_export_reads_nothing_outside(safe: Rpod, swapper: str, canary: Canary) -> None:
    for _ in range(TURNS):
        done = safe("volume", "export", swapper)
        assert canary.SECRET.encode() not in done.raw
        assert "Traceback" not in done.err
    safe.remove_containers()
    safe.ok("volume", "rm", swapper)


def test_an_image_that_is_mounted_shows_only_itself(safe: Rpod, make_image: MakeImage, canary: Canary) -> None:
    hostile = make_image({"out": Entry(link=str(canary.root)), "dir": DIRECTORY})
    words = ("--mount", f"type=image,source={hostile},dst=/x")
    done = safe("run", "--rm", "--network", "none", *words, hostile, "sh", "-c", "cat /x/out/file; ls /x/dir")
    assert canary.SECRET not in done.out
    words = ("--mount", f"type=image,source={hostile},dst=/x,subpath=out")
    assert "leads out" in safe.fails("run", "--rm", "--network", "none", *words, hostile, "cat", "/x/file")
    # A target below a link of the image stays in the container, whatever the link says.
    words = ("--chrootdirs", "/out", "-v", "/out/sub")
    assert safe("run", "--rm", "--network", "none", *words, hostile, "true").code in (0, 125)
    canary.assert_untouched()

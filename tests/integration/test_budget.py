"""``storage.max_size`` and ``storage.max_age``: what goes by itself, and what never does."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.archives import member, tar
from support.shell import program, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

_SIZE = 400_000
_HOUR_S = 3600


def make(rpod: Rpod, name: str, idle_hours: float) -> str:
    """An image of its own ``_SIZE`` bytes that was last used so long ago; returns its id."""
    rpod.ok("import", "-q", "-", name, stdin=tar(member("file", os.urandom(_SIZE))))
    ident = rpod.ok("images", "-q", "--no-trunc", name).removeprefix("sha256:")
    rest(rpod.data / "images" / ident, idle_hours)
    return ident


def rest(path: Path, hours: float) -> None:
    then = time.time() - hours * _HOUR_S
    os.utime(path, (then, then))


def names(rpod: Rpod) -> set[str]:
    return {line.removeprefix("localhost/").removesuffix(":latest") for line in _listed(rpod)}


def _listed(rpod: Rpod) -> list[str]:
    return rpod.ok("images", "--format", "{{.Repository}}:{{.Tag}}").split()


@pytest.fixture
def four(fresh_rpod: Rpod) -> Rpod:
    """Four images: the oldest is a container's."""
    for name, hours in (("used", 90), ("oldest", 80), ("older", 70), ("young", 3)):
        make(fresh_rpod, name, hours)
    fresh_rpod.ok("create", "--name", "c", "used", "x")
    return fresh_rpod


def test_the_least_recently_used_go_until_the_size_is_kept(four: Rpod) -> None:
    four.configure('[storage]\nmax_size = "1700k"\n')
    said = four("import", "-q", "-", "new", stdin=tar(member("file", os.urandom(_SIZE))))
    assert said.code == 0 and "the next pull, load, import or commit removes localhost/oldest:latest (" in said.err
    assert "older" not in said.err and "containers.toml" in said.err
    assert names(four) == {"used", "oldest", "older", "young", "new"}, "the first time it is only said"
    shown = four.ok("system", "df", "-v").partition("The next pull")[2].splitlines()
    assert [line.split()[0] for line in shown[2:]] == ["NAME", "localhost/oldest:latest"]
    said = four("import", "-q", "-", "newer", stdin=tar(member("file", os.urandom(_SIZE))))
    assert "removed localhost/oldest:latest, localhost/older:latest (" in said.err
    assert names(four) == {"used", "young", "new", "newer"}
    assert len(list((four.data / "layers").iterdir())) == 4
    assert four.ok("system", "check") == ""


def test_what_is_in_use_or_was_just_now_stays(four: Rpod) -> None:
    four.configure('[storage]\nmax_size = "1k"\n')
    four.ok("rm", "c")
    four.ok("create", "--name", "c", "older", "x")
    four("import", "-q", "-", "new", stdin=tar(member("file", b"")))
    said = four("import", "-q", "-", "last", stdin=tar(member("file", b"1")))
    assert "removed localhost/oldest:latest, localhost/young:latest (" in said.err
    assert names(four) == {"used", "older", "new", "last"}, "removing a container was a use of its image, too"
    said = four("import", "-q", "-", "last", stdin=tar(member("file", b"2")))
    assert "more than storage.max_size" in said.err
    assert four("import", "-q", "-", "last", stdin=tar(member("file", b"3"))).err == "", "that is said once"


def test_age_takes_images_downloads_and_lost_layers(four: Rpod) -> None:
    partial = four.home / "cache" / "rpod" / "partial"
    partial.mkdir(mode=0o700)
    for name, hours in (("a" * 64, 60), ("b" * 64, 1)):
        (partial / name).write_bytes(bytes(5000))
        rest(partial / name, hours)
    lost = make(four, "lost", 1)
    (four.data / "images" / lost / "image.json").unlink()
    for layer in (four.data / "layers").iterdir():
        rest(layer, 100)
    four.configure('[storage]\nmax_age = "3d"\n')
    archive = four.home / "young.tar"
    four.ok("save", "-q", "-o", str(archive), "young")
    first = four("load", "-q", "-i", str(archive))
    assert "removes" in first.err and "partial" not in first.err and len(list((four.data / "layers").iterdir())) == 5
    rest(partial / ("a" * 64), 90)
    said = four("load", "-q", "-i", str(archive))
    assert "removed" in said.err and "oldest" in said.err and "partial download aaaa" in said.err
    assert names(four) == {"used", "older", "young"} and [path.name[0] for path in partial.iterdir()] == ["b"]
    assert len(list((four.data / "layers").iterdir())) == 3


def test_layers_shared_with_what_stays_bring_nothing(fresh_rpod: Rpod) -> None:
    make(fresh_rpod, "base", 50)
    fresh_rpod.ok("create", "--name", "c", "base", "x")
    fresh_rpod.ok("commit", "-q", "c", "child")
    child = fresh_rpod.ok("images", "-q", "--no-trunc", "child").removeprefix("sha256:")
    rest(fresh_rpod.data / "images" / child, 60)
    make(fresh_rpod, "other", 40)
    fresh_rpod.configure('[storage]\nmax_size = "900k"\n')
    for number in range(2):
        fresh_rpod("import", "-q", "-", f"new{number}", stdin=tar(member("file", bytes(100_000 + number))))
    assert {"base", "child"} <= names(fresh_rpod) and "other" not in names(fresh_rpod)


def test_a_container_that_is_just_made_keeps_its_image(fresh_rpod: Rpod) -> None:
    """A create and the budget at the same time: either the container has its image, or there is no container."""
    fresh_rpod.configure('[storage]\nmax_size = "1k"\n')
    make(fresh_rpod, "first", 0)
    for number in range(6):
        ident = make(fresh_rpod, "wanted", 90)
        archive = fresh_rpod.home / "new.tar"
        archive.write_bytes(tar(member("file", bytes(1000 + number))))
        budget = fresh_rpod.start("import", "-q", str(archive), f"new{number}", stderr=subprocess.DEVNULL)
        time.sleep(number * 0.04)
        made = fresh_rpod("create", "--pull", "never", "--name", "c", "wanted", "x")
        assert budget.wait() == 0
        if made.code == 0:
            assert (fresh_rpod.data / "images" / ident / "image.json").exists()
            assert "wanted" in names(fresh_rpod)
            fresh_rpod.ok("rm", "c")
        else:
            assert "no such image" in made.err or "was removed meanwhile" in made.err
            assert fresh_rpod.ok("ps", "-aq") == ""
        assert fresh_rpod.ok("system", "check") == ""


def test_what_was_pulled_just_now_or_is_mounted_stays(fresh_rpod: Rpod) -> None:
    fresh_rpod.configure('[storage]\nmax_size = "1k"\n')
    idents = {name: make(fresh_rpod, name, 0) for name in ("idle", "pulled", "mounted")}
    for ident in idents.values():
        rest(fresh_rpod.data / "images" / ident, 90)
    fresh_rpod.ok("pull", "-q", "--policy", "missing", "localhost/pulled")
    script = f"{' '.join(program())} image mount mounted && read x"
    with fresh_rpod.start("unshare", "sh", "-c", script, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as shell:
        assert shell.stdin is not None and shell.stdout is not None
        assert idents["mounted"] in shell.stdout.readline().decode()
        rest(fresh_rpod.data / "images" / idents["mounted"], 90)  # that it is mounted has to be enough
        for number in range(2):
            fresh_rpod("import", "-q", "-", f"new{number}", stdin=tar(member("file", bytes(number))))
        assert names(fresh_rpod) == {"pulled", "mounted", "new0", "new1"}
        fresh_rpod.ok("image", "prune", "-af")
        assert names(fresh_rpod) == {"mounted"}
        shell.stdin.close()
    wait_for(lambda: fresh_rpod("image", "prune", "-af").code == 0 and not names(fresh_rpod), what="the mount's end")


def test_a_wrong_limit_is_named(fresh_rpod: Rpod) -> None:
    fresh_rpod.configure('[storage]\nmax_age = "soon"\n')
    assert "must be an age like 12h, 30d or 8w, not 'soon'" in fresh_rpod.fails("run", "hello")

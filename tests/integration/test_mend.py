"""``purge`` and ``chown``: files of containers' ids in the user's own directories."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.leaks import Canary

from rootless.engine import mend
from rootless.errors import RpodError
from rootless.kernel import nested, syscalls, userns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.shell import Rpod

UID, GID = os.getuid(), os.getgid()


@pytest.fixture
def left(rpod: Rpod, image: str, tmp_path: Path) -> Iterator[Path]:
    """A directory as a database leaves one: a subordinate id's, closed, with links that lead out."""
    folder = tmp_path / "left"
    folder.mkdir()
    script = f"""
        mkdir -p /data/closed/deep && echo x >/data/closed/deep/file && ln -s {tmp_path}/canary /data/closed/out
        ln -s {tmp_path}/canary /data/out; mkfifo /data/closed/fifo
        chown -Rh 999:999 /data; chmod -R go= /data/closed; chmod 4700 /data/closed/deep/file"""
    rpod.ok("run", "--rm", "--network", "none", "-v", f"{folder}:/data", image, "sh", "-c", script)
    assert folder.stat().st_uid not in (UID, 0)
    yield folder
    userns.remove_tree_inside(str(folder))


@pytest.fixture
def canary(tmp_path: Path) -> Canary:
    return Canary(tmp_path / "canary")


def test_purge_removes_what_rm_cannot(rpod: Rpod, left: Path, canary: Canary) -> None:
    link = left.parent / "link"
    link.symlink_to(left / "closed")
    rpod.ok("purge", str(link))
    assert not link.is_symlink()
    assert rpod.ok("unshare", "ls", str(left / "closed")), "a link is removed, not what it points to"
    rpod.ok("purge", f"{left}/closed/deep/file", f"{left}/")
    assert not left.exists()
    canary.assert_untouched()


def test_chown_gives_everything_back(rpod: Rpod, left: Path, canary: Canary) -> None:
    rpod.ok("chown", "-R", str(left))
    found = [left, *left.rglob("*")]
    assert len(found) == 7
    assert {(path.lstat().st_uid, path.lstat().st_gid) for path in found} == {(UID, GID)}
    canary.assert_untouched()
    rpod.ok("chown", "5", str(left))
    assert left.stat().st_uid != UID
    assert left.stat().st_gid == GID
    rpod.ok("chown", "0:7", str(left))
    assert left.stat().st_uid == UID
    assert left.stat().st_gid != GID
    assert (left / "closed").stat().st_gid == GID, "without -R nothing below is changed"


@pytest.mark.parametrize("work", [mend._purge, lambda path: mend._chown(path, 0, 0, recursive=True)])
def test_other_file_systems_are_not_entered(left: Path, work: Callable[[str], None]) -> None:
    """What the host has mounted below cannot be taken off in a user namespace below: here are two, one in the other."""

    def outside() -> object:
        syscalls.mount("none", f"{left}/closed", "tmpfs", 0, "mode=700,uid=5")
        (left / "closed" / "inner").touch()

        def write(pid: int) -> None:
            nested.write_maps(pid, "0:0:1:1:1:1999", "0:0:1:1:1:1999")

        def inside(body: Callable[[], None]) -> int:
            return userns.fork_mapped(body, write, syscalls.CLONE_NEWNS)

        try:
            userns.call_forked(inside, lambda: work(str(left)))
        except RpodError as error:
            return [error.message, (left / "closed" / "inner").exists(), (left / "closed").stat().st_uid]
        return []

    found = userns.call_inside(outside)
    assert found == [f"another file system is mounted below {left}", True, 5]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("purge", "/etc/passwd"), "not one of yours"),
        (("purge", "/nowhere/at/all"), "no such file"),
        (("purge", "/"), "not one of yours"),
        (("purge", "{home}"), "home directory"),
        (("purge", "{home}/.."), "home directory"),
        (("purge", "{data}/containers"), "rpod's store"),
        (("chown", "-R", "{home}"), "rpod's store"),
        (("chown", "-R", "{data}/layers"), "rpod's store"),
        (("chown", "99999999", "{home}/x"), "is not mapped"),
        (("chown", "somebody", "{home}/x"), "neither your own name"),
        (("chown", "5", "/etc/passwd"), "not one of yours"),
        (("purge", ""), "empty"),
    ],
)
def test_what_is_refused(rpod: Rpod, image: str, words: tuple[str, ...], named: str) -> None:
    assert image
    (rpod.home / "x").write_text("")
    typed = [word.format(home=rpod.home, data=rpod.data) for word in words]
    assert named in rpod.fails(*typed)
    assert rpod.data.is_dir()

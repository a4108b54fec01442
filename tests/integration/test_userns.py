"""User namespaces: whose ids a container shows, and whose its files are outside."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

UID, GID = os.getuid(), os.getgid()


def test_the_default_map(rpod: Rpod, image: str) -> None:
    first, second, *_ = rpod.ok("run", "--rm", image, "cat", "/proc/self/uid_map").splitlines()
    assert first.split() == ["0", str(UID), "1"]
    assert second.split()[0] == "1"


def test_files_are_owned_right_inside_and_removable_outside(rpod: Rpod, image: str) -> None:
    script = "mkdir -m 700 /d; touch /d/f; chown -R 1000:2000 /d; stat -c %u:%g /d /home/user /root"
    assert rpod.ok("run", "--name", "owns", image, "sh", "-c", script).split() == ["1000:2000", "1000:1000", "0:0"]
    (folder,) = (rpod.data / "containers").glob("*")
    assert rpod.ok("rm", "owns")
    assert not folder.exists()


def test_keep_id(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    script = "id -u; id -g; stat -c %u:%g /data/mine /bin/busybox /home/user; touch /data/made; touch /tmp/made"
    out = rpod.ok("run", "--rm", "--userns", "keep-id", "-v", f"{tmp_path}:/data", image, "sh", "-c", script)
    assert out.split() == [str(UID), str(GID), f"{UID}:{GID}", "0:0", "1000:1000"]
    info = (tmp_path / "made").stat()
    assert (info.st_uid, info.st_gid) == (UID, GID)


def test_keep_id_as_another_number(rpod: Rpod, image: str, tmp_path: Path) -> None:
    script = "id -u; id -g; touch /data/made; stat -c %u:%g /data/made"
    words = ("--userns", "keep-id:uid=1000,gid=2000", "--network", "none", "-v", f"{tmp_path}:/data")
    assert rpod.ok("run", "--rm", *words, image, "sh", "-c", script).split() == ["1000", "2000", "1000:2000"]
    assert (tmp_path / "made").stat().st_uid == UID


def test_keep_id_as_root(rpod: Rpod, image: str, tmp_path: Path) -> None:
    script = "id -u; touch /data/made; chown 5:5 /data/made; touch /etc/new"
    words = ("--userns", "keep-id", "-u", "root", "-v", f"{tmp_path}:/data")
    assert rpod.ok("run", "--rm", *words, image, "sh", "-c", script) == "0"
    assert (tmp_path / "made").stat().st_uid != UID, "root of keep-id is a subordinate id"
    rpod.ok("unshare", "chown", "0:0", f"{tmp_path}/made")


def test_keep_id_survives_a_restart(rpod: Rpod, image: str) -> None:
    script = "echo x >>f; wc -l <f; stat -c %u f"
    rpod.ok("create", "--name", "again", "--userns", "keep-id", "-w", "/tmp", image, "sh", "-c", script)
    assert rpod.ok("start", "-a", "again").split() == ["1", str(UID)]
    assert rpod.ok("start", "-a", "again").split() == ["2", str(UID)]


def test_maps_of_the_users_own(rpod: Rpod, image: str) -> None:
    words = ("--uidmap", "0:1:1000", "--uidmap", "1000:0:1", "--gidmap", "0:0:1", "--gidmap", "1:1:2000")
    out = rpod.ok("run", "--rm", *words, image, "sh", "-c", "cat /proc/self/uid_map; stat -c %u /bin/busybox")
    *lines, owner = out.splitlines()
    assert ["1000", str(UID), "1"] in [line.split() for line in lines]
    assert owner == "0"


def test_the_namespace_of_another_container(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "base", image, "sleep", "60")
    script = "readlink /proc/self/ns/user"
    assert rpod.ok("run", "--rm", "--userns", "container:base", image, "sh", "-c", script) == rpod.ok(
        "exec", "base", "sh", "-c", script
    )


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--userns", "magic"), "magic"),
        (("--userns", "keep-id:uid=x"), "'x'"),
        (("--userns", "keep-id:colour=1"), "colour"),
        (("--uidmap", "0:0:99999999"), "0:0:99999999"),
        (("--userns", "auto"), "not there yet"),
        (("--userns", "nomap"), "not there yet"),
        (("--uidmap", "0:1:1000"), "own id"),
        (("--userns", "container:nobody"), "nobody"),
    ],
)
def test_maps_that_make_no_sense(rpod: Rpod, image: str, words: tuple[str, ...], named: str) -> None:
    assert named in rpod.fails("run", "--rm", *words, image, "true")

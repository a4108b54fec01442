"""Hostile Quadlet files: nothing hangs, nothing is written elsewhere, and one bad file does not spoil the others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.shell import Rpod

GOOD = "[Container]\nImage=hello\n"
INJECTION = "x\n[Service]\nExecStart=\nExecStart=touch canary\n#"


def fifo(folder: Path) -> None:
    os.mkfifo(folder / "bad.container")


def large(folder: Path) -> None:
    (folder / "bad.container").write_bytes(b"[Container]\n" + b"#" * (2 << 20))


def binary(folder: Path) -> None:
    (folder / "bad.container").write_bytes(b"[Container]\nImage=\xff\xfe\x00\n")


def closed(folder: Path) -> None:
    (folder / "bad.container").write_text(GOOD)
    (folder / "bad.container").chmod(0)


def dangling(folder: Path) -> None:
    (folder / "bad.container").symlink_to("/not/there")


def circle(folder: Path) -> None:
    (folder / "bad.container").symlink_to("bad.container")


def folder_of_that_name(folder: Path) -> None:
    (folder / "bad.container").mkdir()


def name_with_lines(folder: Path) -> None:
    (folder / f"{INJECTION}.container").write_text(GOOD)


def endless_drop_ins(folder: Path) -> None:
    (folder / "bad.container").write_text(GOOD)
    (folder / "bad.container.d").symlink_to("bad.container.d")


@pytest.mark.parametrize(
    "make", [fifo, large, binary, closed, dangling, circle, folder_of_that_name, name_with_lines, endless_drop_ins]
)
def test_one_bad_file_is_told_and_the_others_are_served(fresh_rpod: Rpod, make: Callable[[Path], None]) -> None:
    folder = fresh_rpod.home / "config/rpod/systemd"
    folder.mkdir(parents=True)
    make(folder)
    (folder / "good.container").write_text(GOOD)
    done = fresh_rpod("quadlet", "sync", timeout_s=20)
    assert done.code == 1
    assert "Traceback" not in done.err
    assert "this is a bug" not in done.err
    written = fresh_rpod.home / "config/systemd/user"
    assert "ExecStart=" in (written / "good.service").read_text()
    for path in written.iterdir():
        assert "\n" not in path.name
        assert "ExecStart=touch" not in path.read_text().splitlines()


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/b", ".hidden"])
@pytest.mark.parametrize("key", ["WantedBy", "Alias"])
def test_links_stay_in_the_folder(fresh_rpod: Rpod, key: str, name: str) -> None:
    folder = fresh_rpod.home / "config/rpod/systemd"
    folder.mkdir(parents=True)
    (folder / "web.container").write_text(f"{GOOD}[Install]\n{key}={name}.service\n")
    assert "a unit's name has no folder" in fresh_rpod.fails("quadlet", "sync", code=1)
    assert not [path for path in fresh_rpod.home.rglob("*") if path.is_symlink()]


def test_what_is_installed_stays_in_its_folder(fresh_rpod: Rpod, tmp_path: Path) -> None:
    bad = tmp_path / "all.quadlets"
    bad.write_text(f"# FileName=../../../escape\n{GOOD}")
    assert "FileName" in fresh_rpod.fails("quadlet", "install", str(bad))
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "web.container").write_text(GOOD)
    (tmp_path / "app" / "secret").symlink_to("/etc/hostname")
    (tmp_path / "app" / "away").symlink_to("/etc")
    fresh_rpod.ok("quadlet", "install", str(tmp_path / "app"))
    installed = fresh_rpod.home / "config/rpod/systemd/app"
    assert sorted(path.name for path in installed.iterdir()) == ["secret", "web.container"]
    assert not (installed / "secret").is_symlink()

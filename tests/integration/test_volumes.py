"""Mounts and volumes: what outlives the container, what it may write, and whose it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod


def test_a_directory_of_the_host(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from the host\n")
    assert rpod.ok("run", "--rm", "-v", f"{tmp_path}:/data", image, "cat", "/data/in") == "from the host"
    rpod.ok("run", "--rm", "-v", f"{tmp_path}:/data", image, "sh", "-c", "echo back >/data/out")
    assert (tmp_path / "out").read_text() == "back\n"
    assert (tmp_path / "out").stat().st_uid == os.getuid(), "root of the container is the user"


@pytest.mark.parametrize("words", [("-v", "{}:/data:ro"), ("--mount", "type=bind,src={},dst=/data,readonly")])
def test_read_only(rpod: Rpod, image: str, tmp_path: Path, words: tuple[str, str]) -> None:
    option, value = words
    done = rpod("run", "--rm", option, value.format(tmp_path), image, "touch", "/data/file")
    assert done.code == 1
    assert "Read-only" in done.err
    assert list(tmp_path.iterdir()) == []


def test_a_single_file(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "motd").write_text("hello\n")
    assert rpod.ok("run", "--rm", "-v", f"{tmp_path}/motd:/new/etc/motd:ro", image, "cat", "/new/etc/motd") == "hello"


def test_a_volume_outlives_its_containers(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "--rm", "-v", "keep:/data", image, "sh", "-c", "echo kept >/data/file; chown 1000:1000 /data/file")
    assert rpod.ok("run", "--rm", "-v", "keep:/other", image, "stat", "-c", "%u:%g", "/other/file") == "1000:1000"
    assert rpod.ok("run", "--rm", "--mount", "type=volume,src=keep,dst=/x", image, "cat", "/x/file") == "kept"


def test_a_new_volume_is_filled_from_the_image(rpod: Rpod, image: str) -> None:
    assert "hello" in rpod.ok("run", "--rm", "-v", "www:/var/www", image, "cat", "/var/www/index.html")
    rpod.ok("run", "--rm", "-v", "www:/var/www", image, "sh", "-c", "echo changed >/var/www/index.html")
    assert rpod.ok("run", "--rm", "-v", "www:/var/www", image, "cat", "/var/www/index.html") == "changed"
    assert rpod.ok("run", "--rm", "-v", "bare:/var/www:nocopy", image, "ls", "/var/www") == ""


def test_anonymous_volumes_go_with_their_container(rpod: Rpod, image: str) -> None:
    volumes = rpod.data / "volumes"
    before = set(os.listdir(volumes)) if volumes.exists() else set()
    rpod.ok("run", "--rm", "-v", "/data", image, "touch", "/data/x")
    assert set(os.listdir(volumes)) == before
    rpod.ok("run", "--name", "holder", "-v", "/data", image, "touch", "/data/x")
    assert len(set(os.listdir(volumes)) - before) == 1
    rpod.ok("rm", "-v", "holder")
    assert set(os.listdir(volumes)) == before


def test_volumes_of_another_container(rpod: Rpod, image: str, tmp_path: Path) -> None:
    rpod.ok("run", "--name", "first", "-v", "/data", "-v", f"{tmp_path}:/host", image, "sh", "-c", "echo 1 >/data/x")
    assert rpod.ok("run", "--rm", "--volumes-from", "first", image, "cat", "/data/x") == "1"
    done = rpod("run", "--rm", "--volumes-from", "first:ro", image, "touch", "/data/y", "/host/y")
    assert done.err.count("Read-only") == 2


def test_tmpfs(rpod: Rpod, image: str) -> None:
    script = "stat -fc %T:%b:%S /fast; stat -c %a /fast"
    out = rpod.ok("run", "--rm", "--tmpfs", "/fast:size=1m,mode=700", image, "sh", "-c", script)
    assert out.split()[0].startswith("tmpfs:256:4096")
    assert out.split()[1] == "700"
    words = ("--mount", "type=tmpfs,dst=/fast,tmpfs-size=64k")
    full = rpod("run", "--rm", *words, image, "dd", "if=/dev/zero", "of=/fast/x")
    assert "No space left" in full.err
    assert "hello" in rpod.ok("run", "--rm", "--tmpfs", "/var/www", image, "cat", "/var/www/index.html")


def test_read_only_root(rpod: Rpod, image: str) -> None:
    script = "touch /x; touch /tmp/x && echo tmp; touch /run/x && echo run; touch /dev/shm/x && echo shm"
    done = rpod("run", "--rm", "--read-only", image, "sh", "-c", script)
    assert "Read-only" in done.err
    assert done.out.split() == ["tmp", "run", "shm"]
    assert rpod("run", "--rm", "--read-only", "-v", "/data", image, "touch", "/data/x").code == 0


def test_shm_size(rpod: Rpod, image: str) -> None:
    script = "echo $(($(stat -fc '%b * %S' /dev/shm)))"
    assert rpod.ok("run", "--rm", image, "sh", "-c", script) == str(64 << 20)
    assert rpod.ok("run", "--rm", "--shm-size", "1m", image, "sh", "-c", script) == str(1 << 20)


def test_nested_targets_mount_from_the_outside_in(rpod: Rpod, image: str, tmp_path: Path) -> None:
    for name in ("outer", "inner"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(f"{name}\n")
    words = ("-v", f"{tmp_path}/inner:/m/sub", "-v", f"{tmp_path}/outer:/m")
    assert rpod.ok("run", "--rm", *words, image, "cat", "/m/name", "/m/sub/name").split() == ["outer", "inner"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("-v", "/no/such/source:/x"), "/no/such/source"),
        (("-v", "name:relative"), "relative"),
        (("-v", "name:/x:loud"), "loud"),
        (("-v", "name:/proc"), "/proc"),
        (("-v", "one:/x", "-v", "two:/x"), "/x"),
        (("-v", "one:/x:O,ro"), "upperdir"),
        (("--mount", "type=bind,dst=/x"), "source"),
        (("--mount", "type=volume,src=v"), "target"),
        (("--mount", "type=cake,dst=/x"), "cake"),
        (("--mount", "type=tmpfs,dst=/x,colour=red"), "colour"),
        (("--tmpfs", "/x:colour"), "colour"),
        (("--volumes-from", "nobody"), "nobody"),
        (("--shm-size", "big"), "big"),
    ],
)
def test_mounts_that_make_no_sense(rpod: Rpod, image: str, words: tuple[str, ...], named: str) -> None:
    assert named in rpod.fails("run", "--rm", *words, image, "true")

"""cp between a container and the host: hostile names and links, and a container that swaps them meanwhile."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from support.hostile import DIRECTORY, Entry
from support.leaks import Canary

from rootless.engine import copy
from rootless.errors import RpodError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.shell import Rpod

    MakeImage = Callable[..., str]

# The hostile program: two names trade places as fast as they can.
SWAP = "while :; do mv /data/a /data/x; mv /data/b /data/a; mv /data/x /data/b; done"


@pytest.fixture(params=["running", "stopped"])
def container(request: pytest.FixtureRequest, safe: Rpod, make_image: MakeImage) -> str:
    """A container with links that lead out, once running and once only created."""
    image = make_image(
        {
            "data": DIRECTORY,
            "data/file": Entry(b"inside"),
            "data/out": Entry(link="/"),
            "data/up": Entry(link="../" * 30),
            "data/dir": DIRECTORY,
            "data/dir/deep": Entry(b"deep"),
        }
    )
    if request.param == "running":
        return safe.ok("run", "-d", "--network", "none", image, "sleep", "1000")
    return safe.ok("create", "--network", "none", image, "sleep", "1000")


def in_tar(entries: dict[str, tarfile.TarInfo]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, info in entries.items():
            info.name = name
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return buffer.getvalue()


def info(kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    made = tarfile.TarInfo()
    made.type, made.linkname, made.size = kind, link, size
    return made


# ---- the honest uses, for both states


def test_a_tree_goes_in_and_comes_out(safe: Rpod, container: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "sub" / "file").write_text("content")
    (tree / "script").write_text("#!/bin/sh\n")
    (tree / "script").chmod(0o750)
    (tree / "link").symlink_to("sub/file")
    os.link(tree / "script", tree / "twin")
    safe.ok("cp", str(tree), f"{container}:/data/")
    safe.ok("cp", f"{container}:/data/tree", str(tmp_path / "back"))
    back = tmp_path / "back"
    assert (back / "sub" / "file").read_text() == "content"
    assert (back / "script").stat().st_mode & 0o7777 == 0o750
    assert (back / "script").stat().st_ino == (back / "twin").stat().st_ino
    assert os.readlink(back / "link") == "sub/file"
    assert all(path.lstat().st_uid == os.geteuid() for path in back.rglob("*"))
    assert (back / "script").stat().st_mtime_ns == (tree / "script").stat().st_mtime_ns


def test_podmans_rules_for_names(safe: Rpod, container: str, tmp_path: Path) -> None:
    file, folder = tmp_path / "file", tmp_path / "folder"
    file.write_text("new")
    folder.mkdir()
    (folder / "inner").write_text("inner")
    safe.ok("cp", str(file), f"{container}:/data/other")
    safe.ok("cp", str(file), f"{container}:data")
    safe.ok("cp", str(folder), f"{container}:/data/made")
    safe.ok("cp", f"{folder}/.", f"{container}:/data/dir")
    safe.ok("cp", f"{folder}/.", f"{container}:/data/made2")
    safe.ok("cp", f"{container}:/data", str(tmp_path / "out"))
    names = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*")}
    assert {"other", "file", "made/inner", "dir/inner", "dir/deep", "made2/inner"} <= names
    assert (tmp_path / "out" / "file").read_text() == "new"
    for source, target, words in (
        (f"{tmp_path}/none", f"{container}:/data", "could not be found on the host"),
        (f"{container}:/none", str(tmp_path), '"/none" could not be found on container'),
        (str(file), f"{container}:/none/", '"/none/" could not be found on container'),
        (str(file), f"{container}:/none/x", "could not be found on container"),
        (f"{container}:/data/file", f"{tmp_path}/none/", "could not be found on the host"),
        (str(folder), f"{container}:/data/file", "destination must be a directory when copying a directory"),
        ("-", f"{container}:/data/file", "destination must be a directory when copying from stdin"),
        (str(file), str(folder), "neither"),
        (str(file), "nobody:/x", "nobody"),
    ):
        assert words in safe.fails("cp", source, target)


def test_streams(safe: Rpod, container: str, tmp_path: Path) -> None:
    out = safe("cp", f"{container}:/data/dir", "-")
    with tarfile.open(fileobj=io.BytesIO(out.raw)) as archive:
        assert archive.getnames() == ["dir", "dir/deep"]
    safe.ok("cp", "-", f"{container}:/data", stdin=in_tar({"sent/file": info(size=5)}))
    safe.ok("cp", f"{container}:/data/sent/file", f"{container}:/data/again")
    safe.ok("cp", f"{container}:/data/again", str(tmp_path / "again"))
    assert (tmp_path / "again").read_bytes() == b"xxxxx"


def test_owners(safe: Rpod, make_image: MakeImage, tmp_path: Path) -> None:
    """What goes in belongs to the container's user; with --archive=false the host's user is root there."""
    (tmp_path / "mine").write_text("x")
    name = safe.ok("run", "-d", "--network", "none", "-u", "user", make_image(), "sleep", "1000")
    safe.ok("cp", str(tmp_path / "mine"), f"{name}:/tmp/")
    safe.ok("cp", "--archive=false", str(tmp_path / "mine"), f"{name}:/tmp/raw")
    assert safe.ok("exec", name, "stat", "-c", "%u:%g", "/tmp/mine", "/tmp/raw").split() == ["1000:1000", "0:0"]


# ---- links and names


@pytest.mark.parametrize("link", ["out", "up"])
def test_a_link_of_the_container_stays_inside(
    safe: Rpod, container: str, canary: Canary, tmp_path: Path, link: str
) -> None:
    (tmp_path / "file").write_text("sent")
    hidden = str(canary.root).lstrip("/")
    assert "could not be found" in safe.fails("cp", f"{container}:/data/{link}/{hidden}/file", str(tmp_path / "got"))
    assert "could not be found" in safe.fails("cp", str(tmp_path / "file"), f"{container}:/data/{link}/{hidden}/file")
    safe.ok("cp", str(tmp_path / "file"), f"{container}:/data/{link}/tmp/file")
    assert not (tmp_path / "got").exists()


def test_links_of_the_host_do_not_lead_out_of_the_target(
    safe: Rpod, container: str, tmp_path: Path, canary: Canary
) -> None:
    """The user's target directory has a link where the container has a directory."""
    target = tmp_path / "target"
    target.mkdir()
    (target / "dir").symlink_to(canary.root)
    assert "cannot be replaced" in safe.fails("cp", f"{container}:/data/.", str(target))


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../../x"])
def test_names_in_a_stream_that_climb(safe: Rpod, container: str, name: str) -> None:
    assert "leads out of the archive" in safe.fails("cp", "-", f"{container}:/data", stdin=in_tar({name: info()}))


def test_a_stream_with_a_link_and_a_file_through_it(safe: Rpod, container: str, canary: Canary) -> None:
    """It ends in the container's own root, where no such path is."""
    data = in_tar({"l": info(tarfile.SYMTYPE, str(canary.root)), "l/file": info(size=3)})
    error = safe.fails("cp", "-", f"{container}:/data", stdin=data)
    assert "l" in error


def test_a_stream_that_a_container_has_made_hostile(tmp_path: Path, canary: Canary) -> None:
    """A directory that becomes a link while it is read is sent as a link, and what was in it through that."""
    target = tmp_path / "target"
    target.mkdir()
    folder = info(tarfile.DIRTYPE)
    folder.mode = 0o755
    data = in_tar({"d": folder, "d/l": info(tarfile.SYMTYPE, str(canary.root)), "d/l/new": info(size=3)})
    source, sink = os.pipe()
    os.write(sink, b"d\0\1d" + data)
    os.close(sink)
    writer = copy._Writer(copy._Place(None, str(target), "target"), False, archive=True, overwrite=False)
    with pytest.raises(RpodError, match="new"):
        writer.run(source)
    os.close(source)
    assert (target / "d" / "l").is_symlink()


def test_a_damaged_stream(safe: Rpod, container: str) -> None:
    assert "not a tar archive" in safe.fails("cp", "-", f"{container}:/data", stdin=b"no archive" * 100)


def test_names_that_options_and_terminals_do_not_like(safe: Rpod, container: str, tmp_path: Path) -> None:
    tree = tmp_path / "names"
    tree.mkdir()
    names = [b"-rf", b"\xff\xfe", b"new\nline", b"esc\x1b[31m", b"n" * 255, b".wh.file", b".wh..wh..opq"]
    for name in names:
        with open(os.fsencode(tree) + b"/" + name, "wb") as file:
            file.write(name)
    safe.ok("cp", str(tree), f"{container}:/data")
    safe.ok("cp", f"{container}:/data/names", str(tmp_path / "back"))
    assert sorted(os.listdir(os.fsencode(tmp_path / "back"))) == sorted(names)


# ---- races


def test_a_container_that_swaps_a_directory_for_a_link(
    safe: Rpod, make_image: MakeImage, canary: Canary, tmp_path: Path
) -> None:
    """Copying in and out while /data/a is now a directory, now a link to the host's canary and its like."""
    image = make_image({"data": DIRECTORY, "data/a": DIRECTORY, "data/b": Entry(link=str(canary.root))})
    name = safe.ok("run", "-d", "--network", "none", image, "sh", "-c", SWAP)
    (tmp_path / "file").write_text("sent")
    for turn in range(12):
        sent = safe("cp", str(tmp_path / "file"), f"{name}:/data/a/file")
        got = safe("cp", f"{name}:/data/a", str(tmp_path / f"got{turn}"))
        for done in (sent, got):
            assert done.code in (0, 125), done
            assert "Traceback" not in done.err, done
    assert Canary.SECRET not in "".join(path.read_text() for path in tmp_path.glob("got*/file"))
    assert not any(path.is_symlink() for path in tmp_path.glob("got*/*"))


def test_a_fifo_and_a_socket_do_not_stop_a_copy(safe: Rpod, container: str, tmp_path: Path) -> None:
    if safe.ok("inspect", "--format", "{{.State.Running}}", container) != "true":
        pytest.skip("nothing makes a FIFO in a container that does not run")
    safe.ok("exec", container, "mkfifo", "/data/fifo")
    safe.ok("cp", f"{container}:/data", str(tmp_path / "out"))
    assert (tmp_path / "out" / "fifo").is_fifo()

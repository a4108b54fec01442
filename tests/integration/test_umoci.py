"""What rpod unpacks and shows is what umoci unpacks: contents, links, and all that is known of each file."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import busybox, layout
from support.archives import directory, hardlink, inside, member, symlink, tar

from rootless.kernel import userns

if TYPE_CHECKING:
    from support.shell import Rpod

BASE = tar(
    directory(".", mode=0o711, uid=5, gid=6, mtime=1000),
    directory("d", pax_headers={"mtime": "1000000000.123456789"}),
    member("d/owned", b"x" * 3000, uid=7, gid=1000, mode=0o4755),
    hardlink("d/twin", "d/owned"),
    member("d/gone", b"2"),
    directory("tmp", mode=0o1777, mtime=1234),
    directory("closed", mode=0o700, uid=7, gid=8, mtime=77, pax_headers={"SCHILY.xattr.user.note": "a directory's"}),
    directory("again", uid=3, mode=0o2775),
    member("again/old", b"hidden"),
    directory("gone", mode=0o700, uid=9),
    symlink("link", "/etc/passwd"),
    member("fifo", type=tarfile.FIFOTYPE, mode=0o620, uid=1, gid=2),
    member("attr", b"y", pax_headers={"SCHILY.xattr.user.note": "kept", "mtime": "-5.25"}),
    member("n" * 200, b"long"),
)
# Nothing is said of the root, of tmp, closed and again: they stay what they are. ``gone`` begins anew.
UPPER = tar(
    member("d/.wh.gone"),
    member("tmp/new", b"new"),
    member("closed/a/b", b"deep"),
    member("again/.wh..wh..opq"),
    member("again/new", b"3"),
    directory("empty", mode=0o1777),
)
OWN = ("user.overlay.", "user.fuseoverlayfs.", "user.umoci.", "user.rootlesscontainers")  # of the drivers and of umoci
PASSED_THROUGH = ("closed", "closed/a")  # umoci gives them the time of the unpacking
TOP = tar(member(".wh.gone"), member("closed/a/c", b"deeper"))


def real_tar(folder: Path) -> bytes:
    """A layer that tar(1) wrote: a sparse file, names that are no text, times to the nanosecond."""
    folder.mkdir()
    with (folder / "sparse").open("wb") as file:
        for offset in (0, 1 << 20, 5 << 20):
            file.seek(offset)
            file.write(os.urandom(5000))
        file.truncate(8 << 20)
    Path(os.fsdecode(os.fsencode(folder) + b"/not\xfftext")).write_bytes(b"name")
    (folder / "link").symlink_to("nowhere")
    for name in (*os.listdir(folder), "."):
        os.utime(folder / name, ns=(1, 1_234_567_890_123_456_789), follow_symlinks=False)
    argv = ["tar", "--format=posix", "--sparse", "--owner=:11", "--group=:12", "--sort=name", "-C", str(folder)]
    # The inode's change time has no place in a layer.
    argv += ["--pax-option=delete=atime,delete=ctime", "-cf", "-", "--transform=s,^[.],real,", "."]
    return subprocess.run(argv, capture_output=True, check=True).stdout


def tree(root: str) -> list[tuple[object, ...]]:
    """All that can be known of a tree: names, kinds, modes, owners, times, links, contents and attributes."""

    def look() -> list[list[object]]:
        found: list[list[object]] = []
        inodes: dict[int, str] = {}
        for folder, folders, names in os.walk(root):
            for name in [*folders, *names] if folder != root else [".", *folders, *names]:
                path = f"{folder}/{name}"
                where = os.path.relpath(path, root)
                info = os.lstat(path)
                first = inodes.setdefault(info.st_ino, where) if info.st_nlink > 1 and name in names else where
                entry: list[object] = [where, info.st_mode, info.st_uid, info.st_gid, first]
                entry.append(info.st_mtime_ns if where not in PASSED_THROUGH else "some time")
                if os.path.islink(path):
                    entry.append(os.readlink(path))
                elif os.path.isfile(path):
                    entry.append(hashlib.sha256(Path(path).read_bytes()).hexdigest())
                attributes = os.listxattr(path, follow_symlinks=False)
                entry.append(sorted((n, os.getxattr(path, n).decode()) for n in attributes if not n.startswith(OWN)))
                found.append(entry)
        return sorted(found, key=str)

    result = inside(look)
    assert isinstance(result, list)
    return [tuple(map(str, entry)) for entry in result]


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """An image layout of four layers, tag ``t``."""
    layout.write(tmp_path / "layout", [BASE, UPPER, TOP, real_tar(tmp_path / "real")], {"Cmd": ["x"]}, "t")
    return tmp_path / "layout"


def test_umoci_unpacks_the_same_tree(fresh_rpod: Rpod, made: Path, tmp_path: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("load", "-i", str(made))
    argv = ["umoci", "unpack", "--image", f"{made}:t", str(tmp_path / "bundle")]
    try:
        inside(lambda: subprocess.run(argv, capture_output=True, check=True).returncode)
        theirs = tree(str(tmp_path / "bundle" / "rootfs"))
    finally:
        userns.remove_tree_inside(str(tmp_path / "bundle"))
    rpod.ok("create", "--name", "c", "localhost/t")
    rpod.ok("export", "-o", str(tmp_path / "root.tar"), "c")
    rpod.ok("import", str(tmp_path / "root.tar"), "flat")
    flat = rpod.ok("image", "inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", "flat")
    assert len(theirs) == 21
    assert tree(flat) == theirs


def test_directories_that_a_layer_only_passes_through(fresh_rpod: Rpod, tmp_path: Path) -> None:
    """The same in a container that runs, pulled or loaded layer by layer, and after a commit."""
    program = member("bin/busybox", Path(busybox.BUSYBOX).read_bytes(), mode=0o755)
    layers = [BASE, tar(directory("bin"), program), UPPER, TOP]
    source = layout.write(tmp_path / "layout", layers, {"Cmd": ["x"]}, "t")
    rpod = fresh_rpod
    rpod.ok("pull", "-q", source)
    seen = ["stat", "-c", "%n %a %u:%g", "/", "/tmp", "/closed", "/closed/a", "/again"]
    wanted = "/ 711 5:6\n/tmp 1777 0:0\n/closed 700 7:8\n/closed/a 755 0:0\n/again 2775 3:0"
    run = ["run", "--network", "none", "--entrypoint", "/bin/busybox"]
    assert rpod.ok(*run, "--name", "c", "localhost/t", *seen) == wanted
    rpod.ok("commit", "-q", "c", "committed")
    assert rpod.ok(*run, "--rm", "committed", *seen) == wanted
    assert rpod.ok("system", "check") == "" and list(rpod.data.glob("layers/*/implied")) == []

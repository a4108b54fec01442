"""What a mount can be besides a directory: images, overlays, globs, parts of volumes, and whose files they are."""

from __future__ import annotations

import io
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from support import busybox, layout

from rootless.kernel import userns

if TYPE_CHECKING:
    from pathlib import Path

    from support.registry import PlainRegistry
    from support.shell import Rpod


@pytest.fixture(scope="session")
def layered(plain_registry: PlainRegistry, session_rpod: Rpod, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of two layers; the upper one hides a file of the lower one and changes another."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in (("etc/.wh.group", b""), ("etc/passwd", b"upper\n"), ("etc/deep/file", b"deep\n")):
            info = tarfile.TarInfo(name)
            info.size, info.uid = len(data), 1000
            archive.addfile(info, io.BytesIO(data))
    folder = tmp_path_factory.mktemp("layered")
    config: dict[str, object] = {"Env": ["PATH=/bin"], "Cmd": ["sh"], "Volumes": {"/vol": {}}}
    plain_registry.push(layout.write(folder / "image", [busybox.layer(), buffer.getvalue()], config), "layered:latest")
    name = f"{plain_registry.address}/layered:latest"
    session_rpod.ok("pull", "--quiet", "--tls-verify=false", name)
    return name


@pytest.mark.parametrize("userns", [(), ("--userns", "keep-id")])
def test_an_image_is_mounted(rpod: Rpod, image: str, layered: str, userns: tuple[str, ...]) -> None:
    words = ("run", "--rm", *userns, "--mount", f"type=image,source={layered},dst=/img", image)
    script = "cat /img/etc/passwd; ls /img/etc; stat -c %u /img/etc/deep/file; touch /img/new"
    done = rpod(*words, "sh", "-c", script)
    assert done.out.split() == ["upper", "deep", "passwd", "1000"], done
    assert "Read-only" in done.err


def test_an_image_of_one_layer_and_a_part_of_an_image(rpod: Rpod, image: str, layered: str) -> None:
    words = ("--mount", f"type=image,source={image},dst=/one", "--mount")
    words += (f"type=image,source={layered},dst=/part,subpath=etc/deep",)
    out = rpod.ok("run", "--rm", *words, image, "sh", "-c", "cat /one/var/www/index.html /part/file; ls /part")
    assert out.splitlines() == ["<h1>hello from a container</h1>", "deep", "file"]
    for outside in ("../..", "/etc/../../x", "no/such"):
        words = ("--mount", f"type=image,source={layered},dst=/part,subpath={outside}")
        assert "subpath" in rpod.fails("run", "--rm", *words, image, "true")


def test_a_writable_image_forgets(rpod: Rpod, image: str, layered: str) -> None:
    words = ("--name", "writer", "--mount", f"type=image,source={layered},dst=/img,rw=true")
    script = "ls /img/etc; echo new >/img/etc/new; rm /img/etc/passwd; ls /img/etc"
    assert rpod.ok("run", *words, image, "sh", "-c", script).split() == ["deep", "passwd", "deep", "new"]
    assert rpod.ok("start", "-a", "writer").split() == ["deep", "passwd", "deep", "new"]
    assert "in use" in rpod.fails("rmi", layered, code=2)


def test_an_overlay_over_a_directory(rpod: Rpod, image: str, tmp_path: Path) -> None:
    script = "cat /d/file; echo theirs >/d/file; rm -f /d/none; touch /d/new; ls /d"
    words = ("-v", f"{tmp_path}/plain:/d:O")
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "file").write_text("mine\n")
    for verb in (("run", "--name", "scratch", *words, image, "sh", "-c", script), ("start", "-a", "scratch")):
        assert rpod.ok(*verb).split() == ["mine", "file", "new"]
    assert (tmp_path / "plain" / "file").read_text() == "mine\n"
    assert os.listdir(tmp_path / "plain") == ["file"]
    assert rpod.ok("cp", "scratch:/d/file", "-")
    volume = rpod.ok("run", "--rm", "-v", "keep-o:/d", image, "sh", "-c", "echo kept >/d/file")
    assert volume == ""
    assert rpod.ok("run", "--rm", "-v", "keep-o:/d:O", image, "sh", "-c", "rm /d/file; ls /d") == ""
    assert rpod.ok("run", "--rm", "-v", "keep-o:/d", image, "cat", "/d/file") == "kept"


def test_an_overlay_that_keeps(rpod: Rpod, image: str, tmp_path: Path) -> None:
    for name in ("lower", "upper", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "lower" / "file").write_text("mine\n")
    words = ("-v", f"{tmp_path}/lower:/d:O,upperdir={tmp_path}/upper,workdir={tmp_path}/work", "--userns", "keep-id")
    rpod.ok("run", "--rm", *words, image, "sh", "-c", "echo changed >/d/file")
    assert (tmp_path / "upper" / "file").read_text() == "changed\n"
    assert (tmp_path / "lower" / "file").read_text() == "mine\n"
    assert rpod.ok("run", "--rm", *words, image, "cat", "/d/file") == "changed"
    userns.remove_tree_inside(str(tmp_path / "work"))  # the kernel's directory in it has no permissions


def test_files_become_the_users(rpod: Rpod, image: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.touch()
    for path in (tree / "file", tree / "sub" / "file"):
        path.touch()
    (tree / "link").symlink_to(outside)
    script = "stat -c %u:%g /d /d/file /d/sub/file /d/link; id -u"
    words = ("--rm", "-u", "1000:2000", "-v", f"{tree}:/d:U,ro", "--tmpfs", "/d/sub")
    out = rpod.ok("run", *words, image, "sh", "-c", script).split()
    assert out[:1] + out[1:2] == ["1000:2000"] * 2
    assert out[-1] == "1000"
    assert outside.stat().st_uid == os.getuid(), "the link was not followed"
    assert (tree / "sub" / "file").stat().st_uid == (tree / "file").stat().st_uid, "below the tmpfs, too"
    rpod.ok("run", "--rm", "-v", f"{tree}:/d:U", image, "true")
    assert (tree / "sub" / "file").stat().st_uid == os.getuid()
    assert rpod.ok("run", "--rm", "-u", "1000", "--mount", "type=tmpfs,dst=/t,chown", image, "touch", "/t/x") == ""


def test_a_part_of_a_volume(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "--rm", "-v", "parts:/v", image, "sh", "-c", "mkdir -p /v/a/b; echo in >/v/a/b/f; ln -s / /v/out")
    words = ("--mount", "type=volume,src=parts,dst=/x,subpath=a/b")
    assert rpod.ok("run", "--rm", *words, image, "cat", "/x/f") == "in"
    for link in ("out/etc", "../..", "nothing"):
        words = ("--mount", f"type=volume,src=parts,dst=/x,volume-subpath={link}")
        assert "subpath" in rpod.fails("run", "--rm", *words, image, "true")


def test_a_glob_and_devpts(rpod: Rpod, image: str, tmp_path: Path) -> None:
    for name in ("one.conf", "two.conf"):
        (tmp_path / name).write_text(name)
    words = ("--mount", f"type=glob,src={tmp_path}/*.conf,dst=/etc/conf,ro", "--mount", "type=devpts,dst=/pts,mode=620")
    out = rpod.ok("run", "--rm", *words, image, "sh", "-c", "ls /etc/conf; stat -fc %T /pts; ls /pts")
    assert out.split() == ["one.conf", "two.conf", "devpts", "ptmx"]


def test_image_volumes(rpod: Rpod, layered: str) -> None:
    def mounted(*words: str) -> str:
        return rpod.ok("run", "--rm", *words, layered, "sh", "-c", "grep -c ' /vol ' /proc/mounts; stat -fc %T /vol")

    assert mounted().split()[0] == "1"
    assert mounted("--image-volume", "tmpfs").split() == ["1", "tmpfs"]
    assert rpod("run", "--rm", "--image-volume", "ignore", layered, "ls", "/vol").code == 1
    assert "--image-volume" in rpod.fails("run", "--rm", "--image-volume", "sometimes", layered, "true")


def test_a_volume_with_options(rpod: Rpod, image: str, tmp_path: Path) -> None:
    words = ("--mount", "type=volume,src=mem,dst=/m,volume-opt=type=tmpfs,volume-opt=o=size=64k")
    out = rpod.ok("run", "--rm", *words, image, "sh", "-c", "stat -fc %T:%b /m")
    assert out == "tmpfs:16"
    for option in ("O", "subpath=x"):
        assert "is a tmpfs" in rpod.fails("run", "--rm", "-v", f"mem:/m:{option}", image, "true")
    words = (
        "--mount",
        f"type=volume,src=dir,dst=/m,volume-opt=type=none,volume-opt=o=bind,volume-opt=device={tmp_path}",
    )
    rpod.ok("run", "--rm", *words, image, "touch", "/m/there")
    assert os.listdir(tmp_path) == ["there"]


def test_propagation_and_recursive_read_only(rpod: Rpod, image: str, tmp_path: Path) -> None:
    for mode in ("private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable", "runbindable"):
        out = rpod.ok("run", "--rm", "-v", f"{tmp_path}:/d:{mode}", image, "grep", " /d ", "/proc/self/mountinfo")
        assert ("shared:" in out) == mode.endswith("shared"), out
        assert ("unbindable" in out) == mode.endswith("unbindable"), out
    done = rpod("run", "--rm", "-v", f"{tmp_path}:/d:rro", image, "touch", "/d/x")
    assert "Read-only" in done.err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("-v", "{tmp}:/d:idmap"), "idmap"),
        (("-v", "{home}:/d:U"), "home directory"),
        (("-v", "/:/d:U"), "home directory"),
        (("-v", "{tmp}/no:/d:O"), "does not exist"),
        (("-v", "/etc/passwd:/d:O"), "directory"),
        (("-v", "{tmp}:/d:O,ro"), "upperdir"),
        (("--mount", "type=image,source=no/such/image:here,dst=/d", "--pull", "never"), "no such image"),
        (("--mount", "type=image,dst=/d"), "source"),
        (("--mount", "type=glob,src={tmp}/*.none,dst=/d"), "nothing matches"),
        (("--mount", "type=bind,src={tmp},dst=/d,ro=perhaps"), "perhaps"),
        (("--mount", "type=volume,src=v,dst=/d,volume-opt=o=size=1g"), "quota"),
    ],
)
def test_mounts_that_cannot_be(rpod: Rpod, image: str, tmp_path: Path, words: tuple[str, ...], named: str) -> None:
    # The tests' HOME is a temporary directory, in which the sources of these lie, too.
    source = tmp_path / "source"
    source.mkdir()
    filled = [word.format(tmp=source, home=rpod.home) for word in words]
    assert named in rpod.fails("run", "--rm", *filled, image, "true")


def test_no_wish_for_shifted_ids_is_forgotten(rpod: Rpod, image: str, layered: str) -> None:
    for mount in (
        "type=tmpfs,dst=/d,idmap",
        f"type=image,source={layered},dst=/d,idmap",
        "type=volume,src=v,dst=/d,idmap",
    ):
        assert "idmap" in rpod.fails("run", "--rm", "--mount", mount, image, "true")

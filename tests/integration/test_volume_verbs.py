"""``rpod volume …``: a volume's life by hand, and its files in and out as archives."""

from __future__ import annotations

import io
import json
import os
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod


def test_from_create_to_rm(rpod: Rpod, image: str) -> None:
    assert rpod.ok("volume", "create", "--label", "kind=test", "life") == "life"
    assert "exists" in rpod.fails("volume", "create", "life")
    assert rpod.ok("volume", "create", "--ignore", "life") == "life"
    assert rpod("volume", "exists", "life").code == 0
    assert rpod("volume", "exists", "lif").code == 1
    assert "local       life" in rpod.ok("volume", "ls").splitlines()
    assert rpod.ok("volume", "ls").splitlines()[0] == "DRIVER      VOLUME NAME"
    assert rpod.ok("volume", "ls", "--noheading", "--filter", "name=^life$") == "local       life"
    (found,) = json.loads(rpod.ok("volume", "inspect", "lif"))
    assert found["Name"] == "life"
    assert found["Labels"] == {"kind": "test"}
    assert (found["Driver"], found["Scope"], found["MountCount"], found["NeedsCopyUp"]) == ("local", "local", 0, True)
    assert found["Mountpoint"] == str(rpod.data / "volumes" / "life" / "_data")
    rpod.ok("run", "-d", "--name", "user", "-v", "life:/data", image, "sleep", "60")
    assert rpod.ok("volume", "inspect", "-f", "{{.MountCount}}", "life") == "1"
    error = rpod.fails("volume", "rm", "life", code=2)
    assert "container user (" in error
    assert rpod.ok("volume", "rm", "-f", "-t", "0", "life") == "life"
    assert rpod("volume", "exists", "life").code == 1
    assert rpod("container", "exists", "user").code == 1
    assert "no such volume" in rpod.fails("volume", "rm", "life", code=1)
    assert rpod.ok("volume", "rm", "-f", "life") == ""
    assert len(rpod.ok("volume", "create")) == 64
    assert "plugins" in rpod.fails("volume", "reload")


def test_filters_formats_and_prune(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    for words in (["-l", "a=1", "one"], ["-l", "a=2", "--opt", "o=uid=5", "two"], ["three"]):
        rpod.ok("volume", "create", *words)

    def names(*filters: str) -> list[str]:
        return rpod.ok("volume", "ls", "-q", *(word for text in filters for word in ("--filter", text))).split()

    assert names() == ["one", "three", "two"]
    assert names("label=a") == ["one", "two"]
    assert names("label=a=1", "label=a=2") == ["one", "two"]
    assert names("label=a", "name=w") == ["two"]
    assert names("label!=a") == ["three"]
    assert names("opt=o") == ["two"]
    assert names("driver=local", "scope=local", "dangling=true", "anonymous=false") == ["one", "three", "two"]
    assert names("dangling=false") == names("until=1h") == []
    assert rpod.ok("volume", "ls", "--format", "{{.Name}} {{.Labels.a}}", "--filter", "label=a").split() == [
        *("one", "1", "two", "2"),
    ]
    assert [row["Name"] for row in json.loads(rpod.ok("volume", "ls", "--format", "json"))] == ["one", "three", "two"]
    assert rpod.ok("volume", "inspect", "-f", "{{.UID}}", "two") == "5"
    for wrong in ("colour=red", "name=[", "dangling=perhaps", "name"):
        assert "--filter" in rpod.fails("volume", "ls", "--filter", wrong)
    assert "more of it" in rpod.fails("volume", "rm", "t")
    asked = rpod("volume", "prune", "--filter", "label=a", stdin=b"n\n")
    assert "one\ntwo" in asked.out
    assert names() == ["one", "three", "two"]
    assert rpod.ok("volume", "prune", "-f", "--filter", "label=a").split() == ["one", "two"]
    assert rpod.ok("volume", "rm", "-a") == "three"


def test_owner_and_mode(rpod: Rpod, image: str) -> None:
    rpod.ok("volume", "create", "--opt", "o=uid=1000,gid=2000,mode=0710", "owned")
    assert rpod.ok("run", "--rm", "-v", "owned:/data:nocopy", image, "stat", "-c", "%u:%g:%a", "/data") == (
        "1000:2000:710"
    )
    rpod.ok("volume", "create", "--opt", "nocopy", "uncopied")
    assert rpod.ok("run", "--rm", "-v", "uncopied:/var/www", image, "ls", "/var/www") == ""
    rpod.ok("volume", "rm", "owned", "uncopied")


def test_export_and_import(rpod: Rpod, image: str, tmp_path: Path) -> None:
    script = "cd /v; mkdir d; echo data >d/f; ln -s /etc/passwd link; ln d/f hard; chown -R 1000:2000 d; chmod 4755 d/f"
    rpod.ok("run", "--rm", "-v", "origin:/v", image, "sh", "-c", script)
    archive = tmp_path / "origin.tar"
    rpod.ok("volume", "export", "origin", "-o", str(archive))
    with tarfile.open(archive) as opened:
        found = {member.name: member for member in opened.getmembers()}
    assert (found["./d/f"].uid, found["./d/f"].gid, found["./d/f"].mode & 0o7777) == (1000, 2000, 0o4755)
    assert found["./link"].linkname == "/etc/passwd"
    rpod.ok("volume", "create", "copy")
    rpod.ok("volume", "import", "copy", str(archive))
    look = "stat -c '%u %g %a %h' /v/d/f; readlink /v/link; cat /v/hard"
    assert rpod.ok("run", "--rm", "-v", "copy:/v", image, "sh", "-c", look).split() == [
        *("1000", "2000", "4755", "2", "/etc/passwd", "data"),
    ]
    piped = rpod("volume", "export", "origin").raw
    rpod.ok("volume", "import", "copy", "-", stdin=piped)
    assert "no such volume" in rpod.fails("volume", "import", "nowhere", str(archive), code=1)
    assert "cannot be read" in rpod.fails("volume", "import", "copy", str(tmp_path / "none"))
    assert "not a tar archive" in rpod.fails("volume", "import", "copy", "-", stdin=b"x" * 2048)
    assert rpod.ok("volume", "mount", "copy") == str(rpod.data / "volumes" / "copy" / "_data")
    assert rpod.ok("volume", "unmount", "copy") == "copy"
    rpod.ok("volume", "rm", "origin", "copy")


def test_a_hostile_archive_stays_in_the_volume(rpod: Rpod, image: str, tmp_path: Path) -> None:
    """Links out, names that climb, a device, a whiteout, and what is written through them."""
    (tmp_path / "canary").write_text("sings")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, kind, link in (
            ("out", tarfile.SYMTYPE, str(tmp_path)),
            ("null", tarfile.CHRTYPE, ""),
            (".wh.keep", tarfile.REGTYPE, ""),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.devmajor, info.devminor = kind, link, 1, 3
            archive.addfile(info)
        info = tarfile.TarInfo("out/canary")
        info.size = 4
        archive.addfile(info, io.BytesIO(b"evil"))
    rpod.ok("run", "--rm", "-v", "prison:/v", image, "touch", "/v/keep")
    done = rpod("volume", "import", "prison", "-", stdin=buffer.getvalue())
    assert "Traceback" not in done.err
    assert (tmp_path / "canary").read_text() == "sings"
    assert os.listdir(tmp_path) == ["canary"]
    listed = rpod.ok("run", "--rm", "-v", "prison:/v", image, "ls", "-A", "/v").split()
    assert "keep" in listed
    assert "null" not in listed
    climbing = io.BytesIO()
    with tarfile.open(fileobj=climbing, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../../climbed"))
    assert "leads out" in rpod.fails("volume", "import", "prison", "-", stdin=climbing.getvalue())
    rpod.ok("volume", "rm", "prison")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("create", "../x"), "cannot be a volume's name"),
        (("create", "--driver", "image", "x"), "driver"),
        (("create", "--opt", "o=size=1g", "x"), "quota"),
        (("create", "--opt", "type=nfs", "x"), "nfs"),
        (("create", "a", "b"), "one volume"),
        (("inspect",), "--all"),
        (("rm",), "--all"),
        (("rm", "-t", "3", "x"), "--force"),
    ],
)
def test_volume_verbs_that_make_no_sense(rpod: Rpod, words: tuple[str, ...], named: str) -> None:
    assert named in rpod.fails("volume", *words)

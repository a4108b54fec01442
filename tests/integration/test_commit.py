"""``commit``, ``export`` and ``import``: containers and archives become images."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import tarfile
from http.server import SimpleHTTPRequestHandler
from typing import TYPE_CHECKING

import pytest
from support import layout
from support.archives import digest, directory, hardlink, member, symlink, tar
from support.http_server import HttpServer
from support.shell import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

SCRIPT = """
rm /etc/group; rm -r /var/www; mkdir /var/www; echo new >/var/www/new
mkdir /data; echo secret >/data/file; ln /data/file /data/second; ln -s /etc/shadow /data/link
chown 1000:2000 /data/file; chmod 4751 /data/file; mkfifo /data/fifo; touch -d '2001-02-03 04:05:06' /data/fifo
printf '\\377name' >"/data/$(printf '\\377')"
"""
LOOK = (
    "cd /; ls -ln data; stat -c '%Y' data/fifo; cat var/www/new data/*ile; ls var/www; ls etc/group; find data | wc -l"
)


def inspect(rpod: Rpod, name: str) -> dict[str, object]:
    found = json.loads(rpod.ok("image", "inspect", name))[0]
    assert isinstance(found, dict)
    return found


@pytest.fixture
def changed(rpod: Rpod, image: str, tmp_path: Path) -> str:
    rpod.ok("run", "--name", "changed", "-v", f"{tmp_path}:/mnt/host", "-e", "OWN=1", image, "sh", "-c", SCRIPT)
    return "changed"


def test_a_root_that_is_made_plain_again(rpod: Rpod, image: str) -> None:
    """What the layer says of ``/`` is the difference to the image, not that to what is usual."""
    look = ("stat", "-c", "%a %u:%g", "/")
    made = []
    for number, (change, wanted) in enumerate(
        [("chmod 711 /; chown 5:6 /", "711 5:6"), ("true", "711 5:6"), ("chown 0:0 /; chmod 755 /", "755 0:0")]
    ):
        rpod.ok("run", "--name", f"root{number}", image, "sh", "-c", change)
        image = rpod.ok("commit", "-q", f"root{number}")
        made.append(image)
        assert rpod.ok("run", "--rm", image, *look) == wanted
    rpod.ok("rmi", "-f", *made[::-1])


@pytest.mark.parametrize("squash", [False, True], ids=["layered", "squashed"])
def test_a_committed_container_is_what_it_was(rpod: Rpod, changed: str, squash: bool) -> None:
    options = ["--squash"] if squash else []
    ident = rpod.ok("commit", "-q", *options, "--message", "why", "--author", "me", changed, "committed")
    found = inspect(rpod, "localhost/committed:latest")
    assert found["Id"] == ident and found["Author"] == "me" and found["Comment"] == "why"
    assert found["RootFS"]["Layers"][1:] == ([] if squash else found["RootFS"]["Layers"][-1:])  # type: ignore[index]
    history = json.loads(rpod.ok("history", "--format", "json", "committed"))
    assert history[0]["comment"] == "why" and history[0]["CreatedBy"].startswith("sh -c")
    seen = rpod("run", "--rm", "committed", "sh", "-c", LOOK)
    assert "-rwsr-x--x    2 1000     2000             7 " in seen.out, seen
    assert "link -> /etc/shadow" in seen.out and "981173106\nnew\nsecret\nnew\n" in seen.out
    assert seen.out.endswith("6\n") and "No such file" in seen.err
    # the place of a mount belongs to the container, not to what it changed
    assert rpod("run", "--rm", "committed", "ls", "/mnt/host").code == (0 if squash else 1)
    rpod.ok("rmi", "committed")


def test_what_the_container_said_and_what_changes(rpod: Rpod, image: str, tmp_path: Path) -> None:
    rpod.ok(
        *["create", "--name", "told", "-e", "A=1", "-l", "x=y", "-w", "/tmp", "-u", "1000", "--expose", "81/udp"],
        *["--stop-signal", "INT", "-v", "/volume", "--entrypoint", "echo", image, "hi", "there"],
    )
    rpod.ok("commit", "-q", "--include-volumes", "told", "told:1")
    config = inspect(rpod, "told:1")["Config"]
    assert config == {
        "User": "1000",
        "ExposedPorts": {"81/udp": {}},
        "Env": ["PATH=/bin", "ORIGIN=image", "A=1"],
        "Entrypoint": ["echo"],
        "Cmd": ["hi", "there"],
        "Volumes": {"/volume": {}},
        "WorkingDir": "/tmp",
        "Labels": {"x": "y"},
        "StopSignal": "SIGINT",
    }
    assert rpod.ok("run", "--rm", "told:1") == "hi there"
    changes = [
        *["CMD=pwd", 'ENTRYPOINT ["sh","-c"]', "ENV B=2 'C=3 4'", "ENV=D=5", "EXPOSE 90-91 92/udp", "LABEL=k=v"],
        *["USER 5:6", 'VOLUME ["/a"]', "VOLUME /b /c", "WORKDIR sub", "STOPSIGNAL 9", "onbuild RUN x"],
    ]
    arguments = [word for change in changes for word in ("--change", change)]
    file = tmp_path / "id"
    ident = rpod.ok("commit", "--format", "docker", "-m", "a word", "--iidfile", str(file), *arguments, "told")
    assert file.read_text() == ident
    found = inspect(rpod, ident)
    assert found["ManifestType"] == "application/vnd.docker.distribution.manifest.v2+json" and found["RepoTags"] == []
    stored = (rpod.data / "images" / ident / "config.json").read_text()
    assert found["Comment"] == json.loads(stored)["comment"] == "a word"  # where Podman looks for it
    config = found["Config"]
    assert isinstance(config, dict)
    assert config["Cmd"] == ["/bin/sh", "-c", "pwd"] and config["Entrypoint"] == ["sh", "-c"]
    assert config["Env"][-4:] == ["A=1", "B=2", "C=3 4", "D=5"] and config["Labels"] == {"x": "y", "k": "v"}
    assert set(config["ExposedPorts"]) == {"81/udp", "90/tcp", "91/tcp", "92/udp"}
    assert config["User"] == "5:6" and set(config["Volumes"]) == {"/a", "/b", "/c"}
    assert config["WorkingDir"] == "/tmp/sub" and config["StopSignal"] == "9"
    rpod.ok("rm", "told")
    rpod.ok("rmi", ident, "told:1")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        (["--change", "RUN x"], "no such instruction"),
        (["--change", "ENV"], "INSTRUCTION VALUE"),
        (["--change", "ENV A"], "NAME=VALUE"),
        (["--change", "ENV 'A=b"], "No closing quotation"),
        (["--change", "EXPOSE x"], "not a number"),
        (["--change", "VOLUME a"], "absolute"),
        (["--change", "ONBUILD RUN x"], "OCI format"),
        (["--change", "STOPSIGNAL NONE"], "no signal"),
        (["--format", "tar"], "no such format"),
        (["--iidfile", "/proc/x"], "--iidfile"),
    ],
)
def test_what_commit_refuses(rpod: Rpod, image: str, option: list[str], says: str) -> None:
    rpod.ok("create", "--name", "still", image)
    before = rpod.ok("images", "-qa")
    assert says in rpod.fails("commit", *option, "still", "never")
    assert rpod.ok("images", "-qa") == before


def test_commit_of_a_running_container(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "busy", image, "sh", "-c", "while :; do date >>/log; done")
    wait_for(lambda: rpod("exec", "busy", "test", "-s", "/log").code == 0, what="the first line")
    rpod.ok("commit", "--pause", "-q", "busy", "snapshot")
    assert rpod.ok("inspect", "-f", "{{.State.Status}}", "busy") == "running"
    rpod.ok("rm", "-ft0", "busy")
    assert int(rpod.ok("run", "--rm", "snapshot", "wc", "-l", "/log").split()[0]) > 0
    rpod.ok("rmi", "snapshot")


def test_shifted_ids_are_the_images_own(rpod: Rpod, image: str) -> None:
    rpod.ok(
        "run", "--name", "me", "--userns", "keep-id", image, "sh", "-c", "mkdir /tmp/d; rm /etc/group 2>/dev/null; :"
    )
    rpod.ok(
        "run", "--name", "root", "--userns", "keep-id", "-u", "0", image, "sh", "-c", "chown 1000 /tmp; rm /etc/group"
    )
    rpod.ok("commit", "-q", "root", "shifted")
    assert rpod.ok("run", "--rm", "shifted", "stat", "-c", "%u:%g", "/tmp", "/home/user", "/bin").split() == [
        *["1000:0", "1000:1000", "0:0"]
    ]
    assert rpod("run", "--rm", "shifted", "test", "-e", "/etc/group").code == 1
    rpod.ok("rmi", "shifted")


@pytest.mark.parametrize("where", ["a stream", "a file"])
def test_export_is_the_whole_root(rpod: Rpod, changed: str, tmp_path: Path, where: str) -> None:
    if where == "a file":
        target = tmp_path / "root.tar"
        rpod.ok("export", "-o", str(target), changed)
        data = target.read_bytes()
        assert [path.name for path in tmp_path.iterdir()] == ["root.tar"]
    else:
        data = rpod("export", changed).raw
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        entries = {info.name: info for info in archive.getmembers()}
    assert "etc/group" not in entries and "var/www/index.html" not in entries
    assert entries["bin/sh"].linkname == "busybox" and entries["data/second"].islnk()
    assert (entries["data/file"].uid, entries["data/file"].gid, entries["data/file"].mode) == (1000, 2000, 0o4751)
    assert not [name for name in entries if name.startswith("mnt/host/") or ".wh." in name]
    rpod.ok("rm", "-f", changed)


def test_export_to_nowhere(rpod: Rpod, image: str, tmp_path: Path) -> None:
    rpod.ok("create", "--name", "made", image)
    target = str(tmp_path / "no" / "file")
    said = rpod.fails("export", "-o", target, "made")
    assert said.endswith(f"{target} cannot be written: no such file or directory")
    with open("/dev/full", "wb") as full:
        done = rpod.start("export", "made", stdout=full, stderr=subprocess.PIPE)
        assert b"no space left" in done.communicate()[1] and done.returncode == 125
    assert "cannot be written" in rpod.fails("export", "-o", "/dev/full/x", "made")
    assert "no such container" in rpod.fails("export", image)


def test_export_and_import_keep_everything(rpod: Rpod, changed: str) -> None:
    data = rpod("export", changed).raw
    rpod("import", "-q", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "-m", "flat", "-", "flat", stdin=data)
    again = rpod.ok("run", "--name", "flat", "flat", "stat", "-c", "%a %u %g", "/data/file")
    assert again == "4751 1000 2000"
    assert json.loads(rpod.ok("history", "--format", "json", "flat"))[0]["comment"] == "flat"
    second = rpod("export", "flat").raw

    def listing(archive: bytes) -> list[tuple[object, ...]]:
        with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
            return [
                (m.name, m.mode, m.uid, m.gid, m.linkname, m.size, m.mtime, m.type)
                for m in opened
                if m.name not in (".", "etc") and not m.name.startswith(("mnt", "etc/", "dev", "proc", "sys", "run"))
            ]

    assert listing(second) == listing(data)
    rpod.ok("rm", "flat")
    rpod.ok("rmi", "flat")


ROOT = tar(directory("d"), member("d/f", b"x", uid=7), hardlink("d/g", "d/f"), symlink("l", "/etc/passwd"))


@pytest.mark.parametrize("form", ["plain", "gzip", "bzip2", "xz", "zstd"])
def test_import_of_every_compression(rpod: Rpod, tmp_path: Path, form: str) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(ROOT)
    if form != "plain":
        data = subprocess.run([form, "-c", str(path)], capture_output=True, check=True).stdout
        path.write_bytes(data)
    ident = rpod.ok("import", "-q", str(path), f"from-{form}")
    assert inspect(rpod, ident)["RootFS"]["Layers"] == [digest(ROOT)]  # type: ignore[index]
    assert inspect(rpod, ident)["RepoTags"] == [f"localhost/from-{form}:latest"]
    rpod.ok("rmi", ident)


def test_import_of_a_url_and_of_rubbish(fresh_rpod: Rpod, tmp_path: Path) -> None:
    rpod = fresh_rpod
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "root.tar.gz").write_bytes(gzip.compress(ROOT))

    with HttpServer(SimpleHTTPRequestHandler, directory=str(tmp_path / "web")) as server:
        url = f"http://{server.address}"
        rpod.ok("import", "--arch", "arm64", "--variant", "v8", f"{url}/root.tar.gz", "web")
        assert "404" in rpod.fails("import", f"{url}/none.tar")
    assert inspect(rpod, "web")["Architecture"] == "arm64"
    assert rpod.fails("import", f"{url}/root.tar.gz").endswith("cannot be fetched: Connection refused")
    assert "not a tar archive" in rpod.fails("import", "-", stdin=os.urandom(4096))
    assert "ends in the middle" in rpod.fails("import", "-", stdin=ROOT[:1600])
    assert "bzip2 stream" in rpod.fails("import", "-", stdin=b"BZh9" + os.urandom(600))
    assert "leads out" in rpod.fails("import", "-", stdin=tar(member("../../x", b"evil")))
    assert "No such file" in rpod.fails("import", str(tmp_path / "none")).replace("no such", "No such")
    assert "cannot be given" in rpod.fails("import", "-", f"a@sha256:{64 * 'a'}", stdin=ROOT)
    assert rpod.ok("images", "-q").count("\n") == 0
    assert list((rpod.data / "staging").iterdir()) == []
    assert len(list((rpod.data / "layers").iterdir())) == 1


def test_an_image_without_any_layer(fresh_rpod: Rpod, tmp_path: Path) -> None:
    """Its manifest may leave the list of layers out."""
    rpod = fresh_rpod
    layout.write(tmp_path / "layout", [], {"Cmd": ["/x"]}, "empty")
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    index = json.loads((tmp_path / "layout" / "index.json").read_text())
    document = json.loads((blobs / index["manifests"][0]["digest"][7:]).read_text())
    del document["layers"]
    raw = json.dumps(document).encode()
    (blobs / digest(raw)[7:]).write_bytes(raw)
    index["manifests"][0] |= {"digest": digest(raw), "size": len(raw)}
    (tmp_path / "layout" / "index.json").write_text(json.dumps(index))
    rpod.ok("load", "-q", "-i", str(tmp_path / "layout"))
    rpod.ok("create", "--name", "nothing", "empty")
    rpod.ok("cp", "/bin/busybox", "nothing:/x")
    assert rpod.ok("run", "--rm", "-v", "/bin/busybox:/busybox:ro", "empty", "/busybox", "ls", "/").split()[-1] == "sys"
    rpod.ok("commit", "-q", "nothing", "filled")
    assert len(inspect(rpod, "filled")["RootFS"]["Layers"]) == 1  # type: ignore[index, call-overload, arg-type]
    rpod.ok("save", "-q", "--format", "docker-dir", "-o", str(tmp_path / "dir"), "empty")
    assert json.loads((tmp_path / "dir" / "manifest.json").read_text())["layers"] == []

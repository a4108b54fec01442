"""Images to and from archives and directories: round trips with the real skopeo, podman and buildah."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from support import layout
from support.archives import directory, hardlink, member, symlink, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.registry import PlainRegistry
    from support.shell import Rpod

BASE = tar(
    directory("d", mtime=1_000_000_000.5, pax_headers={"mtime": "1000000000.123456789"}),
    member("d/owned", b"x" * 3000, uid=7, gid=1000, mode=0o4755),
    hardlink("d/twin", "d/owned"),
    member("d/gone", b"2"),
    symlink("link", "/etc/passwd"),
    member("fifo", type=tarfile.FIFOTYPE),
    member("attr", b"y", pax_headers={"SCHILY.xattr.user.note": "kept", "mtime": "-5.25"}),
    member("n" * 200, b"long"),
)
UPPER = tar(directory("d"), member("d/.wh.gone"), member("new", b"new"), directory("empty", mode=0o1777))
CONFIG = {"Cmd": ["x"], "Env": ["A=b"], "Labels": {"l": "v"}}


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, env={**os.environ, **(env or {})}, check=False)
    assert done.returncode == 0, done
    return done.stdout.strip()


def skopeo(*args: str) -> str:
    return run("skopeo", "--insecure-policy", *args)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image layout of two gzipped layers, tag ``t``."""
    path = tmp_path_factory.mktemp("made") / "layout"
    layout.write(path, [BASE, UPPER], CONFIG, "t")
    return path


class Podman:
    """The real one, with a store of its own."""

    def __init__(self, home: Path, run_root: Path) -> None:
        self._home, self._run_root = home, run_root  # the second of at most 50 characters

    def __call__(self, *args: str, program: str = "podman") -> str:
        options = ["--root", f"{self._home}/root", "--runroot", str(self._run_root), "--storage-driver", "vfs"]
        return run(program, *options, *args, env={"HOME": str(self._home)})


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory, runtime_base: Path) -> Iterator[Podman]:
    home = tmp_path_factory.mktemp("podman")
    yield Podman(home, runtime_base / "podman")
    subprocess.run(["podman", "unshare", "rm", "-rf", str(home)], check=False)


def config_digest(raw: str) -> str:
    return str(json.loads(raw)["config"]["digest"])


def layer_ids(rpod: Rpod, name: str) -> Any:
    return json.loads(rpod.ok("image", "inspect", name))[0]["RootFS"]["Layers"]


def test_what_skopeo_writes_rpod_reads(fresh_rpod: Rpod, made: Path, tmp_path: Path) -> None:
    rpod = fresh_rpod
    wanted = config_digest(skopeo("inspect", "--raw", f"oci:{made}:t"))
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in (BASE, UPPER)]
    for form in ("docker-archive", "oci-archive", "oci", "dir"):
        path = tmp_path / form
        ending = ":docker.io/test/image:v1" if form.endswith("archive") else ":v2" if form == "oci" else ""
        skopeo("copy", f"oci:{made}:t", f"{form}:{path}{ending}")
        said = rpod.ok("load", "-q", "-i", str(path))
        name = said.removeprefix("Loaded image: ")
        expected = {"oci": "localhost/v2:latest", "dir": wanted}.get(form, "docker.io/test/image:v1")
        assert name == expected
        assert rpod.ok("image", "inspect", "-f", "sha256:{{.Id}}", name) == wanted
        assert layer_ids(rpod, name) == diff_ids
        if form != "docker-archive":
            raw = json.loads(skopeo("inspect", "--raw", f"{form}:{path}{ending}"))
            stored = rpod.ok("image", "inspect", "-f", "{{.Digest}}", name)
            assert stored == skopeo("inspect", "--format", "{{.Digest}}", f"{form}:{path}{ending}"), raw
        rpod.ok("rmi", "-f", name)


def test_what_rpod_writes_skopeo_reads(fresh_rpod: Rpod, made: Path, tmp_path: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("load", "-q", "-i", str(made))
    rpod.ok("tag", "localhost/t", "docker.io/test/image:v1")
    rpod.ok("untag", "localhost/t", "localhost/t")
    wanted = rpod.ok("images", "-q", "--no-trunc", "test/image:v1")
    for form, kind in (("docker-archive", "docker-archive"), ("oci-archive", "oci-archive")):
        path = tmp_path / form
        saved = rpod("save", "-q", "--format", form, "docker.io/test/image:v1")
        assert saved.code == 0, saved
        path.write_bytes(saved.raw)
        assert config_digest(skopeo("inspect", "--raw", f"{kind}:{path}:docker.io/test/image:v1")) == wanted
        skopeo("copy", f"{kind}:{path}:docker.io/test/image:v1", f"oci:{tmp_path}/from-{form}:x")
    for form, kind in (("oci-dir", "oci"), ("docker-dir", "dir")):
        path = tmp_path / form
        rpod.ok("save", "-q", "--format", form, "-o", str(path), "docker.io/test/image:v1")
        name = f"{kind}:{path}" + (":docker.io/test/image:v1" if kind == "oci" else "")
        raw = skopeo("inspect", "--raw", name)
        assert config_digest(raw) == wanted
        assert ("oci" in json.loads(raw)["mediaType"]) == (kind == "oci")
        assert json.loads(raw)["layers"][0]["mediaType"].endswith("gzip")
        skopeo("copy", name, f"oci:{tmp_path}/from-{form}:x")
        assert config_digest(skopeo("inspect", "--raw", f"oci:{tmp_path}/from-{form}:x")) == wanted or kind == "dir"
    rpod.ok("save", "--format", "oci-dir", "--uncompressed", "-o", str(tmp_path / "plain"), "test/image:v1")
    layers = json.loads(skopeo("inspect", "--raw", f"oci:{tmp_path}/plain:docker.io/test/image:v1"))["layers"]
    assert [layer["digest"] for layer in layers] == layer_ids(rpod, "test/image:v1")
    # What has uncompressed layers comes back with the very manifest.
    rpod.ok("rmi", "-f", "test/image:v1")
    rpod.ok("load", "-i", str(tmp_path / "plain"))
    digest = rpod.ok("image", "inspect", "-f", "{{.Digest}}", "test/image:v1")
    rpod.ok("save", "--format", "oci-archive", "-o", str(tmp_path / "again.tar"), "test/image:v1")
    assert skopeo("inspect", "--format", "{{.Digest}}", f"oci-archive:{tmp_path}/again.tar") == digest


def test_podman_and_buildah_read_and_write_the_same(
    fresh_rpod: Rpod, podman: Podman, made: Path, tmp_path: Path
) -> None:
    rpod = fresh_rpod
    rpod.ok("load", "-i", str(made))
    wanted = rpod.ok("images", "-q", "--no-trunc", "localhost/t").removeprefix("sha256:")
    for form in ("docker-archive", "oci-archive"):
        file = tmp_path / form
        rpod.ok("save", "--format", form, "-o", str(file), "localhost/t:latest")
        assert podman("load", "-q", "-i", str(file)).endswith("localhost/t:latest")
        assert podman("images", "-q", "--no-trunc", "localhost/t").removeprefix("sha256:") == wanted
        podman("save", "-q", "--format", form, "-o", str(tmp_path / f"p-{form}"), "localhost/t:latest")
        rpod.ok("rmi", "-f", "localhost/t")
        assert rpod.ok("load", "-i", str(tmp_path / f"p-{form}")) == "Loaded image: localhost/t:latest"
        assert rpod.ok("images", "-q", "--no-trunc", "localhost/t") == f"sha256:{wanted}"
    container = podman("from", "localhost/t:latest", program="buildah")
    podman("config", "--label", "by=buildah", container, program="buildah")
    podman("commit", "-q", container, f"oci-archive:{tmp_path}/b.tar:localhost/b:1", program="buildah")
    assert rpod.ok("load", "-i", str(tmp_path / "b.tar")) == "Loaded image: localhost/b:1"
    assert rpod.ok("image", "inspect", "-f", "{{.Config.Labels.by}}", "localhost/b:1") == "buildah"


def test_several_images_in_one_archive(fresh_rpod: Rpod, made: Path, tmp_path: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("load", "-i", str(made))
    rpod.ok("run", "--rm", "hello")
    rpod.ok("save", "-m", "-o", str(tmp_path / "two.tar"), "localhost/t", "hello")
    rpod.ok("save", "-o", str(tmp_path / "names.tar"), "localhost/t", "second:1")
    ids = rpod.ok("images", "-q", "--no-trunc").splitlines()
    digest = rpod.ok("image", "inspect", "-f", "{{.Digest}}", "localhost/t")
    assert "localhost/second:1" in rpod.ok("load", "-i", str(tmp_path / "names.tar"))
    # A docker-archive has no manifest: that of the stored image stays.
    assert rpod.ok("image", "inspect", "-f", "{{.Digest}}", "second:1") == digest
    rpod.ok("rmi", "-af")
    assert rpod.ok("load", "-i", str(tmp_path / "two.tar")).splitlines() == [
        "Loaded image: localhost/t:latest",
        "Loaded image: localhost/rpod/hello:latest",
    ]
    assert sorted(rpod.ok("images", "-q", "--no-trunc").splitlines()) == sorted(ids)
    with tarfile.open(tmp_path / "two.tar") as archive:
        assert len(archive.getnames()) == len(set(archive.getnames())) == 6  # 3 layers, 2 configs, 1 list


@pytest.mark.parametrize("form", ["zstd", "zstd:chunked", "gzip members"])
def test_layers_in_other_forms(
    fresh_rpod: Rpod, made: Path, tmp_path: Path, plain_registry: PlainRegistry, form: str
) -> None:
    """zstd:chunked is zstd with more frames, eStargz gzip with more members; both have annotations that stay."""
    rpod = fresh_rpod
    path = tmp_path / "layout"
    if form == "gzip members":
        packed = b"".join(gzip.compress(BASE[i : i + 1000], mtime=0) for i in range(0, len(BASE), 1000))
        layout.write(path, [BASE], CONFIG, "t")
        index = json.loads((path / "index.json").read_text())
        manifest = json.loads((path / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
        note = {"containerd.io/snapshot/stargz/toc.digest": "sha256:" + 64 * "0"}
        manifest["layers"][0] |= {"digest": f"sha256:{digest(packed)}", "size": len(packed), "annotations": note}
        (path / "blobs/sha256" / digest(packed)).write_bytes(packed)
        raw = json.dumps(manifest).encode()
        (path / "blobs/sha256" / digest(raw)).write_bytes(raw)
        index["manifests"][0] |= {"digest": f"sha256:{digest(raw)}", "size": len(raw)}
        (path / "index.json").write_text(json.dumps(index))
    else:
        skopeo("copy", "--dest-compress-format", form, f"oci:{made}:t", f"dir:{path}")
    before = json.loads(skopeo("inspect", "--raw", f"oci:{path}:t" if form == "gzip members" else f"dir:{path}"))
    stored = rpod.ok("load", "-q", "-i", str(path)).removeprefix("Loaded image: ")
    assert layer_ids(rpod, stored)[0] == f"sha256:{digest(BASE)}"
    source = f"oci:{path}:t" if form == "gzip members" else f"dir:{path}"
    rpod.ok("image", "copy", source, f"oci:{tmp_path}/copied:t")
    after = json.loads(skopeo("inspect", "--raw", f"oci:{tmp_path}/copied:t"))
    assert [layer.get("annotations") for layer in after["layers"]] == [
        layer.get("annotations") for layer in before["layers"]
    ]
    # Compressed anew, the layers are other bytes: what was said about the old ones is not said any more.
    rpod.ok("save", "--format", "oci-dir", "-o", str(tmp_path / "saved"), stored)
    saved = json.loads(skopeo("inspect", "--raw", f"oci:{tmp_path}/saved"))
    assert all("annotations" not in layer for layer in saved["layers"])
    remote = f"{plain_registry.address}/other-forms:{len(form)}"
    rpod.ok("push", "-q", "--tls-verify=false", stored, remote)
    pushed = json.loads(skopeo("inspect", "--tls-verify=false", "--raw", f"docker://{remote}"))
    assert all("annotations" not in layer for layer in pushed["layers"])


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("program", ["gzip", "xz", "bzip2", "zstd"])
def test_compressed_archives_from_a_stream(fresh_rpod: Rpod, made: Path, tmp_path: Path, program: str) -> None:
    skopeo("copy", f"oci:{made}:t", f"oci-archive:{tmp_path}/a.tar:x:1")
    packed = subprocess.run([program, "-c", str(tmp_path / "a.tar")], capture_output=True, check=True).stdout
    assert fresh_rpod("load", "-q", stdin=packed).out == "Loaded image: localhost/x:1\n"
    assert list((fresh_rpod.data / "staging").iterdir()) == []


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["save", "none"], "no such image"),
        (["save", "--format", "zip", "t"], "no such format"),
        (["save", "--format", "oci-dir", "t"], "needs --output"),
        (["save", "--compress", "-o", "x", "t"], "docker-dir only"),
        (["save", "-m", "--format", "oci-archive", "t"], "docker-archive only"),
        (["save", "-o", "/proc/none/x", "t"], "cannot be written"),
        (["save", "t", "bad//name"], "bad//name"),
        (["load", "-i", "/none"], "no such file"),
        (["load", "-i", "/etc"], "neither an OCI image layout"),
        (["load", "-i", "/etc/passwd"], "not a tar archive"),
    ],
)
def test_what_save_and_load_refuse(rpod: Rpod, made: Path, args: list[str], says: str) -> None:
    rpod.ok("load", "-q", "-i", str(made))
    assert says in rpod.fails(*args)


def digest_of(place: str) -> str:
    return skopeo("inspect", "--tls-verify=false", "--format", "{{.Digest}}", place)


def test_copies_between_places_keep_the_manifest(
    fresh_rpod: Rpod, made: Path, tmp_path: Path, plain_registry: PlainRegistry
) -> None:
    """Not even the compressed bytes change, and nothing is in the store before the last step."""
    rpod = fresh_rpod
    wanted = digest_of(f"oci:{made}:t")
    remote = f"docker://{plain_registry.address}/moves:1"
    places = [remote, f"oci-archive:{tmp_path}/a.tar:n:1", f"dir:{tmp_path}/dir", f"oci:{tmp_path}/again:n", remote]
    source = f"oci:{made}:t"
    for place in places:
        rpod.ok("image", "copy", "-q", "--tls-verify=false", source, place)
        assert digest_of(place) == wanted
        source = place
    assert not (rpod.data / "images").exists() or list((rpod.data / "images").iterdir()) == []
    rpod.ok("image", "copy", "-q", source.replace(":n", ":n"), "localhost/copied:1", "--tls-verify=false")
    assert rpod.ok("image", "inspect", "-f", "{{.Digest}}", "copied:1") == wanted
    # A docker-archive has no compressed layers: the config is what stays.
    rpod.ok("image", "copy", f"oci:{tmp_path}/again:n", f"docker-archive:{tmp_path}/d.tar:name:1")
    config = config_digest(skopeo("inspect", "--raw", f"oci:{made}:t"))
    assert config_digest(skopeo("inspect", "--raw", f"docker-archive:{tmp_path}/d.tar")) == config
    assert "exists already" in rpod.fails("image", "copy", "copied:1", f"docker-archive:{tmp_path}/d.tar")
    rpod.ok("image", "copy", f"docker-archive:{tmp_path}/d.tar:name:1", f"oci:{tmp_path}/plain:n")
    assert config_digest(skopeo("inspect", "--raw", f"oci:{tmp_path}/plain:n")) == config
    # From the store: layers are compressed anew, but not where the registry has what the manifest names.
    rpod.ok("image", "copy", "--tls-verify=false", "copied:1", f"{remote}-again")
    assert digest_of(f"{remote}-again") == wanted


def test_inspect_of_what_is_not_stored(
    fresh_rpod: Rpod, made: Path, plain_registry: PlainRegistry, tmp_path: Path
) -> None:
    rpod = fresh_rpod
    remote = f"docker://{plain_registry.address}/inspected:1"
    skopeo("copy", "--dest-tls-verify=false", f"oci:{made}:t", remote)
    asked = ("image", "inspect", "--tls-verify=false", "--remote", "-f", "{{.Digest}}")
    for name in (remote, remote.removeprefix("docker://")):
        assert rpod.ok(*asked, name) == digest_of(f"oci:{made}:t")
    assert "--retry -1" in rpod.fails("image", "inspect", "--retry", "-1", remote)
    rpod.configure(f'[registries]\ninsecure = ["{plain_registry.address}"]\n')
    for place in (remote, f"oci:{made}:t", f"oci:{made}"):
        found = json.loads(rpod.ok("image", "inspect", place))[0]
        assert found["Config"]["Env"] == ["A=b"] and found["Digest"] == digest_of(f"oci:{made}:t")
        assert len(found["Layers"]) == 2 and found["Size"] == sum(layer["Size"] for layer in found["Layers"])
    assert rpod.ok("inspect", "--type", "image", "-f", "{{.Os}} {{.Labels.l}}", remote) == "linux v"
    assert rpod.ok("images", "-q") == ""
    assert "has no image 'x'; it has: t" in rpod.fails("image", "inspect", f"oci:{made}:x")
    assert "inspected:10" in rpod.fails("image", "inspect", f"{remote}0")


def test_pull_and_run_from_a_place(
    fresh_rpod: Rpod, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rpod = fresh_rpod
    wanted = config_digest(skopeo("inspect", "--raw", f"oci:{made}:t")).removeprefix("sha256:")
    skopeo("copy", f"oci:{made}:t", f"docker-archive:{tmp_path}/d.tar:docker.io/test/image:v1")
    skopeo("copy", f"oci:{made}:t", f"dir:{tmp_path}/dir")
    for place, name in (
        (f"oci:{made}:t", "localhost/t:latest"),
        (f"docker-archive:{tmp_path}/d.tar", "docker.io/test/image:v1"),
        (f"dir:{tmp_path}/dir", "<none>:<none>"),
    ):
        assert rpod.ok("pull", "-q", place) == wanted
        assert rpod.ok("images", "--format", "{{.Repository}}:{{.Tag}}") == name
        assert "the policy is never" in rpod.fails("pull", "--policy", "never", place)
        rpod.ok("rmi", "-f", wanted)
    # A relative path, where something is there; `dir:latest` may be an image.
    monkeypatch.chdir(made.parent)
    assert rpod.ok("pull", "-q", f"oci:{made.name}:t") == wanted
    assert "no such image" in rpod.fails("run", "--pull", "never", "oci:t")
    # run and create take one, too: the files of a container that never ran come from it.
    rpod.ok("create", "--name", "c", f"docker-archive:{tmp_path}/d.tar")
    assert rpod.ok("inspect", "-f", "{{.ImageName}}", "c") == "docker.io/test/image:v1"
    assert "executable file not found" in rpod.fails("run", "--rm", f"dir:{tmp_path}/dir", code=127)
    for words, says in (
        (["pull", "--platform", "linux/s390x", f"oci:{made}:t"], "not for linux/s390x"),
        (["pull", f"oci:{made}:x"], "has no image 'x'; it has: t"),
        (["pull", "docker-archive:none.tar"], "none.tar"),
        (["pull", "--all-tags", f"oci:{made}"], "asks a registry"),
        (["create", "dir:/etc"], "manifest.json"),
        (["run", "--pull", "never", f"oci:{made}:t"], "the policy is never"),
    ):
        assert says in rpod.fails(*words)
    assert list((rpod.data / "staging").iterdir()) == []


def test_an_image_for_another_machine_is_refused_with_what_there_is(fresh_rpod: Rpod, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs" / "sha256"
    layout.write(tmp_path, [BASE], CONFIG, "t")
    entry = json.loads((tmp_path / "index.json").read_text())["manifests"][0]
    entries = [entry | {"platform": {"os": "linux", "architecture": name}} for name in ("s390x", "mips64")]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    digest = hashlib.sha256(index).hexdigest()
    (blobs / digest).write_bytes(index)
    listed = {"mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(index)}
    (tmp_path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [listed]}))
    error = fresh_rpod.fails("load", "-i", str(tmp_path))
    assert "it has: linux/s390x, linux/mips64" in error
    fresh_rpod.ok("image", "copy", "--platform", "linux/s390x", f"oci:{tmp_path}", "localhost/other")
    assert fresh_rpod.ok("images", "--format", "{{.Repository}}") == "localhost/other"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["docker-daemon:x", "y"], "not supported"),
        (["docker:x", "y"], "docker://NAME"),
        (["oci:", "y"], "a path is missing"),
        (["oci:/none:x", "y"], "no such file"),
        (["none/such", "dir:/tmp/x"], "no such image"),
        (["dir:/etc", "y"], "cannot be read"),
        (["docker-archive:/etc", "y"], "is a directory"),
        (["dir:/etc", "docker://short"], "REGISTRY/NAME"),
        (["dir:/etc", "bad//name"], "bad//name"),
    ],
)
def test_what_copy_refuses(rpod: Rpod, args: list[str], says: str) -> None:
    assert says in rpod.fails("image", "copy", *args)

"""``push`` to Debian's docker-registry, judged by skopeo and podman."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.registry import PlainRegistry
from support.rogue_registry import Handler, RogueRegistry, digest_of
from support.secure_registry import PASSWORD, USER, SecureRegistry, TokenService, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod

DOCKER = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> str:
    """busybox, and two layers that umoci made: one of them larger than what is sent in one piece."""
    folder = tmp_path_factory.mktemp("layout")
    busybox.write_layout(folder / "oci", tag="many")
    for number, size in enumerate((9_000_000, 1000)):
        (folder / "extra").mkdir(exist_ok=True)
        (folder / "extra" / "file").write_bytes(os.urandom(size))
        run("umoci", "insert", "--rootless", "--image", f"{folder}/oci:many", str(folder / "extra"), f"/data{number}")
    return f"oci:{folder}/oci:many"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, layout: str) -> Iterator[PlainRegistry]:
    with PlainRegistry(tmp_path_factory.mktemp("source")) as server:
        server.push(layout, "team/many:1")
        yield server


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRegistry]:
    with PlainRegistry(tmp_path_factory.mktemp("target")) as server:
        yield server


@pytest.fixture
def name(rpod: Rpod, registry: PlainRegistry) -> str:
    full = f"{registry.address}/team/many:1"
    rpod.ok("pull", "-q", "--tls-verify=false", full)
    return full


def remote(target: str) -> tuple[str, dict[str, object]]:
    """Digest and document of a manifest in a registry, as skopeo sees it."""
    raw = run("skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{target}")
    return digest_of(raw), json.loads(raw)


def forms(document: dict[str, object]) -> set[str]:
    layers = document["layers"]
    assert isinstance(layers, list)
    return {layer["mediaType"].replace("+", ".").rpartition(".")[2] for layer in layers}


def push(rpod: Rpod, *args: str) -> str:
    """What a push to a registry without TLS says."""
    done = rpod("push", "--tls-verify=false", *args)
    assert done.code == 0, done
    assert done.out == ""
    return done.err


def test_what_the_registry_has_is_mounted_and_stays_as_it_was(rpod: Rpod, name: str, registry: PlainRegistry) -> None:
    target = f"{registry.address}/another/place:2"
    said = push(rpod, name, target)
    assert said.count("skipped: already exists") == 3
    assert remote(target) == remote(name)
    assert push(rpod, name).count("skipped: already exists") == 3
    rpod.ok("tag", name, target)
    rpod.ok("tag", name, f"{registry.address}/another/place:3")
    push(rpod, "--all-tags", f"{registry.address}/another/place")
    assert remote(f"{registry.address}/another/place:3") == remote(name)


def test_to_another_registry_and_back(
    rpod: Rpod, fresh_rpod: Rpod, name: str, other: PlainRegistry, tmp_path: Path
) -> None:
    target = f"{other.address}/team/many:1"
    digestfile = tmp_path / "digest"
    said = push(rpod, "--digestfile", str(digestfile), name, target)
    assert said.count(" done\n") == 3
    digest, document = remote(target)
    assert digestfile.read_text() == digest
    assert document["config"] == remote(name)[1]["config"]
    assert forms(document) == {"gzip"}
    # skopeo compares every blob with its digest, umoci every layer with its diff id.
    run(
        "skopeo",
        "copy",
        "-q",
        "--insecure-policy",
        "--src-tls-verify=false",
        f"docker://{target}",
        f"oci:{tmp_path}/o:x",
    )
    run("umoci", "unpack", "--rootless", "--image", f"{tmp_path}/o:x", str(tmp_path / "bundle"))
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", target)
    ident = ("image", "inspect", "--format", "{{.Id}}")
    assert fresh_rpod.ok(*ident, target) == rpod.ok(*ident, name)
    # What was sent once is not compressed again.
    assert push(rpod, name, f"{other.address}/team/many:2").count("skipped: already exists") == 3
    assert remote(f"{other.address}/team/many:2")[0] == digest


def test_compression_and_format(rpod: Rpod, name: str, other: PlainRegistry) -> None:
    target = f"{other.address}/form"
    push(rpod, "--compression-format", "zstd", "--compression-level", "1", name, f"{target}:zstd")
    assert forms(remote(f"{target}:zstd")[1]) == {"zstd"}
    push(rpod, "--compression-format=gzip", "--compression-level=9", name, f"{target}:gzip")
    assert forms(remote(f"{target}:gzip")[1]) == {"gzip"}
    push(rpod, "--compression-format", "zstd", "--force-compression=false", name, f"{target}:either")
    push(rpod, "--format", "v2s2", name, f"{target}:docker")
    document = remote(f"{target}:docker")[1]
    assert (document["mediaType"], forms(document)) == (DOCKER, {"gzip"})
    rpod.ok("pull", "-q", "--tls-verify=false", f"{target}:zstd")
    push(rpod, "--format", "v2s2", f"{target}:zstd", f"{target}:docker2")
    assert forms(remote(f"{target}:docker2")[1]) == {"gzip"}


def test_podman_takes_what_was_pushed(
    rpod: Rpod, name: str, other: PlainRegistry, tmp_path: Path, runtime_base: Path
) -> None:
    """containers/storage compares the unpacked layers with the diff ids."""
    target = f"{other.address}/for/podman:1"
    push(rpod, name, target)
    roots = ("--root", str(tmp_path / "root"), "--runroot", f"{runtime_base}/pr", "--tmpdir", f"{runtime_base}/pt")
    podman = ("podman", *roots, "--storage-driver", "overlay", "--storage-opt", "overlay.mount_program=")
    try:
        argv = [*podman, "pull", "-q", "--tls-verify=false", target]
        done = subprocess.run(argv, capture_output=True, check=False, timeout=60, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == rpod.ok("image", "inspect", "--format", "{{.Id}}", name)
    finally:
        subprocess.run([*podman, "system", "reset", "-f"], capture_output=True, check=False, timeout=60)


def test_the_built_in_image(rpod: Rpod, fresh_rpod: Rpod, other: PlainRegistry) -> None:
    rpod.ok("run", "--rm", "hello")
    target = f"{other.address}/hello:1"
    push(rpod, "hello", target)
    assert "Hello" in fresh_rpod.ok("run", "--rm", "--network", "none", "--pull", "missing", "hello")
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", target)


def test_with_a_password(rpod: Rpod, name: str, tmp_path: Path) -> None:
    with SecureRegistry(tmp_path / "registry", password=True) as server:
        target = f"{server.address}/team/many:1"
        assert "rpod login" in rpod.fails("push", "--tls-verify=false", name, target)
        push(rpod, "--creds", f"{USER}:{PASSWORD}", name, target)


def test_with_a_token_service(rpod: Rpod, name: str, tmp_path: Path) -> None:
    with TokenService(tmp_path / "tokens") as tokens, SecureRegistry(tmp_path / "registry", tokens=tokens) as server:
        target = f"{server.address}/team/many:1"
        push(rpod, "--creds", f"{USER}:{PASSWORD}", name, target)
        assert tokens.asked[0]["scope"] == ["repository:team/many:pull,push"]
        tokens.asked.clear()
        said = push(rpod, "--creds", f"{USER}:{PASSWORD}", name, f"{server.address}/other/many:1")
        assert said.count("skipped: already exists") == 3
        assert tokens.asked[0]["scope"] == ["repository:other/many:pull,push", "repository:team/many:pull"]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["IMAGE", "oci:/tmp/x:y"], "rpod image copy"),
        (["IMAGE", "docker-daemon:x:1"], "docker-daemon: is not supported"),
        (["--digestfile", "/proc/x", "IMAGE"], "--digestfile /proc/x"),
        (["ID"], "does not say where"),
        (["localhost/rpod/hello"], "names no registry"),
        (["IMAGE", "short"], "names no registry"),
        (["--format", "v2s1", "IMAGE"], "there is no such format"),
        (["--compression-format", "xz", "IMAGE"], "there is no such format"),
        (["--compression-level", "10", "IMAGE"], "gzip has 1 to 9"),
        (["--compression-format", "zstd", "--format", "v2s2", "IMAGE"], "no zstd"),
        (["--sign-by", "me", "IMAGE"], "--sign-by is not there yet"),
        (["--all-tags", "IMAGE"], "a repository is named"),
        (["absent/image"], "no such image"),
        (["IMAGE", "127.0.0.1:1/x"], "cannot be reached"),
    ],
)
def test_what_makes_no_sense(rpod: Rpod, name: str, args: list[str], message: str) -> None:
    ident = rpod.ok("image", "inspect", "--format", "{{.Id}}", name)
    words = [{"IMAGE": name, "ID": ident[:12]}.get(word, word) for word in args]
    rpod.ok("run", "--rm", "--network", "none", "hello")
    assert message in rpod.fails("push", *words)


def test_a_damaged_layer_is_not_pushed(fresh_rpod: Rpod, registry: PlainRegistry, other: PlainRegistry) -> None:
    source = f"{registry.address}/team/many:1"
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", source)
    victim = next(fresh_rpod.data.glob("layers/*/fs/data1/file"))
    victim.write_bytes(b"y" * victim.stat().st_size)
    target = f"{other.address}/damaged:1"
    assert "is damaged" in fresh_rpod.fails("push", "--tls-verify=false", source, target)
    assert "no such image" in fresh_rpod.fails("pull", "--tls-verify=false", target)


def test_an_upload_that_is_answered_badly(rpod: Rpod, name: str) -> None:
    with RogueRegistry() as rogue:

        def answers(handler: Handler) -> None:
            handler.answer(202, {"Location": "ftp://elsewhere/"}, b"")

        rogue.routes["/v2/x/blobs/uploads/"] = answers
        target = f"{rogue.address}/x:1"
        assert "does not say where" in rpod.fails("push", "--tls-verify=false", name, target)
        rogue.routes["/v2/x/blobs/uploads/"] = (507, {}, b"")
        assert "507" in rpod.fails("push", "--tls-verify=false", "--retry", "1", "--retry-delay", "1ms", name, target)

"""Pull from Debian's docker-registry: TLS, passwords, tokens, indexes, zstd, many at once, interruptions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest
from support import busybox
from support.registry import PlainRegistry
from support.rogue_registry import ARCHITECTURE, INDEX, MANIFEST, Handler, Parts, RogueRegistry, descriptor, digest_of
from support.secure_registry import Certificate, SecureRegistry, TokenService, run, write_auth

from rootless import config
from rootless.engine import builtin, images
from rootless.engine.pull import pull
from rootless.errors import ConflictError, ImageError, NotFoundError, RegistryError, RpodError, UsageError
from rootless.image import progress
from rootless.image.access import Access, PullOptions
from rootless.kernel import userns
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rootless.storage.image_record import Image

pytestmark = pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")


@pytest.fixture(scope="module")
def layouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An OCI layout with busybox in several layers, made by umoci: ``LAYOUT:many``, and ``LAYOUT:one``."""
    folder = tmp_path_factory.mktemp("layouts")
    busybox.write_layout(folder / "oci", tag="one")
    layout = folder / "oci"
    run("umoci", "tag", "--image", f"{layout}:one", "many")
    (folder / "extra").mkdir()
    for number in range(3):
        (folder / "extra" / f"file{number}").write_bytes(os.urandom(200_000))
        run("umoci", "insert", "--rootless", "--image", f"{layout}:many", str(folder / "extra"), f"/data{number}")
    run("umoci", "insert", "--rootless", "--whiteout", "--image", f"{layout}:many", "/var/www/index.html")
    run(
        *(
            "umoci",
            "config",
            "--image",
            f"{layout}:many",
            "--config.user",
            "1000",
            "--config.env",
            "LAYERS=many",
            "--created",
            "2025-01-01T00:00:00Z",
        )
    )
    return layout


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory, layouts: Path) -> Iterator[PlainRegistry]:
    with PlainRegistry(tmp_path_factory.mktemp("plain")) as server:
        server.push(f"oci:{layouts}:one", "one:latest")
        server.push(f"oci:{layouts}:many", "team/many:1")
        yield server


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user with an empty store."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("DATA", "CONFIG", "CACHE", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path
    userns.remove_tree_inside(str(tmp_path / "data"))


def options(*, tls_verify: bool | None = None, **changes: Any) -> PullOptions:
    """What a command line would say."""
    return PullOptions(**changes, access=Access(tls_verify=tls_verify))


def data(home: Path) -> Path:
    return home / "data" / "rpod"


def tree(image: Image, home: Path) -> set[str]:
    """The paths in all layers of an image."""
    store = LayerStore(str(data(home)))
    found = set()
    for chain_id in image.layers:
        top = store.path(chain_id)
        for folder, names, files in os.walk(top):
            found.update(os.path.relpath(os.path.join(folder, name), top) for name in [*names, *files])
    return found


def nothing_left(home: Path) -> None:
    """No image, no name, nothing staged."""
    store = ImageStore(str(data(home)))
    assert store.all() == []
    assert store.tags() == {}
    assert list((data(home) / "staging").glob("*")) == []


class Recorder(progress.Progress):
    """What a pull told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.states: list[tuple[str, str]] = []

    def message(self, text: str) -> None:
        self.messages.append(text)

    def layer(self, digest: str, done_bytes: int, total_bytes: int, state: str) -> None:
        assert 0 <= done_bytes <= total_bytes
        if (digest, state) not in self.states:
            self.states.append((digest, state))

    def last(self) -> set[str]:
        return set(dict(self.states).values())


# ---- from name to image


def test_pull_and_everything_after(registry: PlainRegistry, home: Path) -> None:
    name = f"{registry.address}/team/many:1"
    told = Recorder()
    image = pull(name, options(tls_verify=False), told)
    assert told.messages[0] == f"Trying to pull {name}..."
    assert told.messages[-1] == "Writing manifest to image destination"
    assert told.last() == {progress.DONE}
    assert len(image.layers) == 5
    assert {"bin/busybox", "data0/file0", "data2/file2"} <= tree(image, home)
    assert "LAYERS=many" in image.config.env
    assert image.config.user == "1000"
    for typed in (name, image.id, image.hex, image.hex[:12], "many:1", "team/many:1"):
        assert images.resolve(typed).id == image.id
    assert images.resolve(f"{registry.address}/team/many@{image.digest}").id == image.id
    with pytest.raises(NotFoundError, match="no such image"):
        images.resolve("many")
    assert list((data(home) / "staging").glob("*")) == []

    again = Recorder()
    assert pull(name, options(tls_verify=False), again).id == image.id
    assert again.last() == {progress.EXISTS}

    images.tag("many:1", ["mine", "localhost/other:2"])
    assert [(row.Repository, row.Tag) for row in images.list_images([])] == [
        (f"{registry.address}/team/many", "1"),
        ("localhost/mine", "latest"),
        ("localhost/other", "2"),
    ]
    assert images.remove_images(["mine"]) == ["Untagged: localhost/mine:latest"]
    with pytest.raises(ConflictError, match="several names"):
        images.remove_images([image.hex[:12]])
    lines = images.remove_images([image.hex[:12]], force=True)
    assert lines == [f"Untagged: {name}", "Untagged: localhost/other:2", f"Deleted: {image.hex}"]
    nothing_left(home)
    assert list((data(home) / "layers").glob("*")) == []
    with pytest.raises(NotFoundError) as caught:
        images.remove_images([name])
    assert caught.value.code == 1


def test_shared_layers_are_fetched_once(registry: PlainRegistry, home: Path) -> None:
    one = pull(f"{registry.address}/one", options(tls_verify=False), Recorder())
    told = Recorder()
    many = pull(f"{registry.address}/team/many:1", options(tls_verify=False), told)
    assert many.layers[0] == one.layers[0]
    assert [state for _, state in told.states].count(progress.EXISTS) == 1
    images.remove_images([many.id])
    assert LayerStore(str(data(home))).has(one.layers[0])
    assert not LayerStore(str(data(home))).has(many.layers[1])


def test_inspect_as_podman_lays_it_out(registry: PlainRegistry, home: Path) -> None:
    name = f"{registry.address}/team/many:1"
    image = pull(name, options(tls_verify=False), Recorder())
    found = images.inspect_image("many:1")
    assert found["Id"] == image.hex
    assert found["RepoTags"] == [name]
    assert found["RepoDigests"] == [f"{registry.address}/team/many@{image.digest}"]
    assert found["RootFS"] == {"Type": "layers", "Layers": image.config.diff_ids}
    assert found["Config"]["User"] == "1000"  # type: ignore[index]
    assert found["Architecture"] == ARCHITECTURE
    assert found["NamesHistory"] == [name]
    assert found["Size"] == image.size_bytes > 1_000_000
    podman = {"Id", "Digest", "RepoTags", "RepoDigests", "Parent", "Comment", "Created", "Config", "Version", "Author"}
    podman |= {"Architecture", "Os", "Size", "VirtualSize", "GraphDriver", "RootFS", "Labels", "Annotations"}
    assert podman | {"ManifestType", "User", "History", "NamesHistory"} == set(found)


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        ([], 3),
        (["reference=*/one"], 1),
        (["reference=one"], 1),
        (["reference=one:latest", "reference=mine"], 2),
        (["reference=team/*"], 1),
        (["reference=m*"], 2),
        (["reference=x*"], 0),
        (["dangling=true"], 0),
        (["dangling=false"], 3),
        (["label=nope"], 0),
        (["label!=nope"], 3),
        (["containers=false"], 3),
        (["readonly=true"], 0),
        (["until=24h"], 3),
        (["until=2024-06-01T00:00:00Z"], 2),
        (["before=many:1"], 2),
        (["since=one"], 1),
        (["since=one", "reference=one"], 0),
    ],
)
def test_filters(registry: PlainRegistry, filters: list[str], count: int) -> None:
    pull(f"{registry.address}/one", options(tls_verify=False), Recorder())
    pull(f"{registry.address}/team/many:1", options(tls_verify=False), Recorder())
    images.tag("one", ["mine"])
    assert len(images.list_images(filters)) == count


@pytest.mark.parametrize("text", ["x=1", "dangling", "dangling=maybe", "intermediate=true", "until=soon"])
def test_filters_that_make_no_sense(text: str) -> None:
    with pytest.raises(RpodError, match=r"filter|time"):
        images.list_images([text])


def test_an_image_in_use_stays(registry: PlainRegistry, home: Path) -> None:
    image = pull(f"{registry.address}/one", options(tls_verify=False), Recorder())
    folder = data(home) / "containers" / ("c" * 64)
    folder.mkdir(parents=True)
    record = {"id": "c" * 64, "name": "web", "image_id": image.id, "layers": image.layers}
    (folder / "container.json").write_text(json.dumps(record))
    assert images.list_images([])[0].Containers == 1
    with pytest.raises(ConflictError, match=r"in use by container web \(cccccccccccc\)") as caught:
        images.remove_images(["one"])
    assert caught.value.code == 2
    assert images.find("one") is not None


# ---- policies and platforms


def test_policies(registry: PlainRegistry, layouts: Path) -> None:
    name = f"{registry.address}/moving:1"
    registry.push(f"oci:{layouts}:one", "moving:1")
    with pytest.raises(NotFoundError, match="--pull=never"):
        images.ensure_image(name, options(policy="never"))
    first = images.ensure_image(name, options(policy="missing", quiet=True, tls_verify=False))
    registry.push(f"oci:{layouts}:many", "moving:1")
    assert images.ensure_image(name, options(policy="missing")).id == first.id
    assert images.ensure_image(name, options(policy="never")).id == first.id
    second = images.ensure_image(name, options(policy="newer", quiet=True, tls_verify=False))
    assert second.id != first.id
    assert images.find(first.id) is not None
    told = Recorder()
    assert pull(name, options(policy="newer", tls_verify=False), told).id == second.id
    assert told.messages == []
    with pytest.raises(UsageError, match="unknown policy"):
        images.ensure_image(name, options(policy="sometimes"))


def test_newer_is_content_with_what_is_there_when_the_registry_is_down(layouts: Path, tmp_path: Path) -> None:
    with PlainRegistry(tmp_path / "short") as server:
        server.push(f"oci:{layouts}:one", "one:latest")
        name = f"{server.address}/one"
        first = pull(name, options(tls_verify=False), Recorder())
    assert images.ensure_image(name, options(policy="newer", tls_verify=False)).id == first.id
    with pytest.raises(RegistryError, match="cannot be reached"):
        images.ensure_image(name, options(policy="always", quiet=True, tls_verify=False))


def put(url: str, body: bytes, media_type: str) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": media_type}, method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


def test_an_index_of_platforms(registry: PlainRegistry, layouts: Path) -> None:
    registry.push(f"oci:{layouts}:one", "multi:native")
    registry.push(f"oci:{layouts}:many", "multi:other")
    entries = []
    for tag, architecture in (("native", ARCHITECTURE), ("other", "s390x")):
        url = f"http://{registry.address}/v2/multi/manifests/{tag}"
        request = urllib.request.Request(url, headers={"Accept": MANIFEST})
        raw = urllib.request.urlopen(request, timeout=10).read()
        entries.append(descriptor(MANIFEST, raw, platform={"os": "linux", "architecture": architecture}))
    raw = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).encode()
    put(f"http://{registry.address}/v2/multi/manifests/latest", raw, INDEX)
    name = f"{registry.address}/multi"

    image = pull(name, options(tls_verify=False), Recorder())
    assert image.digest == entries[0]["digest"]
    assert image.repo_digests == [f"{name}@{digest_of(raw)}", f"{name}@{image.digest}"]
    told = Recorder()
    assert pull(name, options(policy="newer", tls_verify=False), told).id == image.id
    assert told.messages == []
    assert images.ensure_image(name, options(policy="missing", platform=f"linux/{ARCHITECTURE}")).id == image.id
    with pytest.raises(ImageError, match=f"no image for linux/riscv64; it has: linux/{ARCHITECTURE}, linux/s390x"):
        pull(name, options(platform="linux/riscv64", tls_verify=False), Recorder())
    with pytest.raises(NotFoundError):
        images.ensure_image(name, options(policy="never", platform="linux/s390x"))
    by_digest = pull(f"{name}@{entries[1]['digest']}", options(tls_verify=False), Recorder())
    assert by_digest.digest == entries[1]["digest"]
    assert images.resolve(f"{name}@{by_digest.digest}").id == by_digest.id
    with pytest.raises(ImageError, match="not for linux/s390x"):
        pull(f"{registry.address}/one", options(platform="linux/s390x", tls_verify=False), Recorder())


def test_zstd_and_docker_manifests(registry: PlainRegistry, layouts: Path, home: Path, tmp_path: Path) -> None:
    server = SecureRegistry(tmp_path / "unused")
    server.address = registry.address
    server.push(f"oci:{layouts}:one", "zstd:1", "--dest-compress-format", "zstd", "--dest-compress")
    server.push(f"oci:{layouts}:one", "docker:1", "--format", "v2s2")
    zstd = pull(f"{registry.address}/zstd:1", options(tls_verify=False), Recorder())
    assert b"+zstd" in zstd.manifest()
    assert "bin/busybox" in tree(zstd, home)
    docker = pull(f"{registry.address}/docker:1", options(tls_verify=False), Recorder())
    assert docker.media_type == "application/vnd.docker.distribution.manifest.v2+json"


# ---- who may pull


def test_tls_and_a_password(tmp_path: Path, layouts: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = Certificate(tmp_path / "tls")
    with SecureRegistry(tmp_path / "registry", tls=certificate, password=True) as server:
        server.push(f"oci:{layouts}:many", "private/many:1")
        name = f"{server.address}/private/many:1"
        with pytest.raises(RegistryError, match="certificate is not trusted"):
            pull(name, progress=Recorder())
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
        with pytest.raises(RegistryError, match="asks for a password"):
            pull(name, progress=Recorder())
        path = home / ".docker" / "config.json"
        write_auth(path, server.address, password="wrong")
        with pytest.raises(RegistryError, match="denies access"):
            pull(name, progress=Recorder())
        nothing_left(home)
        write_auth(path, server.address)
        assert len(pull(name, progress=Recorder()).layers) == 5
        monkeypatch.delenv("SSL_CERT_FILE")
        pull(name, options(tls_verify=False), Recorder())
        (home / "config" / "rpod").mkdir(parents=True)
        (home / "config" / "rpod" / "containers.toml").write_text(f'[registries]\ninsecure = ["{server.address}"]\n')
        config.forget()
        pull(name, progress=Recorder())
        with pytest.raises(RegistryError, match="certificate is not trusted"):
            pull(name, options(tls_verify=True), Recorder())


def test_a_token_service(tmp_path: Path, layouts: Path, home: Path) -> None:
    with TokenService(tmp_path / "tokens") as tokens:
        server = SecureRegistry(tmp_path / "registry", tokens=tokens)
        server._password = True  # skopeo needs it for pushing
        with server:
            server.push(f"oci:{layouts}:many", "team/many:1")
            name = f"{server.address}/team/many:1"
            with pytest.raises(RegistryError, match="denies access"):
                pull(name, options(tls_verify=False), Recorder())
            write_auth(home / "config" / "containers" / "auth.json", f"{server.address}/team")
            tokens.asked.clear()
            pull(name, options(tls_verify=False), Recorder())
            assert len(tokens.asked) == 1
            assert tokens.asked[0]["scope"] == ["repository:team/many:pull"]


def test_short_names_ask_the_configured_registries(registry: PlainRegistry, home: Path) -> None:
    (home / "config" / "rpod").mkdir(parents=True)
    toml = home / "config" / "rpod" / "containers.toml"
    toml.write_text(
        f'[registries]\nsearch = ["{registry.address}/nowhere", "{registry.address}/team"]\n'
        f'insecure = ["{registry.address}"]\n'
    )
    told = Recorder()
    image = pull("many:1", progress=told)
    assert told.messages[:2] == [
        f"Trying to pull {registry.address}/nowhere/many:1...",
        f"Trying to pull {registry.address}/team/many:1...",
    ]
    assert images.resolve("many:1").id == image.id
    with pytest.raises(RegistryError, match=r"nowhere/absent.*; .*team/absent"):
        pull("absent", progress=Recorder())
    toml.write_text("[registries]\nsearch = []\n")
    config.forget()
    with pytest.raises(RegistryError, match="no registry is named"):
        pull("absent", progress=Recorder())
    images.tag(image.id, ["many:1"])
    assert images.resolve("many:1").found_as == "localhost/many:1"


def test_names_that_are_not_there(registry: PlainRegistry, home: Path) -> None:
    for name in ("absent:1", "one:absent", f"one@sha256:{'0' * 64}"):
        with pytest.raises(RegistryError, match="no such image"):
            pull(f"{registry.address}/{name}", options(tls_verify=False), Recorder())
    nothing_left(home)


# ---- what goes wrong in the middle


def test_other_bytes_than_the_diff_id(home: Path) -> None:
    with RogueRegistry() as rogue:
        parts = Parts(rootfs={"type": "layers", "diff_ids": ["sha256:" + "0" * 64]})
        rogue.blob("a", parts.layer)
        rogue.blob("a", parts.config)
        rogue.manifest("a", "latest", parts.manifest)
        with pytest.raises(RpodError, match="unpacks to"):
            pull(f"{rogue.address}/a", options(tls_verify=False), Recorder())
    nothing_left(home)


def test_one_bad_layer_ends_the_pull(home: Path) -> None:
    """The good layer stalls until the bad one has failed: the failure must end it."""
    with RogueRegistry() as rogue:
        good, bad = Parts(b"good"), Parts(b"bad")
        diff_ids = [digest_of(good.tar), digest_of(bad.tar)]
        both = Parts(rootfs={"type": "layers", "diff_ids": diff_ids})
        layers = [*good.manifest["layers"], *bad.manifest["layers"]]  # type: ignore[misc]
        rogue.blob("a", both.config)
        rogue.manifest("a", "latest", {**both.manifest, "layers": layers})
        rogue.routes[f"/v2/a/blobs/{digest_of(bad.layer)}"] = (200, {}, bytes(len(bad.layer)))
        over = threading.Event()

        def stalls(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(good.layer)))
            handler.end_headers()
            handler.wfile.write(good.layer[:20])
            over.wait(30)

        rogue.routes[f"/v2/a/blobs/{digest_of(good.layer)}"] = stalls
        begin = time.monotonic()
        with pytest.raises(RpodError):
            pull(f"{rogue.address}/a", options(tls_verify=False), Recorder())
        assert time.monotonic() - begin < 10
        over.set()
    nothing_left(home)


@pytest.mark.parametrize("diff_ids", [[], ["sha256:" + "0" * 64] * 2])
def test_as_many_diff_ids_as_layers(home: Path, diff_ids: list[str]) -> None:
    with RogueRegistry() as rogue:
        parts = Parts(rootfs={"type": "layers", "diff_ids": diff_ids})
        rogue.blob("a", parts.config)
        rogue.manifest("a", "latest", parts.manifest)
        with pytest.raises(ImageError, match="1 layers, its config"):
            pull(f"{rogue.address}/a", options(tls_verify=False), Recorder())
    nothing_left(home)


PULL = """
import sys
from rootless.engine.pull import pull
from rootless.image.access import Access, PullOptions
pull(sys.argv[1], PullOptions(quiet=True, access=Access(tls_verify=False)))
"""


def test_eight_pulls_at_once(registry: PlainRegistry, home: Path) -> None:
    name = f"{registry.address}/team/many:1"
    jobs = [subprocess.Popen([sys.executable, "-c", PULL, name]) for _ in range(8)]
    assert [job.wait(60) for job in jobs] == [0] * 8
    assert len(ImageStore(str(data(home))).all()) == 1
    assert len(list((data(home) / "layers").iterdir())) == 5
    assert list((data(home) / "staging").glob("*")) == []


def test_pull_against_rmi(registry: PlainRegistry, home: Path) -> None:
    """Whoever wins, an image that is there has all its layers."""
    name = f"{registry.address}/team/many:1"
    job = subprocess.Popen([sys.executable, "-c", f"{PULL}\n" * 6, name])
    while job.poll() is None:
        try:
            images.remove_images([name])
        except NotFoundError:
            time.sleep(0.01)
    assert job.returncode == 0
    layers = LayerStore(str(data(home)))
    for image in ImageStore(str(data(home))).all():
        assert all(layers.has(chain_id) for chain_id in image.layers)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_in_the_middle(home: Path, number: signal.Signals) -> None:
    with RogueRegistry() as rogue:
        parts = rogue.image("a")
        reached, over = threading.Event(), threading.Event()

        def stalls(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(parts.layer)))
            handler.end_headers()
            handler.wfile.write(parts.layer[:20])
            reached.set()
            over.wait(30)

        path = f"/v2/a/blobs/{digest_of(parts.layer)}"
        good = rogue.routes[path]
        rogue.routes[path] = stalls
        name = f"{rogue.address}/a"
        job = subprocess.Popen([sys.executable, "-c", PULL, name], stderr=subprocess.DEVNULL)
        assert reached.wait(20)
        time.sleep(0.2)
        job.send_signal(number)
        assert job.wait(10) != 0
        over.set()
        store = ImageStore(str(data(home)))
        assert store.all() == []
        time.sleep(0.5)  # its workers have seen the end of their streams by then
        rogue.routes[path] = good
        pull(name, options(tls_verify=False), Recorder())
        assert len(store.all()) == 1
        assert list((data(home) / "staging").glob("*")) == []


# ---- the built-in image


def test_hello_needs_no_registry(home: Path) -> None:
    image = images.ensure_image("hello")
    assert image.name_for("hello") == builtin.NAME
    assert (image.config.entrypoint, image.config.cmd) == (None, ["/hello", "hello"])
    assert tree(image, home) == {"hello"}
    assert images.ensure_image("hello").id == image.id
    assert images.resolve(builtin.NAME).id == image.id
    top = LayerStore(str(data(home))).path(image.layers[0])
    with open(f"{top}/hello", "rb") as inside, open(builtin.binary_path(), "rb") as outside:
        assert inside.read() == outside.read()
    assert os.stat(f"{top}/hello").st_mode & 0o777 == 0o755
    assert images.remove_images(["hello"]) == [f"Untagged: {builtin.NAME}", f"Deleted: {image.hex}"]
    nothing_left(home)


def test_a_changed_helper_makes_another_hello(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = images.ensure_image("hello")
    changed = tmp_path / "rpod-init"
    changed.write_bytes(b"#!/bin/true\n")
    monkeypatch.setattr(builtin, "binary_path", lambda: str(changed))
    young = images.ensure_image("hello")
    assert young.id != old.id
    assert images.resolve("hello").id == young.id


def test_hello_is_whatever_image_has_that_name(registry: PlainRegistry) -> None:
    other = pull(f"{registry.address}/one", options(tls_verify=False), Recorder())
    images.tag(other.id, ["hello"])
    assert images.ensure_image("hello").id == other.id
    assert images.ensure_image("rpod/hello").id != other.id

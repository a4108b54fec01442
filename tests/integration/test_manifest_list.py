"""``manifest``: a list of images for several platforms, made here, pushed, and used by others."""

from __future__ import annotations

import fcntl
import hashlib
import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import layout
from support.archives import member, tar
from support.shell import wait_for

if TYPE_CHECKING:
    from support.registry import PlainRegistry
    from support.shell import Rpod


def raw(place: str) -> bytes:
    command = ["skopeo", "--insecure-policy", "inspect", "--tls-verify=false", "--raw", place]
    return subprocess.run(command, capture_output=True, check=True).stdout


def entries(rpod: Rpod, name: str) -> list[dict[str, Any]]:
    found = json.loads(rpod.ok("manifest", "inspect", name))
    assert found["mediaType"] == "application/vnd.oci.image.index.v1+json"
    return list(found["manifests"])


def test_a_list_from_three_places(fresh_rpod: Rpod, tmp_path: Path, plain_registry: PlainRegistry) -> None:
    rpod = fresh_rpod
    rpod.configure(f'[registries]\ninsecure = ["{plain_registry.address}"]\n')
    base = f"{plain_registry.address}/multi"
    for name in ("stored", "remote", "folder"):
        layout.write(tmp_path / name, [tar(member(name, b"x"))], {"Cmd": [name]}, "t")
    rpod.ok("load", "-q", "-i", str(tmp_path / "stored"))
    plain_registry.push(f"oci:{tmp_path}/remote:t", "multi-source:1")
    ident = rpod.ok("manifest", "create", "multi:1")
    assert "is a list" in rpod.fails("manifest", "create", "multi:1")
    assert rpod.ok("manifest", "create", "--amend", "multi:1") == ident
    assert rpod("manifest", "exists", "multi:1").code == 0 and rpod("manifest", "exists", "none").code == 1
    rpod.ok("manifest", "add", "multi:1", "localhost/t")
    rpod.ok("manifest", "add", "--arch", "arm64", "--variant", "v8", "multi:1", f"oci:{tmp_path}/folder:t")
    rpod.ok("manifest", "add", "--annotation", "a=b", "multi:1", f"docker://{base}-source:1")
    listed = entries(rpod, "multi:1")
    assert [entry["platform"]["architecture"] for entry in listed][1] == "arm64" and len(listed) == 3
    assert listed[2]["annotations"] == {"a": "b"} and "source" not in listed[0]
    rpod.ok("manifest", "annotate", "--arch", "riscv64", "multi:1", listed[2]["digest"])
    assert (
        rpod.ok("images", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}", "multi") == f"localhost/multi:1 {ident[:12]}"
    )
    assert {row["IsManifestList"] for row in json.loads(rpod.ok("images", "--format", "json"))} == {True, False}

    digest = rpod.ok("manifest", "push", "-q", "--digestfile", str(tmp_path / "d"), "multi:1", f"docker://{base}:1")
    index = raw(f"docker://{base}:1")
    assert digest == f"sha256:{hashlib.sha256(index).hexdigest()}" == (tmp_path / "d").read_text()
    pushed = json.loads(index)["manifests"]
    assert [entry["platform"]["architecture"] for entry in pushed][1:] == ["arm64", "riscv64"]
    # What came with its bytes keeps its digest, and everything that the index names can be had.
    assert [entry["digest"] for entry in pushed][1:] == [entry["digest"] for entry in listed][1:]
    for entry in pushed:
        document = raw(f"docker://{base}@{entry['digest']}")
        assert len(document) == entry["size"]
        command = ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false"]
        place = f"docker://{base}@{entry['digest']}"
        target = f"oci:{tmp_path}/out:{entry['platform']['architecture']}"
        subprocess.run([*command, place, target], capture_output=True, check=True)
    pulled = rpod.ok("pull", "-q", f"{base}:1")
    assert rpod.ok("image", "inspect", "-f", "{{.Config.Cmd}}", pulled) == "[stored]"

    # The list runs as the image that it has for this machine, without a registry's being asked.
    assert rpod.ok("inspect", "-f", "{{.Config.Cmd}}", rpod.ok("create", "multi:1")) == "[stored]"
    assert "it has: " in rpod.fails("create", "--arch", "s390x", "multi:1")
    assert "rpod image copy oci:" in rpod.fails("create", "--arch", "arm64", "multi:1")
    assert "is for linux/amd64, not for linux/riscv64" in rpod.fails("create", "--arch", "riscv64", "multi:1")
    rpod.ok("manifest", "create", "far", f"docker://{base}-source:1")
    assert rpod.ok("inspect", "-f", "{{.Config.Cmd}}", rpod.ok("create", "-q", "far")) == "[remote]"
    rpod.ok("manifest", "rm", "far")
    rpod.ok("rm", "-a")

    # A whole list goes into another one, and the entries can be taken out again.
    rpod.ok("manifest", "create", "--all", "copy", f"docker://{base}:1")
    assert len(entries(rpod, "copy")) == 3
    rpod.ok("manifest", "remove", "copy", pushed[0]["digest"])
    assert [entry["digest"] for entry in entries(rpod, "copy")] == [entry["digest"] for entry in pushed[1:]]
    v2s2 = rpod.ok("manifest", "push", "--all=false", "--rm", "--format", "v2s2", "copy", f"{base}:2").splitlines()[-1]
    assert json.loads(raw(f"docker://{base}:2"))["mediaType"].endswith("manifest.list.v2+json") and v2s2
    assert rpod("manifest", "exists", "copy").code == 1
    assert json.loads(rpod.ok("manifest", "inspect", f"docker://{base}:2"))["schemaVersion"] == 2
    assert rpod.ok("manifest", "rm", "multi:1").splitlines() == ["Untagged: localhost/multi:1", f"Deleted: {ident}"]
    assert rpod("image", "exists", "localhost/t").code == 0


def test_a_change_waits_for_another_one(fresh_rpod: Rpod, tmp_path: Path) -> None:
    """Two builds add their images at the same time: what the first one wrote is in what the second one writes."""
    layout.write(tmp_path / "image", [tar(member("file", b"x"))], {}, "t")
    fresh_rpod.ok("manifest", "create", "both")
    folder = fresh_rpod.data / "lists"
    with (folder / ".lock").open() as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = fresh_rpod.start("manifest", "add", "both", f"oci:{tmp_path}/image:t", stdout=subprocess.DEVNULL)
        wait_for(lambda: waits(second.pid), what="the second one's wait")
        (path,) = folder.glob("*.json")
        path.write_text(path.read_text().replace('"annotations":{}', '"annotations":{"first":"yes"}'))
    assert second.wait() == 0
    assert len(entries(fresh_rpod, "both")) == 1
    assert json.loads(fresh_rpod.ok("manifest", "inspect", "both"))["annotations"] == {"first": "yes"}


def waits(pid: int) -> bool:
    """Whether process ``pid`` waits for a lock (proc(5), locks)."""
    lines = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return any(words[1] == "->" and str(pid) in words for words in lines)


def test_what_manifest_refuses(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    rpod.ok("run", "--rm", "hello")
    rpod.ok("tag", "hello", "taken")
    assert "name of an image" in rpod.fails("manifest", "create", "taken")
    assert "no such list" in rpod.fails("manifest", "add", "none", "hello")
    rpod.ok("manifest", "create", "list")
    assert "lists no image" in rpod.fails("manifest", "push", "list", "docker://localhost:1/x")
    rpod.ok("manifest", "add", "list", "hello")
    assert "goes to registries only" in rpod.fails("manifest", "push", "list", "oci:/tmp/x")
    assert "KEY=VALUE" in rpod.fails("manifest", "annotate", "--annotation", "x", "list", "hello")
    assert "does not list" in rpod.fails("manifest", "annotate", "list", f"sha256:{64 * 'a'}")
    assert rpod("manifest", "rm", "none", "list").code == 125
    assert rpod("manifest", "exists", "list").code == 1
    rpod.ok("manifest", "create", "other")
    assert rpod.ok("rmi", "other").startswith("Untagged: localhost/other:latest")
    path = rpod.data / "lists" / "localhost+torn:latest.json"
    path.write_text("{")
    assert "torn:latest.json cannot be read" in rpod.fails("manifest", "inspect", "torn")

"""A hostile root file system or config.json against rpod-runtime: nothing of the host is reached or changed."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import oci
from support.oci import Runtime, changed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Done


class Bundle:
    """A bundle whose root the attacker has prepared, and a canary of the host's."""

    def __init__(self, folder: Path, runtime: Runtime) -> None:
        self.folder = folder
        self.root = oci.unpack(folder / "rootfs")
        self.canary = folder / "host"
        self.canary.mkdir()
        (self.canary / "file").write_text("untouched")
        self.runtime = runtime
        self.spec = oci.document(self.root)

    def run(self, script: str, **properties: Any) -> Done:
        spec = changed(self.spec, "process.args", ["sh", "-c", script])
        for path, value in properties.items():
            spec = changed(spec, path.replace("__", "."), value)
        return self.runtime.run(self.folder / "b", spec)

    def replace(self, name: str, target: str) -> None:
        """A link in place of a directory of the root."""
        path = self.root / name
        if path.is_dir():
            shutil.rmtree(path)
        path.symlink_to(target)


@pytest.fixture
def bundle(tmp_path: Path, runtime_base: Path) -> Iterator[Bundle]:
    runtime = Runtime(oci.install(tmp_path), Path(tempfile.mkdtemp(prefix="a", dir=runtime_base)))
    made = Bundle(tmp_path, runtime)
    yield made
    for ident in runtime.ok("list", "-q").split():
        runtime("delete", "--force", ident)
    assert sorted(path.name for path in made.canary.iterdir()) == ["file"]
    assert (made.canary / "file").read_text() == "untouched"


@pytest.mark.parametrize("place", ["proc", "sys"])
def test_a_link_where_the_kernel_is_mounted(bundle: Bundle, place: str) -> None:
    bundle.replace(place, str(bundle.canary))
    if place == "sys":
        bundle.spec["mounts"].append({"destination": "/sys", "type": "sysfs", "source": "sysfs"})
    done = bundle.run("echo reached")
    assert done.code == 1 and "reached" not in done.out and "bug" not in done.err


def test_links_of_the_root_stay_inside(bundle: Bundle) -> None:
    """An absolute link is the container's own path: the mount's target is made there, the root stays the root."""
    bundle.replace("out", str(bundle.canary))
    bundle.replace("dev", str(bundle.canary))
    bundle.spec["mounts"].append({"destination": "/out/deep", "type": "tmpfs", "source": "t"})
    done = bundle.run("echo > /out/deep/made; echo > /out/made")
    assert done.code in (0, 1) and "bug" not in done.err


def test_no_way_out_by_the_working_directory(bundle: Bundle) -> None:
    for number in range(3, 12):
        done = bundle.run("cat file; pwd", process__cwd=f"/proc/self/fd/{number}")
        assert done.code != 0 and "untouched" not in done.out and "bug" not in done.err


def test_masked_paths_are_not_followed_out(bundle: Bundle) -> None:
    bundle.replace("secret", str(bundle.canary / "file"))
    paths = ["/secret", "/../../etc", "/proc/self/exe"]
    assert "bug" not in bundle.run("true", linux__maskedPaths=paths, linux__readonlyPaths=paths).err


def test_a_dev_of_somebody_else_lends_nothing_to_a_mask(bundle: Bundle) -> None:
    """CVE-2025-31133: a link at /dev/null would be shown in the place of what is masked."""
    theirs = bundle.folder / "dev"
    theirs.mkdir()
    (theirs / "fake").write_text("shown")
    (theirs / "null").symlink_to("fake")
    (bundle.root / "secret").write_text("secret")
    mount = {"destination": "/dev", "type": "bind", "source": str(theirs), "options": ["rbind"]}
    bundle.spec["mounts"] = [each for each in bundle.spec["mounts"] if not each["destination"].startswith("/dev")] + [
        mount
    ]
    assert bundle.run("cat /secret; cat /dev/null", linux__maskedPaths=["/secret"]).out == "shown"


def test_a_program_cannot_write_to_the_runtime(bundle: Bundle) -> None:
    """CVE-2019-5736: what /proc/PID/exe of the runtime's process shows is a sealed copy."""
    bundle.root.joinpath("evil").write_text("#!/proc/self/exe\n")
    bundle.root.joinpath("evil").chmod(0o755)
    before = Path(bundle.runtime.program).read_bytes()
    done = bundle.run("", process__args=["/evil"])
    assert done.code != 0
    assert Path(bundle.runtime.program).read_bytes() == before


@pytest.mark.parametrize("ident", ["../c", "/c", ".", "..", "a/b", "a\nb", "a" * 300, ""])
def test_hostile_names(bundle: Bundle, ident: str) -> None:
    oci.write(bundle.folder / "b", bundle.spec)
    for argv in (
        ["create", "--bundle", str(bundle.folder / "b"), ident],
        ["delete", "--force", ident],
        ["state", ident],
    ):
        done = bundle.runtime(*argv)
        assert done.code == 1 and "invalid container id" in done.err, done


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"null", b"[" * 200000, b'{"ociVersion": 1e400}', b"\xff\xfe", b'{"process": {"args": {}}}']
)
def test_hostile_json(bundle: Bundle, text: bytes) -> None:
    oci.write(bundle.folder / "b", bundle.spec)
    (bundle.folder / "b" / "config.json").write_bytes(text)
    done = bundle.runtime("create", "--bundle", str(bundle.folder / "b"), "c")
    assert done.code == 1 and done.err.startswith("rpod-runtime: ") and "bug" not in done.err, done


@pytest.mark.parametrize("place", ["proc", "dev/pts"])
def test_a_link_within_the_root_where_the_kernel_is_mounted(bundle: Bundle, place: str) -> None:
    """CVE-2019-19921: what is masked in /proc must be the /proc that programs see."""
    (bundle.root / "dev").mkdir(exist_ok=True)
    bundle.replace(place, "/tmp")
    bundle.spec["mounts"] = [mount for mount in bundle.spec["mounts"] if mount["destination"] != "/dev"]
    done = bundle.run("true")
    assert done.code == 1 and f"/{place}" in done.err and "bug" not in done.err, done


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("hooks", {"createContainer": [{"path": "bin/evil"}]}, "path"),
        ("hooks", {"poststart": [{"path": "/bin/true", "timeout": -1}]}, "timeout"),
        ("hooks", {"prestart": [{"path": "/bin/true", "args": "rm -rf"}]}, "args"),
        ("process__cwd", "tmp", "cwd"),
        ("process__args", ["a\0b"], "args"),
        ("mounts", [{"destination": "relative", "type": "tmpfs"}], "destination"),
        ("linux__cgroupsPath", "../../../outside", "cgroupsPath"),
        ("linux__sysctl", {"../../etc/passwd": "x"}, "sysctl"),
    ],
)
def test_values_that_lead_elsewhere(bundle: Bundle, path: str, value: object, named: str) -> None:
    done = bundle.run("true", **{path: value})
    assert done.code == 1 and named in done.err and "bug" not in done.err, done
    assert list(bundle.runtime.root.iterdir()) == [], "nothing is half-created"

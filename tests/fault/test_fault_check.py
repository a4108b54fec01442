"""``system check`` finds each kind of damage, and ``--repair`` mends it."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest

from rootless.kernel import userns

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.shell import Rpod


def only(folder: Path) -> Path:
    (found,) = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return found


def flip(path: Path) -> None:
    """Change one bit, and neither length nor time."""

    def work() -> None:
        info = os.stat(path)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
        os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))

    userns.call_inside(work)


def grow(path: Path) -> None:
    userns.call_inside(lambda: path.write_bytes(path.read_bytes() + b"more"))


def forget_layers(image: Path) -> None:
    """Take the layers out of the manifest, and have the record agree."""
    manifest = json.loads((image / "manifest.json").read_text())
    del manifest["layers"]
    raw = json.dumps(manifest).encode()
    (image / "manifest.json").write_bytes(raw)
    record = json.loads((image / "image.json").read_text())
    record["digest"] = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    (image / "image.json").write_text(json.dumps(record))


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a flipped bit in a layer": (lambda data: flip(only(data / "layers") / "fs" / "hello"), "is damaged"),
    "a file that grew": (lambda data: grow(only(data / "layers") / "fs" / "hello"), "too long"),
    "a layer cut short": (lambda data: os.truncate(only(data / "layers") / "fs" / "hello", 100), "too short"),
    "a missing file": (lambda data: (only(data / "layers") / "fs" / "hello").unlink(), "no such file"),
    "a layer's torn record": (lambda data: (only(data / "layers") / "layer.json").write_text("{"), "cannot be read"),
    "a layer without a record": (lambda data: (only(data / "layers") / "layer.json").unlink(), "half-written"),
    "a layer's torn assembly": (lambda data: os.truncate(only(data / "layers") / "assembly.zst", 9), "is damaged"),
    "a missing layer": (
        lambda data: userns.remove_tree_inside(str(only(data / "layers"))),
        "is missing",
    ),
    "a torn image record": (lambda data: (only(data / "images") / "image.json").write_text(""), "cannot be read"),
    "an image without a record": (lambda data: (only(data / "images") / "image.json").unlink(), "half-written"),
    "another config": (lambda data: flip(only(data / "images") / "config.json"), "another digest"),
    "another manifest": (lambda data: flip(only(data / "images") / "manifest.json"), "the manifest of image"),
    "a manifest of other layers": (lambda data: forget_layers(only(data / "images")), "not the layers of the image"),
    "a name of nothing": (
        lambda data: (data / "tags" / "localhost+x:1").symlink_to("../images/none"),
        "leads to no image",
    ),
    "something strange": (lambda data: (data / "layers" / "strange").mkdir(), "no layer has such a name"),
    "a killed command's rest": (
        lambda data: ((data / "staging" / "ab").mkdir(), (data / "staging" / "ab.lock").touch()),
        "killed",
    ),
    "a volume's torn record": (lambda data: (only(data / "volumes") / "volume.json").write_text("?"), "volume v"),
    "a volume without a record": (lambda data: (only(data / "volumes") / "volume.json").unlink(), "no record"),
    "a volume without files": (lambda data: (only(data / "volumes") / "_data").rename(data / "moved"), "missing"),
}
RESTS = ("an image without a record", "a name of nothing", "a killed command's rest")


@pytest.fixture
def stored(fresh_rpod: Rpod) -> Rpod:
    """An image and a volume."""
    fresh_rpod.ok("run", "--rm", "hello")
    fresh_rpod.ok("volume", "create", "v")
    assert fresh_rpod.ok("system", "check") == ""
    return fresh_rpod


@pytest.mark.parametrize("kind", DAMAGES)
def test_every_damage_is_found_and_mended(stored: Rpod, kind: str) -> None:
    damage, says = DAMAGES[kind]
    damage(stored.data)
    found = stored("system", "check")
    assert says in found.out and "Traceback" not in found.err, found
    # What a kill alone can leave is told of, and is no damage.
    assert found.code == (0 if kind in RESTS else 1) and ("(harmless)" in found.out) == (kind in RESTS), found
    mended = stored("system", "check", "--repair")
    assert (mended.code == 0 and "removed" in mended.out) or "new record" in mended.out or "empty" in mended.out, mended
    assert stored.ok("system", "check") == ""
    assert "Hello" in stored.ok("run", "--rm", "hello") or stored.ok("run", "--rm", "hello")
    assert stored.ok("volume", "ls", "-q") == "v"


def _write_odd(path: Path) -> None:
    """An archive of what has no content, of names that come twice, and of one that leads through a link."""
    with tarfile.open(path, "w") as archive:

        def add(name: str, kind: bytes, mode: int = 0o644, **fields: object) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = kind, mode
            for field, value in fields.items():
                setattr(entry, field, value)
            archive.addfile(entry)

        add("was-a-directory/inside", tarfile.REGTYPE)
        add("was-a-directory", tarfile.REGTYPE)
        add("was-a-file", tarfile.REGTYPE)
        add("was-a-file", tarfile.DIRTYPE, 0o750)
        add("directory", tarfile.DIRTYPE, 0o700)
        add("directory", tarfile.DIRTYPE, 0o1777)
        add("empty", tarfile.REGTYPE, 0o4755)
        add("other-name", tarfile.LNKTYPE, linkname="empty")
        add("link", tarfile.SYMTYPE, linkname="directory")
        add("link/through", tarfile.REGTYPE)
        add("pipe", tarfile.FIFOTYPE, 0o620)
        add("device", tarfile.CHRTYPE)


def _relink(path: Path) -> None:
    path.unlink()
    path.symlink_to("elsewhere")


def _turn_into_file(path: Path) -> None:
    path.rmdir()
    path.touch()


WITHOUT_CONTENT: dict[str, tuple[Callable[[Path], object], str]] = {
    "an empty file": (lambda tree: (tree / "empty").unlink(), "'empty': no such file"),
    "a name of a file": (lambda tree: (tree / "other-name").unlink(), "'other-name': no such file"),
    "a directory": (lambda tree: _turn_into_file(tree / "was-a-file"), "'was-a-file' is not a directory"),
    "a link's target": (lambda tree: _relink(tree / "link"), "'link' leads elsewhere"),
    "a FIFO": (lambda tree: (tree / "pipe").unlink(), "'pipe': no such file"),
    "a mode": (lambda tree: (tree / "directory").chmod(0o755), "'directory' has the mode 755 instead of 1777"),
}


@pytest.mark.parametrize("kind", WITHOUT_CONTENT)
def test_what_has_no_content_is_missed_too(stored: Rpod, kind: str, tmp_path: Path) -> None:
    stored.ok("rmi", "hello")
    _write_odd(tmp_path / "odd.tar")
    stored.ok("import", "--quiet", str(tmp_path / "odd.tar"), "odd")
    assert stored.ok("system", "check") == ""
    damage, says = WITHOUT_CONTENT[kind]
    userns.call_inside(lambda: damage(only(stored.data / "layers") / "fs"))
    found = stored("system", "check")
    assert found.code == 1 and says in found.out and "Traceback" not in found.err, found
    assert stored("system", "check", "--repair").code == 0
    assert stored.ok("system", "check") == "" and stored.ok("images", "-q") == ""


def test_quick_leaves_the_content_unread(stored: Rpod) -> None:
    flip(only(stored.data / "layers") / "fs" / "hello")
    assert stored.ok("system", "check", "--quick") == ""
    assert stored("system", "check").code == 1


def test_a_damaged_container_goes_only_when_that_is_allowed(stored: Rpod) -> None:
    ident = stored.ok("create", "hello")
    (stored.data / "containers" / ident / "container.json").write_text("{")
    found = stored("system", "check", "--repair")
    assert found.code == 1 and f"container {ident[:12]}" in found.out and "needs --force" in found.out
    assert stored("system", "check", "--repair", "--force").code == 0
    assert stored.ok("system", "check") == "" and stored.ok("ps", "-aq") == ""
    assert "changes nothing" in stored.fails("system", "check", "--force")


def test_reset_leaves_the_configuration_alone(stored: Rpod) -> None:
    stored.ok("run", "-d", "--name", "web", "--restart", "always", "hello")
    assert stored("system", "reset", stdin=b"n\n").code == 0 and stored.ok("ps", "-aq") != ""
    stored.configure("")
    assert "Removed" in stored.ok("system", "reset", "--force")
    assert not stored.data.exists() and not (stored.runtime / "rpod").exists()
    assert (stored.home / "config" / "rpod" / "containers.toml").exists()
    assert stored.ok("images", "-q") == "" and stored.ok("system", "check") == ""
    stored.ok("run", "--rm", "hello")


def test_reset_waits_for_the_monitors_that_become_cleanups(stored: Rpod, tmp_path: Path) -> None:
    slow = tmp_path / "sitecustomize.py"
    slow.write_text('import sys, time\n"cleanup" in sys.orig_argv and time.sleep(1)\n')
    ident = stored.ok("create", "hello")
    assert stored("init", ident, env={"PYTHONPATH": str(tmp_path)}).code == 0
    for code in (stored.home / "cache" / "rpod").glob("code-*"):
        os.truncate(code, 0)  # whoever ends now writes it anew
    stored.ok("system", "reset", "--force")
    assert stored.cleanups() == []
    assert not (stored.home / "cache" / "rpod").exists()


def tree(folder: Path) -> dict[str, bytes]:
    """Every file's content."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", ["images", "containers"])
def test_a_newer_record_is_refused_untouched(stored: Rpod, kind: str) -> None:
    stored.ok("create", "--name", "c", "hello")
    name = {"images": "image", "containers": "container"}[kind]
    record = only(stored.data / kind) / f"{name}.json"
    record.write_text(record.read_text().replace('"schema":1', '"schema":2').replace('"names":[', '"names":7,"x":['))
    before = tree(stored.data / kind), tree(stored.data / "layers")
    refused = (
        [["rmi", "-f", "hello"], ["run", "--rm", "hello"]] if kind == "images" else [["start", "c"], ["rm", "-f", "c"]]
    )
    for words in refused:
        done = stored(*words)
        assert done.code and "newer version of rpod" in done.err and "Traceback" not in done.err, done
    found = stored("system", "check", "--repair", "--force")
    assert found.code == 1 and "newer version of rpod" in found.out, found
    stored("system", "prune", "-af")
    stored("image", "prune", "-af")
    assert (tree(stored.data / kind), tree(stored.data / "layers")) == before


def test_df_agrees_with_du(stored: Rpod) -> None:
    stored.ok("create", "--name", "c", "hello")
    (stored.data / "volumes" / "v" / "_data" / "file").write_bytes(bytes(100_000))
    groups = json.loads(stored.ok("system", "df", "--format", "json"))
    du = subprocess.run(["du", "-s", "-B1", stored.data], capture_output=True, text=True, check=True).stdout
    assert sum(group["Size"] for group in groups) == int(du.split()[0])


@pytest.mark.parametrize("kind", ["another manifest", "a manifest of other layers"])
def test_what_needs_the_manifest_says_that_it_is_damaged(stored: Rpod, kind: str, tmp_path: Path) -> None:
    """commit, push, save and inspect end with one named error, and leave nothing behind."""
    rpod, target = stored, tmp_path / "target"
    target.mkdir()
    rpod.ok("create", "--name", "c", "hello")
    DAMAGES[kind][0](rpod.data)
    for words in (
        ["commit", "-q", "c", "made"],
        ["push", "hello", "127.0.0.1:1/x"],
        ["save", "-o", str(target / "x.tar"), "hello"],
        ["image", "copy", "hello", f"oci:{target}/layout"],
        ["image", "inspect", "hello"],
    ):
        error = rpod.fails(*words)
        assert "the manifest of image" in error and "hint: rpod system check" in error
    assert list(target.iterdir()) == [] and list((rpod.data / "staging").iterdir()) == []
    assert rpod.ok("images", "-q").count("\n") == 0

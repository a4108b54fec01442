"""The user's own files, where somebody else or an accident made them traps: logins, caches, logs, descriptions."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rootless.errors import RegistryError
from rootless.image import credentials
from rootless.kernel.codecache import CodeCache
from rootless.runtime import seccomp

if TYPE_CHECKING:
    from support.leaks import Canary
    from support.shell import Rpod


# ---- logins


@pytest.mark.parametrize("what", ["fifo", "directory", "endless", "list", "nested", "no base64", "closed"])
def test_a_file_of_logins_that_is_a_trap(tmp_path: Path, what: str) -> None:
    path = tmp_path / "auth.json"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "endless":
        path.symlink_to("/dev/zero")
    else:
        texts = {"list": "[]", "nested": '{"auths":' * 100_000, "no base64": '{"auths":{"a.example":{"auth":"%"}}}'}
        path.write_text(texts.get(what, "{}"))
        path.chmod(0 if what == "closed" else 0o600)
    with pytest.raises(RegistryError, match=r"auth\.json"):
        credentials.find("a.example", authfile=str(path))


def test_a_login_is_closed_to_others_from_its_first_byte(tmp_path: Path) -> None:
    path = tmp_path / "containers" / "auth.json"
    before = os.umask(0)
    try:
        credentials.save("a.example", credentials.Credentials("me", "secret"), str(path))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert os.listdir(path.parent) == ["auth.json"]


# ---- caches


@pytest.mark.parametrize("mode", [0o620, 0o602])
def test_code_that_others_may_write_is_not_run(tmp_path: Path, mode: int) -> None:
    """The cache is handed over as it was written, but for its mode: then others may have written it."""
    import rootless

    cache = CodeCache(rootless, str(tmp_path))
    cache._missed = ["rootless.kernel.times"]
    __import__("rootless.kernel.times")
    switch, sys.dont_write_bytecode = sys.dont_write_bytecode, False
    try:
        cache.save()
    finally:
        sys.dont_write_bytecode = switch
    (path,) = tmp_path.iterdir()
    for allowed, served in ((0o600, True), (mode, False)):
        path.chmod(allowed)
        fresh = CodeCache(rootless, str(tmp_path))
        fresh.install()
        sys.meta_path.remove(fresh)
        assert (fresh.find_spec("rootless.kernel.times") is not None) == served


def test_a_link_in_the_place_of_the_cached_code_is_not_followed(tmp_path: Path) -> None:
    import rootless

    fresh = CodeCache(rootless, str(tmp_path / "cache"))
    Path(fresh._path).parent.mkdir()
    (tmp_path / "elsewhere").write_bytes(b"x" * 100)
    Path(fresh._path).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        fresh._open()


def test_a_filter_that_others_may_write_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiled filter in the cache that allows everything, well formed, with the right name and checksum."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    profile: dict[str, object] = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
    good = seccomp.program_for(profile)
    (path,) = (tmp_path / "rpod" / "seccomp").iterdir()
    path.write_bytes(seccomp._wrap(b"evil" * 2))
    assert seccomp.program_for(profile) == b"evil" * 2, "the test's filter is one that would be taken"
    path.chmod(0o666)
    assert seccomp.program_for(profile) == good


def test_settings_that_others_may_write_are_not_used(fresh_rpod: Rpod) -> None:
    """What containers.toml says is kept as JSON, which could name another runtime or registry."""
    fresh_rpod.configure('[events]\nlogger = "file"\n')
    look = ("events", "--stream=false")
    fresh_rpod.ok(*look)
    path = fresh_rpod.home / "cache" / "rpod" / "config.json"
    forged = json.loads(path.read_text())
    forged["values"]["events"] = {"logger": "none"}
    path.write_text(json.dumps(forged))
    assert "no events are kept" in fresh_rpod.fails(*look), "the test's settings are ones that would be taken"
    path.chmod(0o666)
    fresh_rpod.ok(*look)


# ---- the event log


def test_the_event_log_is_no_way_to_other_files(fresh_rpod: Rpod, canary: Canary) -> None:
    state = fresh_rpod.home / "state" / "rpod"
    state.mkdir(parents=True, mode=0o700)
    (state / "events.log").symlink_to(canary.root / "file")
    words = ("run", "--rm", "--network", "none", "hello")
    fresh_rpod.ok(*words)
    fresh_rpod.ok("run", "-d", "--name", "web", "--network", "none", "hello")
    fresh_rpod.ok("wait", "web")
    fresh_rpod.ok("rm", "web")


def test_no_line_of_the_event_log_comes_from_a_label(fresh_rpod: Rpod) -> None:
    line = json.dumps({"Type": "container", "Status": "forged", "Name": "x", "time_ns": 1})
    label = f"--label=a=b\n{line}\n"
    fresh_rpod.ok("run", "--name", "web", "--network", "none", label, "--annotation", f"a=\n{line}\n", "hello")
    fresh_rpod.ok("rm", "web")
    found = fresh_rpod.ok("events", "--stream=false", "--format", "{{.Status}}").split()
    assert "forged" not in found
    assert {"create", "start", "died", "remove"} <= set(found)


@pytest.mark.parametrize("content", ["fifo", b"\0" * 4096, b"{" * 200_000, b'{"time_ns":"x"}\n', b"[]\n5\nnull\n"])
def test_an_event_log_of_nonsense(fresh_rpod: Rpod, content: str | bytes) -> None:
    state = fresh_rpod.home / "state" / "rpod"
    state.mkdir(parents=True, mode=0o700)
    if isinstance(content, bytes):
        (state / "events.log").write_bytes(content)
    else:
        os.mkfifo(state / "events.log")
    done = fresh_rpod("events", "--stream=false", timeout_s=20)
    assert done.code in (0, 125), done
    assert "Traceback" not in done.err, done
    assert "bug in rpod" not in done.err, done
    fresh_rpod.ok("run", "--rm", "--network", "none", "hello")


# ---- descriptions of devices


@pytest.mark.parametrize("what", ["fifo", "directory", "endless", "nested", "two"])
def test_a_description_of_devices_that_is_a_trap(fresh_rpod: Rpod, what: str) -> None:
    folder = fresh_rpod.home / "config" / "cdi"
    folder.mkdir(parents=True)
    path = folder / "a.json"
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.write_text({"nested": "[" * 200_000, "two": "{} {}"}[what])
    error = fresh_rpod.fails("run", "--rm", "--device", "example.com/thing=x", "hello")
    assert "a.json" in error
    assert "bug in rpod" not in error

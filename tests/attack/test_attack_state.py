"""Hostile names, damaged records, and a runtime directory that is not ours."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.shell import program

from rootless.errors import RpodError
from rootless.state.record import ContainerRecord, ExitRecord, RunRecord

if TYPE_CHECKING:
    from pathlib import Path

    from support.leaks import Canary
    from support.shell import Done, Rpod

EVIL_NAMES = [
    "../x", "-rf", "a\nb", "a/b", ".", "..", "", "é", "a b", "a\x1b[2J", "x" * 201, "x" * 100_000, "/etc/passwd"
]  # fmt: skip
FILES = ("container.json", "config.json", "state.json", "exit.json")


def assert_words(done: Done) -> None:
    assert "Traceback" not in done.err, done
    assert "bug in rpod" not in done.err, done


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_names_that_cannot_be(safe: Rpod, plain: str, canary: Canary, name: str) -> None:
    if name:
        safe.fails("create", f"--name={name}", plain)
    safe.ok("create", "--name", "good", plain)
    for argv in (
        ["rename", "good", name], ["inspect", name], ["start", name], ["stop", name], ["kill", name], ["wait", name],
        ["logs", name], ["exec", name, "true"], ["attach", name], ["top", name], ["port", name],
        ["run", "--rm", "--volumes-from", name, plain], ["run", "--rm", "--network", f"container:{name}", plain],
        ["rm", name], ["rm", "-f", name],
    ):  # fmt: skip
        done = safe(*argv)
        assert_words(done)
        if argv[0] != "rm":
            assert done.code != 0, done
    if name not in (".", "..") and "/" not in name:  # else it is a path
        assert safe("run", "--rm", "-v", f"{name}:/data", plain, "true").code != 0
    assert safe.ok("ps", "-a", "--format", "{{.Names}}") == "good"


def test_labels_of_any_kind_come_back_as_they_were(safe: Rpod, plain: str) -> None:
    labels = {"../x": "-rf", "a\nb": "c\nd", "big": "y" * 100_000, "esc": "\x1b[2J", "quote": "\"'\\"}
    options = [f"--label={key}={value}" for key, value in labels.items()]
    safe.ok("create", "--name", "labelled", *options, plain)
    found = json.loads(safe.ok("inspect", "labelled"))
    assert labels.items() <= (found[0] if isinstance(found, list) else found)["Config"]["Labels"].items()
    assert safe.ok("ps", "-aq", "--filter", "label=../x=-rf")


# ---- records


def damaged(data: bytes) -> list[bytes]:
    """Ways in which a record can be wrong."""
    step = max(1, len(data) // 2)
    flips = [data[:i] + bytes([data[i] ^ bit]) + data[i + 1 :] for i in range(0, len(data), step) for bit in (1, 64)]
    return [
        b"",
        data[: len(data) // 2],
        bytes(len(data)),
        b"[]",
        b"null",
        b"{}",
        b'{"a":' * 100_000,
        b"\xff\xfe",
        *flips,
    ]


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_record_stops_no_other_container_and_can_be_removed(safe: Rpod, plain: str, name: str) -> None:
    safe.ok("run", "--name", "good", plain, "true")
    safe.ok("run", "--name", "bad", plain, "true")
    ident = safe.ok("inspect", "-f", "{{.Id}}", "bad")
    path = safe.data / "containers" / ident / name
    whole = path.read_bytes()
    for content in damaged(whole):
        path.write_bytes(content)
        begin = time.monotonic()
        for argv in (["ps", "-a"], ["inspect", "bad"], ["start", "bad"], ["stop", "-t", "0", "bad"]):
            assert_words(safe(*argv))
        assert "good" in safe.ok("ps", "-a", "--format", "{{.Names}}")
        assert time.monotonic() - begin < 10
        if path.exists() and not safe("inspect", "bad").code:
            safe("stop", "-t", "0", "bad")
        path.write_bytes(whole)
    path.write_bytes(b"\0" * 100)
    safe.ok("rm", "-f", ident)
    assert safe.ok("ps", "-a", "--format", "{{.Names}}") == "good"
    assert not path.parent.exists()


def test_a_damaged_record_under_a_running_container(safe: Rpod, plain: str) -> None:
    for name in FILES[:3]:
        safe.ok("run", "-d", "--name", "web", plain, "sleep", "1000")
        ident = safe.ok("inspect", "-f", "{{.Id}}", "web")
        (safe.data / "containers" / ident / name).write_bytes(b'{"truncated')
        for argv in (["ps", "-a"], ["inspect", "web"], ["exec", "web", "true"], ["stop", "-t", "0", "web"]):
            assert_words(safe(*argv, timeout_s=30))
        safe.ok("rm", "-f", "-t", "0", ident, timeout_s=40)


@pytest.mark.parametrize("kind", [ContainerRecord, RunRecord, ExitRecord])
def test_every_bit_of_a_record(kind: type[ContainerRecord]) -> None:
    """Whatever a flipped bit makes of a record: a record, or an error for people."""
    from rootless.kernel import fastjson

    data = fastjson.dumps(kind(**dict(kind.FIELDS)).to_json()).encode()
    for index in range(len(data)):
        for bit in range(8):
            flipped = data[:index] + bytes([data[index] ^ 1 << bit]) + data[index + 1 :]
            try:
                kind.from_json(fastjson.loads(flipped), "record")
            except (RpodError, fastjson.JSONError):
                continue


# ---- the runtime directory


@pytest.mark.parametrize("what", ["link", "file", "open", "dangling"])
def test_a_runtime_directory_that_is_not_to_be_trusted(
    safe: Rpod, plain: str, canary: Canary, tmp_path: Path, what: str
) -> None:
    base = tmp_path / "run"
    base.mkdir(mode=0o700)
    path = base / "rpod"
    if what == "link":
        path.symlink_to(canary.root)
    elif what == "dangling":
        path.symlink_to(canary.root / "new")
    elif what == "file":
        path.write_text("")
    else:
        path.mkdir()
        path.chmod(0o777)
    done = safe("run", "--rm", plain, "true", env={"XDG_RUNTIME_DIR": str(base)})
    assert_words(done)
    if what == "open":
        assert done.code == 0
        assert os.stat(path).st_mode & 0o077 == 0, "closed before it is used"
    else:
        assert done.code == 125
        assert str(path) in done.err


def test_records_are_closed_to_others(safe: Rpod, plain: str) -> None:
    safe.ok("run", "-d", "--name", "web", plain, "sleep", "1000")
    for root in (safe.data, safe.runtime / "rpod"):
        assert root.stat().st_mode & 0o077 == 0, root


def test_a_line_of_the_log_without_end(safe: Rpod, plain: str) -> None:
    """Neither the monitor nor ``logs`` holds a line in memory, and the file is rotated within it."""
    script = "head -c 40000000 /dev/zero | tr '\\0' x"
    safe.ok(
        "run", "--name", "endless", "--network", "none", "-d", "--log-opt", "max-size=100m", plain, "sh", "-c", script
    )
    safe.ok("wait", "endless")
    little_memory = ["prlimit", f"--as={96 << 20}", *program(), "logs", "endless"]
    done = subprocess.run(little_memory, env=safe.env, capture_output=True, timeout=60, check=True)
    assert done.stdout == b"x" * 40_000_000 + b"\n"
    safe.ok(
        "run", "--name", "bounded", "--network", "none", "-d", "--log-opt", "max-size=1m", plain, "sh", "-c", script
    )
    safe.ok("wait", "bounded")
    kept = sum(path.stat().st_size for path in safe.data.glob("containers/*/ctr.log*"))
    assert kept < 50_000_000

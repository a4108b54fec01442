"""The foundation: JSON, files, locks, processes, against the real kernel."""

from __future__ import annotations

import fcntl
import json
import os
import time
from typing import TYPE_CHECKING

import pytest

from rootless.kernel import fastjson, files, process, spawn, syscalls, times, userns
from rootless.kernel.numbers import decimal

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "value", [None, True, 0, -5, 1.5, "", "é\udc80\n", [], [1, [2]], {}, {"a": {"b": [None, "x"]}}, 1 << 70]
)
def test_json_agrees_with_the_standard_library(value: object) -> None:
    assert json.loads(fastjson.dumps(value)) == value
    assert fastjson.loads(f" \n{json.dumps(value)}\t ") == value


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("255", 255),
        ("256", None),
        ("", None),
        ("-1", None),
        ("+1", None),
        (" 1", None),
        ("1_0", None),
        ("\u00b2", None),
        ("\u0663", None),
        ("0" * 5000 + "9", 9),
        ("9" * 5000, None),
    ],
)
def test_numbers_of_strangers(text: str, number: int | None) -> None:
    assert decimal(text, 255) == number


@pytest.mark.parametrize(
    "text", ["", "{", "[1,]", "NaN", "-Infinity", "1 2", '{"a":1,"a":1}', '"\n"', "[" * 100_000, b"\xff", "nul"]
)
def test_what_is_not_json_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(fastjson.JSONError):
        fastjson.loads(text)


def test_nan_is_not_written() -> None:
    with pytest.raises(ValueError, match="not JSON"):
        fastjson.dumps({"x": float("nan")})


def test_an_atomic_write_replaces_or_leaves(tmp_path: Path) -> None:
    target = tmp_path / "record"
    files.write_atomic(str(target), b"one")
    files.write_atomic(str(target), b"two", sync=False)
    assert target.read_bytes() == b"two"
    assert target.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileNotFoundError):
        files.write_atomic(str(tmp_path / "none" / "record"), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["record"]


def test_a_fifo_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="not a regular file"):
        files.read_file(str(tmp_path / "fifo"))


def test_a_file_over_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"x" * 100)
    with pytest.raises(OSError, match="too large"):
        files.read_file(str(tmp_path / "big"), 99)


def test_a_lock_excludes_and_dies_with_its_holder(tmp_path: Path) -> None:
    path = str(tmp_path / "lock")
    assert not files.Lock.is_held(path)
    pid = os.fork()
    if pid == 0:
        files.Lock.acquire(path)
        os.kill(os.getpid(), 19)
        os._exit(0)
    os.waitpid(pid, os.WUNTRACED)
    assert files.Lock.is_held(path)
    assert files.Lock.acquire(path, wait=False) is None
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    lock = files.Lock.acquire(path, wait=False)
    assert lock is not None
    lock.release()


def test_a_tree_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "canary").touch()
    tree = tmp_path / "tree"
    (tree / "deep" / "closed").mkdir(parents=True)
    (tree / "link").symlink_to(outside)
    (tree / "deep" / "closed" / "file").touch()
    (tree / "deep" / "closed").chmod(0)
    files.remove_tree(str(tree))
    assert not tree.exists()
    assert (outside / "canary").exists()
    files.remove_tree(str(tree))


def test_a_very_deep_tree_is_removed(tmp_path: Path) -> None:
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=fd)
        following = os.open("d", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = following
    os.close(fd)
    files.remove_tree(str(tmp_path / "d"))
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_somebody_else_is_not_made_private(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/tmp")
    for path in ("/etc", str(tmp_path / "link")):
        with pytest.raises(OSError, match="not a directory of this user"):
            files.make_private(path)


def test_a_program_gets_only_what_it_was_given() -> None:
    leaked = os.open("/dev/null", os.O_RDONLY)
    os.set_inheritable(leaked, False)
    result = spawn.run(["/bin/sh", "-c", "ls /proc/self/fd; echo $SECRET"], env={"PATH": "/bin:/usr/bin"})
    assert str(leaked) not in result.text.split()
    assert result.code == 0


@pytest.mark.parametrize("lowest", [3, 200], ids=["few", "many"])
def test_descriptors_can_change_places(lowest: int) -> None:
    """Also where the caller has leaked so many that ours have the numbers that they change places through."""
    one, other = os.pipe(), os.pipe()
    os.write(one[1], b"one")
    os.write(other[1], b"two")
    read_end, write_end = os.pipe()
    second = fcntl.fcntl(other[0], fcntl.F_DUPFD_CLOEXEC, lowest)
    first = fcntl.fcntl(one[0], fcntl.F_DUPFD_CLOEXEC, lowest)
    pid = spawn.start(["/bin/sh", "-c", "head -c3 <&4; head -c3 <&3"], fds={3: first, 4: second, 1: write_end})
    for fd in (write_end, first, second):
        os.close(fd)
    assert spawn.wait(pid) == 0
    assert os.read(read_end, 10) == b"twoone"


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -9 $$", 137), ("kill -15 $$", 143)])
def test_exit_codes_are_a_shells(script: str, code: int) -> None:
    assert spawn.run(["/bin/sh", "-c", script]).code == code


def test_a_pidfd_means_one_process() -> None:
    pid = spawn.start(["/bin/sleep", "100"])
    ticks = process.start_ticks(pid)
    assert process.open_pidfd(pid, ticks + 1) == -1
    fd = process.open_pidfd(pid, ticks)
    assert not process.wait_gone(fd, 0.01)
    assert process.send(fd, 9)
    assert process.wait_gone(fd, 5)
    os.waitpid(pid, 0)
    assert not process.send(fd, 9)
    assert process.open_pidfd(pid, ticks) == -1


def test_work_inside_is_root_and_its_errors_come_back(tmp_path: Path) -> None:
    def work() -> object:
        (tmp_path / "file").touch()
        os.chown(tmp_path / "file", 7, 7)
        return [os.getuid(), os.getgid()]

    assert userns.call_inside(work) == [0, 0]
    assert (tmp_path / "file").stat().st_uid not in (0, 7, os.getuid())

    def fail() -> object:
        raise FileNotFoundError(2, "x", "/nowhere")

    with pytest.raises(Exception, match="/nowhere: no such file"):
        userns.call_inside(fail)
    userns.remove_tree_inside(str(tmp_path / "file"))
    assert not (tmp_path / "file").exists()


def test_ranges_that_make_no_sense_are_skipped(tmp_path: Path) -> None:
    path = tmp_path / "subuid"
    path.write_text("me:100000:1000\nme:100500:10\nme:4294967295:5\nme:0:7\nme:x:1\nother:1:1\nme:200000:0\nme:5:3\n")
    assert userns._parse_ranges(str(path), ("me",)) == [(100000, 1000), (5, 3)]


def test_openat2_stays_inside(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "root" / "link").symlink_to("../secret")
    (tmp_path / "root" / "absolute").symlink_to(str(tmp_path / "secret"))
    fd = os.open(tmp_path / "root", os.O_PATH)
    for name in ("link", "absolute", "../secret"):
        with pytest.raises(FileNotFoundError):
            syscalls.openat2(fd, name, os.O_RDONLY, syscalls.RESOLVE_IN_ROOT)


def test_times_are_local_without_a_zone_and_keep_nanoseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        text = times.format_rfc3339(1_700_000_000_123_456_789)
        assert text == "2023-11-14T23:13:20.123456789+01:00"
        assert times.parse_rfc3339(text) == 1_700_000_000_123_456_789
        assert times.parse_rfc3339("2023-11-14T23:13:20") == 1_700_000_000_000_000_000
    finally:
        monkeypatch.delenv("TZ")
        time.tzset()


@pytest.mark.parametrize(
    ("span_ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_100, "1.1µs"),
        (21_600_000, "21.6ms"),
        (2_000_000_000, "2s"),
        (1_704_574_802, "1.704574802s"),
        (60_000_000_000, "1m0s"),
        (3_732_497_061_672, "1h2m12.497061672s"),
    ],
)
def test_spans_are_printed_as_go_prints_them(span_ns: int, text: str) -> None:
    assert times.format_duration(span_ns) == text

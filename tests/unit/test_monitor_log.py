"""rpod-monitor's log: formats, partial lines, rotation, a disk that is full."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from monitor_harness import HELPERS, Monitored

K8S_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}\+00:00 (stdout|stderr) [PF] .*")
JSON_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z")


def emit(*chunks: bytes, stream: int = 1, pause_s: float = 0.0) -> list[str]:
    """A program that writes each chunk with one write(2)."""
    script = f"import os, time\nfor chunk in {list(chunks)!r}:\n os.write({stream}, chunk)\n time.sleep({pause_s})"
    return [sys.executable, "-S", "-c", script]


def finish(container: Monitored) -> None:
    container.client.until_exit()
    container.client.send(b"k")
    container.wait()


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def joined(lines: list[tuple[str, str, str]]) -> str:
    """The text of the records as a reader of the format puts it together."""
    return "".join(text + ("\n" if tag == "F" else "") for _, tag, text in lines)


def test_k8s_lines_and_their_times(tmp_path: Path) -> None:
    with Monitored(tmp_path, ["/bin/sh", "-c", "echo one; echo; sleep 0.1; echo two >&2"]) as container:
        finish(container)
        assert container.lines() == [("stdout", "F", "one"), ("stdout", "F", ""), ("stderr", "F", "two")]
        raw = container.log.read_bytes().splitlines()
        assert all(K8S_LINE.fullmatch(line) for line in raw)
        logged = datetime.fromisoformat(raw[-1][:26].decode()).replace(tzinfo=UTC)
        assert abs(logged.timestamp() - time.time()) < 60
        assert container.log.stat().st_mode & 0o777 == 0o600


def test_a_prompt_is_logged_at_once_and_its_line_ended(tmp_path: Path) -> None:
    with Monitored(tmp_path, ["/bin/sh", "-c", "printf 'name: '; read name; printf 'hi %s' $name"]) as container:
        container.client.until(b"name: ")
        assert container.lines() == [("stdout", "P", "name: ")]
        container.client.send(b"iann\n")
        finish(container)
        assert container.lines()[-1] == ("stdout", "F", "")
        assert joined(container.lines()) == "name: hi ann\n"


def test_long_lines_are_split_and_whole_again(tmp_path: Path) -> None:
    text = "".join(chr(97 + i % 26) for i in range(100_001))
    with Monitored(tmp_path, emit(text.encode() + b"\nshort\n")) as container:
        finish(container)
        lines = container.lines()
        assert max(len(line) for _, _, line in lines) <= 8192
        assert [tag for _, tag, _ in lines].count("F") == 2
        assert joined(lines) == text + "\nshort\n"


def test_a_line_of_fifty_megabytes_stays_bounded(tmp_path: Path) -> None:
    program = ["/bin/sh", "-c", "head -c 50000000 /dev/zero | tr '\\0' y"]
    options = ("--log-max-size", "100000", "--log-max-files", "2")
    with Monitored(tmp_path, program, options=options, client=False) as container:
        container.wait()
        sizes = [path.stat().st_size for path in tmp_path.glob("ctr.log*")]
        assert len(sizes) == 2
        assert max(sizes) <= 100_000


def test_streams_keep_their_own_partial_lines(tmp_path: Path) -> None:
    script = "printf a; sleep 0.1; echo b >&2; sleep 0.1; echo c"
    with Monitored(tmp_path, ["/bin/sh", "-c", script]) as container:
        finish(container)
        assert container.lines() == [("stdout", "P", "a"), ("stderr", "F", "b"), ("stdout", "F", "c")]


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b'plain "quoted" back\\slash\n', 'plain "quoted" back\\slash\n'),
        (b"\x00\x01\x1b[0m\t\r\x7f\n", "\x00\x01\x1b[0m\t\r\x7f\n"),
        ("grüße, 世界, 🐧\n".encode(), "grüße, 世界, 🐧\n"),
        (b"\xff\xfe bad \xc3( \xe2\x82\n", "\ufffd\ufffd bad \ufffd( \ufffd\n"),
        (b"\xc0\xaf \xed\xa0\x80 \xf4\x90\x80\x80\n", "\ufffd\ufffd \ufffd\ufffd\ufffd \ufffd\ufffd\ufffd\ufffd\n"),
        (b"tail", "tail"),
        (b"cut \xe4\xb8", "cut \ufffd"),
    ],
)
def test_json_file_is_json_whatever_was_written(tmp_path: Path, raw: bytes, text: str) -> None:
    with Monitored(tmp_path, emit(raw), log_format="json-file") as container:
        finish(container)
        records = json_lines(container.log)
        assert "".join(record["log"] for record in records) == text
        assert {record["stream"] for record in records} == {"stdout"}
        assert all(JSON_TIME.fullmatch(record["time"]) for record in records)


def test_json_file_keeps_a_character_that_came_in_two_writes(tmp_path: Path) -> None:
    with Monitored(tmp_path, emit(b"\xe4", b"\xb8\x96!\n", pause_s=0.1), log_format="json-file") as container:
        finish(container)
        assert "".join(record["log"] for record in json_lines(container.log)) == "世!\n"


def test_json_file_of_the_worst_bytes(tmp_path: Path) -> None:
    program = [sys.executable, "-c", "import os\nos.write(1, bytes(100000))"]
    with Monitored(tmp_path, program, log_format="json-file") as container:
        finish(container)
        assert "".join(record["log"] for record in json_lines(container.log)) == "\0" * 100_000


def test_rotation_keeps_whole_records_in_order(tmp_path: Path) -> None:
    program = ["/bin/sh", "-c", "i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done"]
    options = ("--log-max-size", "2000", "--log-max-files", "4")
    with Monitored(tmp_path, program, options=options) as container:
        finish(container)
        paths = [container.log.with_name(f"ctr.log.{n}") for n in (3, 2, 1)] + [container.log]
        assert sorted(tmp_path.glob("ctr.log*")) == sorted(paths)
        assert all(path.stat().st_size <= 2000 for path in paths)
        numbers = [int(text.split()[1]) for path in paths for _, _, text in container.lines(path)]
        assert numbers == list(range(numbers[0], 200))
        assert len(numbers) > 100


def test_rotation_with_one_file_begins_it_anew(tmp_path: Path) -> None:
    program = ["/bin/sh", "-c", "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done"]
    options = ("--log-max-size", "1000", "--log-max-files", "1")
    with Monitored(tmp_path, program, options=options) as container:
        finish(container)
        assert list(tmp_path.glob("ctr.log*")) == [container.log]
        assert container.log.stat().st_size <= 1000
        assert container.lines()[-1][2] == "line 99"


def test_a_restart_appends_and_ends_a_torn_line(tmp_path: Path) -> None:
    (tmp_path / "ctr.log").write_text("2026-01-01T00:00:00.000000000+00:00 stdout F torn")
    with Monitored(tmp_path, ["/bin/echo", "again"]) as container:
        finish(container)
        assert container.lines() == [("stdout", "F", "torn"), ("stdout", "F", "again")]


def test_log_format_none_writes_nothing(tmp_path: Path) -> None:
    with Monitored(tmp_path, ["/bin/echo", "unseen"], log_format="none") as container:
        finish(container)
        assert container.client.out == b"unseen\n"
        assert not container.log.exists()


def test_a_full_device_does_not_stop_the_container(tmp_path: Path) -> None:
    with Monitored(tmp_path, ["/bin/sh", "-c", "seq 100000; exit 8"], log=Path("/dev/full")) as container:
        assert container.client.until_exit() == b"8 0"
        assert container.client.out.endswith(b"\n100000\n")


def test_a_log_that_cannot_be_opened_is_opened_when_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "later"
    program = ["/bin/sh", "-c", "seq 10; read go; echo found"]
    with Monitored(tmp_path, program, log=folder / "ctr.log") as container:
        container.client.until(b"\n10\n")
        folder.mkdir()
        container.client.send(b"igo\n")
        finish(container)
        texts = [text for _, _, text in container.lines()]
        assert texts == ["rpod: 10 log records were lost here: the log could not be written", "found"]


@pytest.mark.fault
def test_a_full_disk_loses_lines_counts_them_and_says_so(tmp_path: Path) -> None:
    """On a tmpfs of 64 KiB in a user namespace: fill it, free it, and look at what the log says."""
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from monitor_harness import Monitored
disk = Path({str(tmp_path)!r}) / "disk"
program = ["/bin/sh", "-c", "seq 1 20; read go; seq 21 2000; read go; seq 2001 2020; exit 3"]
with Monitored(Path({str(tmp_path)!r}), program, log=disk / "ctr.log") as container:
    container.client.until(b"\\n20\\n")
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(1000))
        except OSError:
            pass
    container.client.send(b"igo\\n")
    container.client.until(b"\\n2000\\n")
    (disk / "filler").unlink()
    container.client.send(b"igo\\n")
    assert container.client.until_exit() == b"3 0"
    container.client.send(b"k")
    container.wait()
    for _, tag, text in container.lines():
        print(tag, text)
"""
    (tmp_path / "disk").mkdir()
    mount = f'mount -t tmpfs -o size=64k tmpfs {tmp_path}/disk && exec {sys.executable} -c "$0"'
    result = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mount, script],
        env=os.environ | {"RPOD_HELPERS": str(HELPERS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert all(line.startswith("F ") for line in lines)
    said = [line for line in lines if "rpod:" in line]
    assert len(said) == 1
    found = re.fullmatch(r"F rpod: (\d+) log records were lost here: the disk was full", said[0])
    assert found is not None
    # A line that came in two reads was two records.
    assert 2020 <= len(lines) - 1 + int(found[1]) <= 2030
    assert lines[-20:] == [f"F {number}" for number in range(2001, 2021)]

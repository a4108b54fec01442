"""rpod-monitor and the journal: a real journald, a slow one and one that goes away, each in a namespace of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

BOX = Path(__file__).with_name("journal_box.py")


def scene(name: str, folder: Path) -> Any:
    work = folder / "box"
    work.mkdir()
    done = subprocess.run(
        ["unshare", "-Urm", sys.executable, str(BOX), name, str(work)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout)


def test_lines_arrive_in_journald_and_are_read_back(tmp_path: Path) -> None:
    seen = scene("real", tmp_path)
    assert [text for stream, _, text in seen["all"] if text in ("one", "two")] == ["one", "two"]
    assert [stream for stream, _, text in seen["all"] if text == "two"] == [2]
    out = [(partial, text) for stream, partial, text in seen["all"] if stream == 1]
    assert [len(text) for partial, text in out if partial] == [8192, 8192], "a long line comes in pieces"
    assert "".join(text + ("" if partial else "\n") for partial, text in out) == "\n".join(
        ["one", "x" * 20000, "half line", *map(str, range(1, 1001)), "end", ""]
    )
    assert [text for _, _, text in seen["tail"]] == ["999", "1000", "end"]
    assert seen["none"] == seen["later"] == []
    assert seen["last"] == ["end"]
    assert seen["more"] == [], "following begins where the history ended"
    assert seen["fields"]["CONTAINER_NAME"] == seen["fields"]["SYSLOG_IDENTIFIER"] == "web"
    assert (seen["fields"]["PRIORITY"], seen["fields"]["COLOUR"]) == ("6", "red")


def test_a_slow_journald_stops_the_program_and_loses_nothing(tmp_path: Path) -> None:
    assert scene("slow", tmp_path) == {"waited": True, "found": True}


def test_what_a_dead_journald_did_not_take_is_said(tmp_path: Path) -> None:
    seen = scene("gone", tmp_path)
    assert seen["first"] == ["first"]
    assert seen["found"] == ["rpod: 7 log records were lost here: journald did not take them", "last"]

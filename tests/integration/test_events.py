"""events: what happened, in Podman's words, and as it happens."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from support.shell import Rpod

LINE = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,9})? [+-]\d{4} \S+ container %s %s \(image=%s, name=%s%s\)"


@pytest.fixture(autouse=True)
def none_of_other_tests(rpod: Rpod) -> None:
    for path in (rpod.home / "state/rpod").glob("events.log*"):
        path.unlink()


def told(rpod: Rpod, *args: str) -> list[dict[str, Any]]:
    out = rpod.ok("events", "--stream=false", "--format", "json", *args)
    return [json.loads(line) for line in out.splitlines()]


def statuses(rpod: Rpod, name: str) -> list[str]:
    return [event["Status"] for event in told(rpod, "--filter", f"container={name}")]


def test_the_life_of_a_container(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("create", "--name", "ev", "--label", "tier=front", image, "sleep", "1000")
    for args in (
        ["start", "ev"],
        ["exec", "ev", "true"],
        ["pause", "ev"],
        ["unpause", "ev"],
        ["kill", "-s", "CONT", "ev"],
        ["update", "--restart", "no", "ev"],
        ["rename", "ev", "ev2"],
        ["stop", "-t", "0", "ev2"],
    ):
        rpod.ok(*args)
    wait_for(lambda: "cleanup" in statuses(rpod, ident))
    rpod.ok("rm", "ev2")
    expected = "create init start exec exec_died pause unpause kill update rename died stop cleanup remove".split()
    assert sorted(statuses(rpod, ident)) == sorted(expected)
    assert [s for s in statuses(rpod, ident) if s not in ("stop", "cleanup")] == [
        s for s in expected if s not in ("stop", "cleanup")
    ]
    (died,) = told(rpod, "--filter", f"container={ident[:12]}", "--filter", "event=die")
    assert died == {
        "ContainerExitCode": 137,
        "ID": ident,
        "Image": image,
        "Name": "ev2",
        "Status": "died",
        "Time": died["Time"],
        "timeNano": died["timeNano"],
        "Type": "container",
        "Attributes": {"tier": "front"},
    }
    first = rpod.ok("events", "--stream=false", "--filter", f"container={ident}").splitlines()[0]
    assert re.fullmatch(LINE % ("create", ident, re.escape(image), "ev", ", tier=front"), first)
    short = rpod.ok("events", "--stream=false", "--no-trunc=false", "--filter", f"container={ident}").splitlines()[0]
    assert f" {ident[:12]} (" in short


def test_a_foreground_run_tells_its_story_in_order(rpod: Rpod, image: str) -> None:
    assert rpod("run", "--rm", "--name", "brief", image, "sh", "-c", "exit 3").code == 3
    events = told(rpod, "--filter", "container=brief")
    assert [event["Status"] for event in events] == ["create", "init", "start", "attach", "died", "remove"]
    assert [event["timeNano"] for event in events] == sorted(event["timeNano"] for event in events)
    assert events[4]["ContainerExitCode"] == 3


def test_images_and_volumes(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    rpod.ok("run", "--rm", "-v", "vol:/v", "hello")
    rpod.ok("tag", "hello", "other")
    rpod.ok("untag", "other", "other")
    archive = str(rpod.home / "hello.tar")
    rpod.ok("save", "-o", archive, "hello")
    rpod.ok("load", "-i", archive)
    rpod.ok("create", "--name", "x", "hello")
    rpod.ok("export", "-o", archive, "x")
    rpod.ok("import", archive, "flat")
    rpod.ok("rm", "x")
    rpod.ok("rmi", "localhost/rpod/hello")
    found = [(event["Type"], event["Status"], event.get("Name")) for event in told(rpod)]
    for expected in (
        ("volume", "create", "vol"),
        ("image", "tag", "localhost/other:latest"),
        ("image", "untag", "localhost/other:latest"),
        ("image", "save", archive),
        ("image", "loadfromarchive", archive),
        ("container", "export", "x"),
        ("image", "import", "localhost/flat:latest"),
        ("image", "remove", "localhost/rpod/hello:latest"),
    ):
        assert expected in found
    assert {event["Type"] for event in told(rpod, "--filter", "type=image")} == {"image"}
    assert len(told(rpod, "--filter", "volume=vol", "--filter", "event=create", "--filter", "event=remove")) == 1


def test_following_as_it_happens(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "--rm", "--name", "before", image, "true")
    following = rpod.start(
        *("events", "--since", "1h", "--filter", "container=heard", "--format", "{{.Status}} {{.ContainerExitCode}}"),
        stdout=subprocess.PIPE,
    )
    assert following.stdout is not None
    rpod("run", "--rm", "--name", "heard", image, "sh", "-c", "exit 4")
    lines = [following.stdout.readline().decode().strip() for _ in range(6)]
    following.kill()
    following.communicate()
    assert lines == ["create 0", "init 0", "start 0", "attach 0", "died 4", "remove 0"]


def test_since_until_and_labels(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "elder", "--label", "kind=a", image, "true")
    (first,) = told(rpod, "--filter", "container=elder")
    rpod.ok("create", "--name", "younger", "--label", "kind=b", image, "true")
    names = [event["Name"] for event in told(rpod, "--filter", "label=kind", "--since", first["Time"])]
    assert names[:2] == ["elder", "younger"]
    assert [e["Name"] for e in told(rpod, "--filter", "label=kind=a", "--until", first["Time"])][-1] == "elder"
    assert "younger" not in [e["Name"] for e in told(rpod, "--until", first["Time"])]
    # With an end in the past nothing is waited for.
    assert "elder" in rpod.ok("events", "--until", first["Time"])
    assert "yesterday" in rpod.fails("events", "--since", "yesterday")
    assert "colour" in rpod.fails("events", "--filter", "colour=red")


def test_the_log_is_bounded_and_survives_damage(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    rpod.configure('[events]\nlog_size_max = "4k"\n')
    rpod.ok("create", "--name", "x", "hello")
    log = rpod.home / "state" / "rpod" / "events.log"
    for number in range(30):
        rpod.ok("rename", "x" if not number else f"x{number - 1}", f"x{number}")
    sizes = [path.stat().st_size for path in (log, Path(f"{log}.1"))]
    assert all(0 < size < 5000 for size in sizes), sizes
    assert not Path(f"{log}.2").exists()
    with log.open("ab") as file:
        file.write(b'{"torn\n[]\nnull\n{"Type":"container","Status":"x","time_ns":"y"}\n')
    rpod.ok("rename", "x29", "last")
    names = [event["Name"] for event in told(rpod)]
    assert names[-2:] == ["last", "last"] or names[-1] == "last"
    assert len(names) > 15, "the file before it belongs to the history"
    assert (log.stat().st_mode & 0o777, log.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_it_can_be_switched_off(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    rpod.configure('[events]\nlogger = "none"\n')
    rpod.ok("run", "--rm", "hello")
    assert not (rpod.home / "state").exists()
    assert "events.logger" in rpod.fails("events", "--stream=false")


def test_a_log_that_cannot_be_written_stops_nobody(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    (rpod.home / "state").mkdir(parents=True)
    (rpod.home / "state" / "rpod").write_text("in the way")
    rpod.ok("run", "--rm", "hello")
    rpod.ok("create", "--name", "x", "hello")
    rpod.ok("rm", "x")


def test_labels_cannot_forge_an_event(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("create", "--label", "a=b)\n2026-01-01 00:00:00 +0000 UTC container died \x1b[31m", image, "true")
    out = rpod.ok("events", "--stream=false", "--filter", f"container={ident}")
    assert len(out.splitlines()) == 1
    assert "\x1b" not in out


def test_labels_of_a_megabyte(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "labels").write_text("a=" + "x" * 1_000_000)
    assert rpod("run", "--name", "fat", "--label-file", str(tmp_path / "labels"), image, "true").code == 0
    events = told(rpod, "--filter", "container=fat")
    assert [event["Status"] for event in events if event["Status"] != "cleanup"][:4] == [
        "create",
        "init",
        "start",
        "attach",
    ]
    assert all(event["Attributes"] is None for event in events)

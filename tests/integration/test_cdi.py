"""Devices by their names: descriptions of the Container Device Interface in the user's own directory."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod


def describe(rpod: Rpod, devices: object, edits: object = None, name: str = "test.json") -> None:
    folder = rpod.home / "config" / "cdi"
    folder.mkdir(parents=True, exist_ok=True)
    document = {"cdiVersion": "0.6.0", "kind": "example.com/thing", "devices": devices, "containerEdits": edits or {}}
    (folder / name).write_text(json.dumps(document))


def test_all_that_a_description_can_change(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "library").write_text("library\n")
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {tmp_path}/state; echo $1 $COLOUR >> {tmp_path}/said\n")
    hook.chmod(0o755)
    edits = {
        "env": ["THING=all", "ORIGIN=thing"],
        "mounts": [{"hostPath": f"{tmp_path}/library", "containerPath": "/opt/library", "options": ["ro", "bind"]}],
        "hooks": [
            {"hookName": "createContainer", "path": str(hook), "args": ["hook", "ran"], "env": ["COLOUR=red"]},
        ],
        "additionalGids": [2000],
    }
    node = {"path": "/dev/thing0", "hostPath": "/dev/null", "permissions": "rw"}
    describe(rpod, [{"name": "0", "containerEdits": {"deviceNodes": [node], "env": ["ZERO=1"]}}], edits)
    script = "echo x >/dev/thing0 && cat /opt/library; echo $THING $ORIGIN $ZERO; id -G; touch /opt/library"
    done = rpod("run", "--rm", "--device", "example.com/thing=0", image, "sh", "-c", script)
    assert done.out.splitlines() == ["library", "all thing 1", "0 2000"], done
    assert "Read-only" in done.err
    assert (tmp_path / "said").read_text() == "ran red\n"
    state = json.loads((tmp_path / "state").read_text())
    assert state["status"] == "creating"
    assert json.loads(state["id"].join('""')) == state["id"]


@pytest.mark.parametrize(
    ("edits", "named"),
    [
        ({"intelRdt": {"closID": "x"}}, "intelRdt"),
        ({"hooks": [{"hookName": "prestart", "path": "/bin/true"}]}, "prestart"),
        ({"deviceNodes": [{"path": "/dev/x", "hostPath": "/no/such"}]}, "/no/such"),
        ({"deviceNodes": [{"path": "/dev/x", "hostPath": "/etc/passwd"}]}, "not a device"),
        ({"deviceNodes": [{"path": "/dev/null", "permissions": "r"}]}, "only rw"),
        ({"mounts": [{"hostPath": "relative", "containerPath": "/x"}]}, "hostPath"),
        ({"mounts": [{"hostPath": "/no/such", "containerPath": "/x"}]}, "/no/such"),
        ({"env": "THING=1"}, "env"),
        ({"additionalGids": [-1]}, "additionalGids"),
    ],
)
def test_what_is_refused(rpod: Rpod, image: str, edits: object, named: str) -> None:
    describe(rpod, [{"name": "bad", "containerEdits": edits}])
    assert named in rpod.fails("run", "--rm", "--device", "example.com/thing=bad", image, "true")


def test_names_that_nobody_describes(rpod: Rpod, image: str) -> None:
    describe(rpod, [{"name": "one"}])
    assert "no such device" in rpod.fails("run", "--rm", "--device", "example.com/thing=two", image, "true")
    assert "VENDOR/CLASS=NAME" in rpod.fails("run", "--rm", "--device", "thing=two", image, "true")
    describe(rpod, [{"name": "one"}], name="again.json")
    assert "both describe" in rpod.fails("run", "--rm", "--device", "example.com/thing=one", image, "true")
    (rpod.home / "config" / "cdi" / "again.json").write_text("{")
    assert "again.json" in rpod.fails("run", "--rm", "--device", "example.com/thing=one", image, "true")
    (rpod.home / "config" / "cdi" / "again.json").unlink()
    assert rpod("run", "--rm", "--device", "example.com/thing=one", image, "true").code == 0

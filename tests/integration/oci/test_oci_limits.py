"""Limits of rpod-runtime: given at create, changed by update, told by events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import oci
from support.oci import Runtime, changed, shell
from test_limits import CONTROLLERS

pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")


def test_limits_at_create_and_update(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    """Files of the cgroup itself need no controller, so that this runs wherever a cgroup is delegated."""
    spec = changed(shell(spec, "sleep 1000"), "linux.resources.unified", {"cgroup.max.depth": "5"})
    bundle = oci.write(tmp_path / "b", spec)
    runtime.detached("run", "--detach", "--bundle", str(bundle), "c")
    place = Path(json.loads((runtime.root / "c" / "state.json").read_text())["cgroup"])
    assert (place / "cgroup.max.depth").read_text() == "5\n"
    runtime.ok("update", "--resources", "-", "c", stdin=b'{"unified": {"cgroup.max.descendants": "7"}}')
    assert (place / "cgroup.max.descendants").read_text() == "7\n"
    told = json.loads(runtime.ok("events", "--stats", "c"))
    assert told["type"] == "stats" and told["data"]["cpu"]["usage"]["total"] > 0
    done = runtime("update", "--resources", "-", "c", stdin=b'{"pids": {"limit": "many"}}')
    assert "linux.resources.pids.limit must be a whole number" in done.err
    assert "--pids-limit x: it is a whole number" in runtime("update", "--pids-limit", "x", "c").err
    done = runtime("update", "--resources", "-", "c", stdin=b'{"unified": {"nosuch.max": "1"}}')
    assert done.code == 1 and "linux.resources.unified.nosuch.max needs the cgroup controller" in done.err
    both = b'{"unified": {"cgroup.max.depth": "9", "cgroup.max.descendants": "many"}}'
    done = runtime("update", "--resources", "-", "c", stdin=both)
    assert done.code == 1 and "linux.resources.unified.cgroup.max.descendants cannot be set" in done.err
    assert (place / "cgroup.max.depth").read_text() == "5\n", "all of it or nothing"
    kept = json.loads((runtime.root / "c" / "config.json").read_text())["linux"]["resources"]
    assert kept == {"unified": {"cgroup.max.depth": "5", "cgroup.max.descendants": "7"}}


@pytest.mark.skipif("cpu" not in CONTROLLERS, reason="the kernel or its administrator gives no cpu controller")
def test_a_limit_that_is_not_given_stays(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    """cpu.max holds a quota and its period in one file."""
    spec = changed(shell(spec, "sleep 1000"), "linux.resources.cpu", {"quota": 20000, "period": 50000})
    runtime.detached("run", "--detach", "--bundle", str(oci.write(tmp_path / "b", spec)), "c")
    place = Path(json.loads((runtime.root / "c" / "state.json").read_text())["cgroup"])
    assert (place / "cpu.max").read_text() == "20000 50000\n"
    runtime.ok("update", "--cpu-quota", "10000", "c")
    runtime.ok("update", "--cpu-period", "40000", "c")
    assert (place / "cpu.max").read_text() == "10000 40000\n"

"""What is wrong in a config.json or on the command line is named, with its section of the specification."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from support import oci
from support.oci import Runtime, changed, shell

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")


WRONG = {
    "ociVersion": ("7.0.0", "ociVersion", "Specification version"),
    "process.cwd": ("relative", "process.cwd must be an absolute path", "config.md, Process"),
    "process.args": ([], "process.args is empty", "config.md, Process"),
    "process.args.0": (5, "process.args[0] must be a string", "config.md, Process"),
    "process.env": ({}, "process.env must be a list", "config.md, Process"),
    "process.user.uid": (-1, "process.user.uid must be a whole number from 0 to 4294967294", "config.md, Process"),
    "process.user.gid": (4294967295, "process.user.gid must be a whole number from 0", "config.md, Process"),
    "process.user.additionalGids": ([1 << 32], "additionalGids[0] must be a whole number", "config.md, Process"),
    "process.rlimits": ([{"type": "RLIMIT_X", "soft": 1, "hard": 1}], "unknown limit 'RLIMIT_X'", "config.md, Process"),
    "process": (None, "process is missing", "config.md, Process"),
    "root": (None, "root is missing", "config.md, Root"),
    "root.path": ("/no/such/place", "root.path: /no/such/place is no directory", "config.md, Root"),
    "mounts.0.destination": ("proc", "destination must be an absolute path", "config.md, Mounts"),
    "mounts.0.type": (5, "mounts[0].type must be a string", "config.md, Mounts"),
    "mounts.0.options": (["nosuch=1"], "cannot mount proc at /proc", ""),
    "mounts.1": (
        {"destination": "/m", "type": "fuse-overlayfs"},
        "mounts[1].type fuse-overlayfs does not work",
        "bind",
    ),
    "linux.namespaces.0": ({"type": "mount"}, "linux.namespaces has 'mount' twice", "config-linux.md, Namespaces"),
    "linux.namespaces.0.type": (
        "nope",
        "linux.namespaces[0].type must be one of pid, network",
        "config-linux.md, Namespaces",
    ),
    "linux.namespaces.4": ({"type": "mount", "path": "/proc/1/ns/mnt"}, "a mount namespace cannot be joined", ""),
    "linux.namespaces.5": ({"type": "cgroup"}, "linux.uidMappings needs a user namespace", "User namespace mappings"),
    "linux.namespaces.0.path": ("/no/such", "a namespace cannot be joined", ""),
    "linux.uidMappings": (
        [{"containerID": 5, "hostID": 1, "size": 1}],
        "must map container id 0",
        "User namespace mappings",
    ),
    "linux.uidMappings.0.hostID": (1, "a single id must be your own", ""),
    "linux.intelRdt": ({"closID": "x"}, "linux.intelRdt does not work here", "root's"),
    "linux.mountLabel": ("x", "linux.mountLabel does not work here", ""),
    "linux.resources.memory.swappiness": (5, "linux.resources.memory.swappiness does not work here", "cgroup v1"),
    "linux.resources.memory.limit": (
        "1G",
        "linux.resources.memory.limit must be a whole number",
        "config-linux.md, Memory",
    ),
    "linux.seccomp": (
        {"defaultAction": "SCMP_ACT_MAYBE"},
        "config.json: linux.seccomp: unknown action 'SCMP_ACT_MAYBE'",
        "known are",
    ),
    "linux.maskedPaths": (["/proc/keys", "proc/kcore"], "linux.maskedPaths[1] must be an absolute path", "Masked"),
    "linux.readonlyPaths": ([""], "linux.readonlyPaths[0] must be an absolute path, not ''", "Readonly Paths"),
    "linux.namespaces.1.path": ("proc", "linux.namespaces[1].path must be an absolute path", "Namespaces"),
    "linux.sysctl": ({"kernel.panic": "1"}, "config.json: linux.sysctl kernel.panic=1: ", ""),
    "linux.resources.unified": (
        {"nosuch.max": "1"},
        "config.json: linux.resources.unified.nosuch.max needs the cgroup controller 'nosuch'",
        "",
    ),
    "linux.rootfsPropagation": ("most", "linux.rootfsPropagation must be one of shared", "Rootfs Mount Propagation"),
    "linux.timeOffsets": ({"boottime": {"secs": 1}}, "linux.timeOffsets needs a new time namespace", "Offset for Time"),
    "linux.devices": ([{"path": "/dev/x", "type": "c", "major": 9999, "minor": 1}], "", ""),
    "hooks": (
        {"prestart": [{"path": "relative"}]},
        "hooks.prestart[0].path must be an absolute path, not 'relative'",
        "Hooks",
    ),
    "hooks.poststop": ([{}], "hooks.poststop[0].path is missing", "Hooks"),
    "process.scheduler": ({"policy": "SCHED_ODD"}, "process.scheduler.policy must be one of", "config.md, Process"),
    "process.apparmorProfile": ("mine", "AppArmor", ""),
    "vm": ({"kernel": {}}, "vm does not work here", "config-vm.md"),
}


@pytest.mark.parametrize("path", WRONG)
def test_what_is_wrong_is_named(runtime: Runtime, spec: dict[str, Any], tmp_path: Path, path: str) -> None:
    value, message, section = WRONG[path]
    log = tmp_path / "log"
    bundle = oci.write(tmp_path / "b", changed(spec, path, value))
    done = runtime("--log", str(log), "--log-format", "json", "create", "--bundle", str(bundle), "c")
    assert done.code == 1 and done.err.startswith("rpod-runtime: "), done
    assert "this is a bug" not in done.err
    assert message in done.err and section in done.err, done
    entry = json.loads(log.read_text())
    assert entry["level"] == "error" and message in entry["msg"]
    assert list(runtime.root.iterdir()) == []


def test_a_bundle_that_is_none(runtime: Runtime, tmp_path: Path) -> None:
    assert "config.json cannot be read" in runtime("create", "--bundle", str(tmp_path), "c").err
    (tmp_path / "config.json").write_text('{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}')
    assert "duplicate key" in runtime("create", "--bundle", str(tmp_path), "c").err
    assert "invalid container id" in runtime("create", "--bundle", str(tmp_path), "../c").err
    assert "unknown option --nope" in runtime("create", "--nope", "c").err
    assert "--rootless false" in runtime("--rootless", "false", "list").err
    assert "--log-format xml: unknown" in runtime("--log-format", "xml", "list").err
    assert "checkpoint is not there" in runtime("checkpoint", "c").err


def test_unknown_properties_are_ignored(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    spec["novel"] = {"x": 1}
    spec["linux"]["novel"] = [1]
    # Two that the engine writes into its own config.json mean nothing in another's.
    (tmp_path / "shown" / "part").mkdir(parents=True)
    bind = {"destination": "/m", "type": "bind", "source": str(tmp_path / "shown"), "options": ["rbind"]}
    spec["mounts"].append(bind | {"subpath": "part"})
    device = {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "source": "/dev/zero"}
    spec["linux"]["devices"] = [device]
    assert runtime.run(tmp_path / "b", shell(spec, "ls /m; echo fine")).out == "part\nfine\n"

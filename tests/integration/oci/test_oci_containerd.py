"""containerd's ctr over rpod-runtime, both as root of a user namespace of this user's."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support import busybox, oci
from support.shell import Done

from rootless.kernel import userns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")

CONFIG = """
version = 2
root = "{folder}/root"
state = "{folder}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "{socket}"
"""
# In namespaces of its own: /sys/fs/cgroup shows what is delegated to this user, /run belongs to containerd.
START = """
mount -t cgroup2 none {folder}/cgroup && mount --bind {folder}/cgroup /sys/fs/cgroup || exit 50
mkdir -p /sys/fs/cgroup/ctr && echo $$ > /sys/fs/cgroup/ctr/cgroup.procs || exit 51
mount -t tmpfs none /run && mkdir -p /run/user || exit 52
containerd --config {folder}/config.toml > {folder}/log 2>&1 &
for i in $(seq 100); do [ -S {socket} ] && break; sleep 0.1; done
ctr() {{ command ctr --address {socket} "$@"; }}
run() {{ ctr run --snapshotter native --runc-binary {program} --cpu-shares 0 "$@"; }}
ctr images import --snapshotter native {folder}/image.tar > /dev/null || exit 53
image=$(ctr images ls -q)
{script}
kill %1
wait %1
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "cgroup").mkdir()
    yield tmp_path
    userns.remove_tree_inside(str(tmp_path))


def containerd(folder: Path, runtime_base: Path, script: str) -> Done:
    """Run ``script`` beside a containerd that ends with it."""
    source = busybox.write_layout(folder / "layout")
    archive = ["skopeo", "copy", "--quiet", source, f"oci-archive:{folder}/image.tar:localhost/bb:latest"]
    subprocess.run(archive, check=True, timeout=60, env={**os.environ, "TMPDIR": str(folder)})
    values = {"folder": folder, "socket": runtime_base / "ctr.sock", "program": oci.install(folder)}
    (folder / "config.toml").write_text(CONFIG.format(**values))
    argv = "unshare --user --map-root-user --map-auto --mount --cgroup --pid --fork --kill-child --mount-proc".split()
    argv += ["bash", "-c", START.format(**values, script=script)]
    env = {**os.environ, "TMPDIR": str(folder), "XDG_RUNTIME_DIR": "/run"}
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, timeout=110, check=False)
    return Done(["ctr"], done.returncode, done.stdout, done.stderr)


def test_ctr_run_exec_pause_and_kill(folder: Path, runtime_base: Path) -> None:
    script = """
run --rm "$image" one sh -c 'echo inside; exit 4'; echo "code $?"
run -d "$image" two sleep 1000
ctr task exec --exec-id e two echo executed
ctr task exec --exec-id f two sh -c 'exit 6'; echo "code $?"
ctr task pause two && ctr task ls | grep -o PAUSED; ctr task resume two && ctr task ls | grep -o RUNNING
ctr task metrics two > /dev/null && echo metrics
ctr task kill -s KILL two
while ctr task ls | grep -q RUNNING; do sleep 0.1; done
ctr task rm two; ctr container rm two
ls /run/containerd/runc/default 2>/dev/null
"""
    done = containerd(folder, runtime_base, script)
    wanted = ["inside", "code 4", "executed", "code 6", "PAUSED", "RUNNING", "metrics"]
    assert done.out.splitlines() == wanted, (done, (folder / "log").read_text()[-2000:])

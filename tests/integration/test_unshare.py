"""``rpod unshare`` and ``rpod info`` at the engine's door, in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from support.shell import wait_for

if TYPE_CHECKING:
    from pathlib import Path

UNSHARE = "import sys; from rootless.engine.unshare import unshare; sys.exit(unshare(sys.argv[1:]))"


def unshare(*argv: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", UNSHARE, *argv]
    return subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **(env or {})}, timeout=30, check=False
    )


def test_the_program_is_root_of_the_default_map(tmp_path: Path) -> None:
    done = unshare("sh", "-c", f"id -u; wc -l < /proc/self/uid_map; touch {tmp_path}/f; chown 1:1 {tmp_path}/f")
    assert done.stdout.split() == ["0", "2"], done.stderr
    assert (tmp_path / "f").stat().st_uid > 1
    assert unshare("rm", "-f", f"{tmp_path}/f").returncode == 0


def test_exit_codes_are_the_programs() -> None:
    assert unshare("sh", "-c", "exit 7").returncode == 7
    assert unshare("sh", "-c", "kill -9 $$").returncode == 137
    assert unshare("/etc/passwd").returncode == 126
    assert "program not found" in unshare("no-such-program").stderr


def test_without_a_program_it_is_the_users_shell() -> None:
    assert unshare(env={"SHELL": "/bin/true"}).returncode == 0
    assert unshare(env={"SHELL": "/bin/false"}).returncode == 1


def test_a_mount_inside_is_not_seen_outside(tmp_path: Path) -> None:
    done = unshare("sh", "-c", f"mount -t tmpfs tmpfs {tmp_path} && touch {tmp_path}/inside && ls {tmp_path}")
    assert done.stdout == "inside\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_signal_reaches_the_program(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    script = f"trap 'exit 9' TERM; touch {ready}; while :; do sleep 0.05; done"
    process = subprocess.Popen([sys.executable, "-c", UNSHARE, "sh", "-c", script])
    wait_for(ready.exists, what="the program's start")
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 9


def test_a_closed_pipe_ends_the_program_as_in_a_shell() -> None:
    """Python ignores SIGPIPE; the program must not inherit that."""
    done = unshare("sh", "-c", "grep SigIgn /proc/self/status")
    assert int(done.stdout.split()[1], 16) >> (signal.SIGPIPE - 1) & 1 == 0


def test_info_has_podmans_layout(tmp_path: Path) -> None:
    code = "import json; from rootless.engine.info import info; print(json.dumps(info()))"
    env = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "data"), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=True)
    told = json.loads(done.stdout)
    assert set(told) == {"host", "plugins", "registries", "store", "version"}
    assert told["host"]["security"]["rootless"] is True
    assert told["host"]["idMappings"]["uidmap"][0] == {"container_id": 0, "host_id": os.getuid(), "size": 1}
    assert told["host"]["security"]["capabilities"].startswith("CAP_CHOWN,")
    assert told["host"]["slirp4netns"]["version"].startswith("slirp4netns version")
    assert told["store"]["containerStore"] == {"number": 0, "paused": 0, "running": 0, "stopped": 0}
    assert told["store"]["graphRoot"] == str(tmp_path / "data" / "rpod")
    assert told["store"]["graphDriverName"] in ("overlay", "fuse-overlayfs")


def test_version_stays_on_the_hot_path() -> None:
    code = (
        "import sys; before = set(sys.modules); from rootless.engine.info import version; version(); "
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"json", "re", "typing", "enum", "subprocess", "pathlib", "tomllib"}

"""What contrib/systemd/rpod-restart.service starts after a boot, which is a runtime directory that is new."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.shell import Rpod

UNITS = Path(__file__).resolve().parents[2] / "contrib/systemd"


def test_after_a_boot_the_policy_decides(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    for name, policy in (
        ("a", "always"),
        ("b", "unless-stopped"),
        ("c", "unless-stopped"),
        ("d", "on-failure"),
        ("e", "no"),
    ):
        rpod.ok("create", "--name", name, "--restart", policy, "--entrypoint", "/hello", "hello")
    assert rpod.ok("ps", "-aq", "--filter", "should-start-on-boot=true") == "", "what never ran is not started"
    for name in "abcde":
        run = rpod.data / "containers" / rpod.ok("inspect", "--format", "{{.Id}}", name) / "state.json"
        run.write_text(
            f'{{"boot_id": "before", "pid": 1, "started_ns": 1, "stopped_by_user": {str(name in "ac").lower()}}}'
        )
    shutil.rmtree(rpod.runtime / "rpod")
    chosen = rpod.ok("ps", "-a", "--filter", "should-start-on-boot=true", "--format", "{{.Names}}")
    assert sorted(chosen.split()) == ["a", "b"]
    assert rpod.ok("ps", "-a", "--filter", "restart-policy=never", "--format", "{{.Names}}") == "e"
    assert "unknown policy" in rpod.fails("ps", "--filter", "restart-policy=often")


def test_the_units_that_come_with_rpod_have_no_fault() -> None:
    paths = [str(path) for path in UNITS.iterdir() if path.suffix in (".service", ".timer")]
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", *paths], capture_output=True, text=True, check=False
    )
    assert "rpod" not in done.stdout + done.stderr
    assert done.returncode == 0


def test_quickstart_installs_the_service(tmp_path: Path) -> None:
    env = {"PATH": "/usr/bin:/bin", "XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)}
    script = f'source "{UNITS.parent}/quickstart"; USER_NAME=$(id -un); start_at_boot'
    subprocess.run(["bash", "-ec", script], env=env, check=True, capture_output=True)
    link = tmp_path / "systemd/user/default.target.wants/rpod-restart.service"
    assert link.resolve().read_text() == (UNITS / "rpod-restart.service").read_text()

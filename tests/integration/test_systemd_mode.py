"""A whole Debian with systemd as the first process: it boots, runs services, and ends with 0."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support import debian
from support.shell import wait_for

from rootless.kernel import userns

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root directory of a Debian with systemd, unpacked under the user's own ids."""
    root = tmp_path_factory.mktemp("system") / "root"
    root.mkdir(mode=0o755)
    archive = debian.tarball(debian.SYSTEM)

    def unpack() -> int:
        return subprocess.run(
            ["tar", "-C", str(root), "-xpf", str(archive), "--exclude=./dev/*"], check=True
        ).returncode

    userns.call_inside(unpack)
    yield root
    userns.remove_tree_inside(str(root))


def test_a_system_boots_and_powers_off(rpod: Rpod, system: Path) -> None:
    rpod.ok("run", "-d", "-t", "--name", "system", "--rootfs", f"{system}:O", "/sbin/init")

    def state() -> str:
        return rpod("exec", "system", "systemctl", "is-system-running").out.strip()

    wait_for(lambda: state() in ("running", "degraded"), 90, "a system that is up")
    failed = rpod.ok("exec", "system", "systemctl", "--failed", "--no-legend", "--plain")
    assert state() == "running", failed
    assert rpod.ok("exec", "system", "systemd-detect-virt", "--container") == "container-other"
    assert rpod.ok("exec", "system", "cat", "/proc/1/comm") == "systemd"
    rpod.ok("exec", "system", "systemd-run", "--wait", "--collect", "-p", "DynamicUser=no", "touch", "/tmp/made")
    assert rpod("exec", "system", "ls", "/tmp/made").code == 0
    rpod("exec", "system", "systemctl", "poweroff")
    assert rpod.ok("wait", "system") == "0"
    rpod.ok("start", "system")
    wait_for(lambda: state() == "running", 90, "a system that is up again")
    rpod.ok("stop", "-t", "60", "system", timeout_s=90)
    assert rpod.ok("inspect", "-f", "{{.State.ExitCode}} {{.Config.StopSignal}}", "system") == "0 37"


def test_what_is_mounted_for_systemd(rpod: Rpod, image: str) -> None:
    script = (
        "for d in /run /run/lock /tmp /var/log/journal; do stat -fc %T $d; done; mkdir /sys/fs/cgroup/x && echo made"
    )
    words = ("run", "--rm", "--systemd", "always", image, "sh", "-c", script)
    assert rpod.ok(*words).split() == [*["tmpfs"] * 4, "made"]
    assert "container_uuid=" in rpod.ok("run", "--rm", "--systemd=always", image, "env")
    assert rpod.ok("run", "--rm", image, "stat", "-fc", "%T", "/tmp") != "tmpfs"
    for wrong in (
        ("--systemd", "maybe"),
        ("--systemd", "always", "--init"),
        ("--systemd", "always", "--cgroupns", "host"),
    ):
        assert "systemd" in rpod.fails("run", "--rm", *wrong, image, "true")
    assert "control group" in rpod.fails("run", "--rm", "--systemd=always", "--cgroups=disabled", image, "true")


def test_a_directory_is_the_root(rpod: Rpod, system: Path) -> None:
    assert rpod.ok("run", "--rm", "--rootfs", str(system), "sh", "-c", "echo made >/made; id -u") == "0"
    assert (system / "made").read_text() == "made\n"
    rpod.ok("run", "--name", "copy", "--rootfs", f"{system}:O", "sh", "-c", "echo changed >/made")
    assert (system / "made").read_text() == "made\n"
    assert rpod.ok("start", "-a", "copy") == ""
    assert "changed" in rpod("cp", "copy:/made", "-").out
    out = rpod.ok("run", "--rm", "--userns", "keep-id", "--rootfs", f"{system}:O", "sh", "-c", "id -u; touch /x; ls /x")
    assert out.splitlines()[1] == "/x"
    assert str(system) in rpod.ok("ps", "-a", "--format", "{{.Image}}")
    for words in (("export", "copy", "-o", "/dev/null"), ("commit", "copy"), ("diff", "copy")):
        assert "runs on the directory" in rpod.fails(*words)
    for wrong in ("/no/such/root", f"{system}:idmap"):
        assert "--rootfs" in rpod.fails("run", "--rm", "--rootfs", wrong, "true")

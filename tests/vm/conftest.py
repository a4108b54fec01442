"""The machine that the tests of this folder share: Debian with systemd, and rpod installed for its user.

Minutes long, so only with ``RPOD_TEST_VM=1``. The commands are typed into ssh sessions: each is a login
of its own, in a scope of its own that belongs to root.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import machine
import pytest
from machine import Machine
from support import busybox
from support.registry import PlainRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is slow, and only wanted when it is asked for. What takes the machine apart comes last."""
    items.sort(key=lambda item: item.path.name == "test_findings.py" and item.path.parent == Path(__file__).parent)
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.timeout(1800))
            if os.environ.get("RPOD_TEST_VM") != "1":
                item.add_marker(pytest.mark.skip(reason="takes minutes: set RPOD_TEST_VM=1"))


def _wheels(folder: Path) -> Path:
    """rpod's wheel, and those that it needs, for the machine's Python 3.11."""
    base = [sys.executable, "-m"]
    subprocess.run([*base, "hatchling", "build", "-t", "wheel", "-d", str(folder)], cwd=ROOT, check=True)
    wheel = next(folder.glob("rpod-*.whl"))
    platforms = [f"--platform={name}_x86_64" for name in ("manylinux2014", "manylinux_2_28", "linux")]
    download = ["pip", "download", "-q", "--only-binary=:all:", "--python-version=3.11", *platforms]
    subprocess.run([*base, *download, "-d", str(folder), str(wheel)], check=True)
    return folder


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRegistry]:
    """A registry that the machine reaches as HOST, with ``busybox`` in it."""
    if lacking := machine.missing():
        pytest.skip(f"not installed: {', '.join(lacking)}")
    folder = tmp_path_factory.mktemp("vm-registry")
    with PlainRegistry(folder / "registry") as running:
        running.push(busybox.write_layout(folder / "busybox"), "busybox:latest")
        yield running


@pytest.fixture(scope="session")
def vm(registry: PlainRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine, with rpod installed for its user and ``busybox`` pulled."""
    folder = tmp_path_factory.mktemp("vm")
    with Machine(folder) as running:
        running.copy_in(_wheels(folder / "wheels"), "wheels")
        # Compiling all that rpod needs takes minutes where the processor is emulated; Python does it for what is used.
        running.ok("pip install -q --no-compile --no-index --find-links ~/wheels rpod")
        running.ok("mkdir -p ~/.local/bin && ln -s ~/venv/bin/rpod ~/.local/bin/rpod")
        image = f"{machine.HOST}:{registry.port}/busybox"
        running.ok(f"rpod pull -q --tls-verify=false {image} && rpod tag {image} localhost/busybox")
        yield running


# In one login, for each takes a second where the processor is emulated.
_TIDY = f"""
rpod rm -f -t 0 $(rpod ps -aq) > /dev/null 2>&1
for _ in $(seq 40); do ls -d {machine.APPS}/rpod-*.scope > /dev/null 2>&1 || break; sleep 0.5; done
ls -d {machine.APPS}/rpod-*.scope 2> /dev/null
systemctl --user --failed --no-legend
"""


@pytest.fixture(autouse=True)
def tidy(vm: Machine) -> Iterator[None]:
    """After each test no container, no scope of one, and no unit that failed."""
    yield
    assert vm.ok(_TIDY) == ""

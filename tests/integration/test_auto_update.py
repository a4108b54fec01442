"""``rpod auto-update``: what it would update; the restarts are tests/vm's, for they need systemd."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from support import busybox

if TYPE_CHECKING:
    from pathlib import Path

    from support.registry import PlainRegistry
    from support.shell import Rpod

UNIT = {"PODMAN_SYSTEMD_UNIT": "web.service"}
COLUMNS = ["UNIT", "CONTAINER", "IMAGE", "POLICY", "UPDATED"]


@pytest.fixture
def image(plain_registry: PlainRegistry, fresh_rpod: Rpod, tmp_path: Path) -> str:
    """An image of the test's own, which it may replace in the registry."""
    name = f"{plain_registry.address}/{tmp_path.name.replace('_', '-')}"
    plain_registry.push(busybox.write_layout(tmp_path / "one"), f"{name.partition('/')[2]}:latest")
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", name)
    return name


def start(rpod: Rpod, image: str, policy: str, name: str, env: dict[str, str]) -> None:
    label = f"io.containers.autoupdate={policy}"
    done = rpod("run", "-d", "--name", name, "--label", label, image, "sleep", "100", env=env)
    assert done.code == 0, done


def look(rpod: Rpod, *options: str) -> list[dict[str, str]]:
    found = rpod.ok("auto-update", "--dry-run", "--tls-verify=false", "--format", "json", *options)
    rows: list[dict[str, str]] = json.loads(found)
    return rows


def test_a_newer_image_in_the_registry(
    fresh_rpod: Rpod, image: str, plain_registry: PlainRegistry, tmp_path: Path
) -> None:
    rpod = fresh_rpod
    start(rpod, image, "registry", "web", UNIT)
    start(rpod, image, "disabled", "other", UNIT)
    (row,) = look(rpod)
    assert [row[key] for key in ("Unit", "ContainerName", "Image", "Policy", "Updated")] == [
        *("web.service", "web", f"{image}:latest", "registry", "false")
    ]
    newer = busybox.write_layout(tmp_path / "two", {"Env": ["PATH=/bin", "VERSION=2"]})
    plain_registry.push(newer, f"{image.partition('/')[2]}:latest")
    assert look(rpod)[0]["Updated"] == "pending"
    heading, line = rpod.ok("auto-update", "--dry-run", "--tls-verify=false").splitlines()
    assert heading.split() == COLUMNS
    assert line.split()[0] == "web.service"
    said = rpod.fails("auto-update", "--tls-verify=false")
    assert "systemd does not run for this user" in said


def test_a_newer_image_here(fresh_rpod: Rpod, image: str, tmp_path: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("tag", image, "localhost/mine")
    start(rpod, "localhost/mine", "local", "web", UNIT)
    assert look(rpod)[0]["Updated"] == "false"
    rpod.ok("tag", "hello", "localhost/mine")
    assert look(rpod)[0]["Updated"] == "pending"


def test_what_cannot_be_updated_is_named(fresh_rpod: Rpod, image: str, plain_registry: PlainRegistry) -> None:
    rpod = fresh_rpod
    start(rpod, image, "registry", "alone", {})
    start(rpod, image, "nightly", "strange", UNIT)
    done = rpod("auto-update", "--dry-run", "--tls-verify=false", "--format", "{{.ContainerName}} {{.Updated}}")
    assert done.code == 125
    assert sorted(done.out.splitlines()) == ["alone failed", "strange failed"]
    assert "alone does not run in a systemd unit" in done.err
    assert "io.containers.autoupdate=nightly is unknown" in done.err

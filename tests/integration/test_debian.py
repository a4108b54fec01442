"""A real Debian, pulled in several layers: 10,000 files and more, owned and working as they should."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import debian
from support.shell import Pty

if TYPE_CHECKING:
    from pathlib import Path

    from support.registry import PlainRegistry
    from support.shell import Rpod

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def name(plain_registry: PlainRegistry, session_rpod: Rpod, tmp_path_factory: pytest.TempPathFactory) -> str:
    source = debian.write_layout(tmp_path_factory.mktemp("debian") / "layout")
    reference = plain_registry.push(source, "debian:12")
    session_rpod.ok("pull", "--quiet", "--tls-verify=false", reference, timeout_s=300)
    return reference


def test_all_files_are_there_and_as_dpkg_left_them(rpod: Rpod, name: str) -> None:
    assert int(rpod.ok("run", "--rm", name, "sh", "-c", "find / -xdev | wc -l")) > 10_000
    assert rpod.ok("run", "--rm", name, "dpkg", "--verify", timeout_s=120) == ""
    assert rpod.ok("run", "--rm", name, "dpkg", "--audit") == ""


def test_owners_and_set_id_bits(rpod: Rpod, name: str) -> None:
    wanted = {
        "/etc/shadow": "root:shadow 640",
        "/usr/bin/passwd": "root:root 4755",
        "/usr/bin/chage": "root:shadow 2755",
        "/var/mail": "root:mail 2775",
        "/tmp": "root:root 1777",
    }
    out = rpod.ok("run", "--rm", name, "stat", "-c", "%n=%U:%G %a", *wanted)
    assert dict(line.split("=", 1) for line in out.splitlines()) == wanted


def test_a_set_id_program_works_for_an_ordinary_user(rpod: Rpod, name: str) -> None:
    script = "useradd -m -p '' bob && su bob -c 'id -un; passwd -S; chage -l bob | head -1'"
    out = rpod.ok("run", "--rm", name, "sh", "-c", script)
    assert out.splitlines()[0] == "bob"
    assert "bob" in out.splitlines()[1]
    assert "Last password change" in out


def test_a_full_screen_program(rpod: Rpod, name: str) -> None:
    with Pty(rpod, "run", "-it", "--rm", "-e", "TERM=xterm", name, "less", "/etc/services", rows=10) as pty:
        pty.expect("Network services")
        pty.type("G")
        pty.expect("END")
        pty.type("q")
        assert pty.wait() == 0


def test_the_files_are_subordinate_ids_outside_and_go_away(fresh_rpod: Rpod, name: str) -> None:
    fresh_rpod.ok("pull", "--quiet", "--tls-verify=false", name, timeout_s=300)
    layers: Path = fresh_rpod.data / "layers"
    owners = {os.lstat(path).st_gid for path in layers.glob("*/fs/etc/shadow")}
    assert owners
    assert os.getgid() not in owners
    fresh_rpod.ok("rmi", name, timeout_s=120)
    assert list(layers.iterdir()) == []

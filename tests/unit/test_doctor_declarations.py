"""The doctor's declarations: complete, pasteable, and the same everywhere they are shown."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from rootless.engine import doctor
from rootless.engine.doctor import guide, ids, packages
from rootless.engine.doctor.causes import CAUSES
from rootless.engine.doctor.checks import CHECKS
from rootless.engine.doctor.model import ADMIN, USER, Cause, Finding

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = {**doctor.facts(), "user": "alice", "uid": "1001", "range": "100000-165535"}


def shell_accepts(text: str) -> None:
    done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, f"{text}\n{done.stderr}"


def failing(name: str, *, required: bool = True) -> Finding:
    cause = CAUSES[name]
    return Finding(
        name, name, False, required, "", "why it matters", cause.fix(EXAMPLE), cause.who, name, cause.script(EXAMPLE)
    )


def test_every_cause_belongs_to_a_check_and_every_check_names_known_causes() -> None:
    assert {name for check in CHECKS for name in check.causes} == set(CAUSES)


def test_checks_come_after_those_that_they_need() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen, check.name
        seen.add(check.name)


@pytest.mark.parametrize("name", CAUSES)
def test_a_fix_is_a_command_that_can_be_pasted_or_an_advice(name: str) -> None:
    cause = CAUSES[name]
    assert bool(cause.command) != bool(cause.advice)
    assert cause.who in (ADMIN, USER)
    assert "'" not in cause.command, "the fix quotes the command"
    assert "{" not in cause.fix(EXAMPLE).replace("{ ", "").replace("${", "")
    if cause.command:
        shell_accepts(cause.fix(EXAMPLE))


def test_a_compound_root_command_runs_as_a_whole_under_sudo() -> None:
    assert Cause("", ADMIN, "loginctl enable-linger {user}").fix(EXAMPLE) == "sudo loginctl enable-linger alice"
    assert Cause("", ADMIN, "echo 1 > /x && echo 2").fix(EXAMPLE) == "sudo sh -c 'echo 1 > /x && echo 2'"


def test_the_script_of_everything_is_one_clean_shell_script(tmp_path: Path) -> None:
    text = doctor.script([failing(name) for name in CAUSES])
    shell_accepts(text)
    path = tmp_path / "script.sh"
    path.write_text(text)
    done = subprocess.run(["shellcheck", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert text.count("usermod --add-subuids") == 2  # missing, and too small
    assert "sudo" not in text.replace("sudo sh $0", "")


def test_the_script_tells_that_nothing_is_missing() -> None:
    assert "Nothing is missing" in doctor.script([])


def test_udev_rule_and_systemd_dropin_reach_their_files_as_meant(tmp_path: Path) -> None:
    """Run the quoted commands for real, with their paths moved into a folder of the test."""
    for name, file, text in (
        ("fuse-device-closed", "rules.d/60-rpod-fuse.rules", 'KERNEL=="fuse", MODE="0666"\n'),
        (
            "controllers-systemd",
            "user@.service.d/rpod-delegate.conf",
            "[Service]\nDelegate=cpu cpuset io memory pids\n",
        ),
    ):
        fix = CAUSES[name].fix(EXAMPLE).removeprefix("sudo ")
        for real in ("/etc/udev", "/etc/systemd/system"):
            fix = fix.replace(real, str(tmp_path))
        fix = fix.replace("chmod 0666 /dev/fuse", "true").replace("systemctl", "true")
        subprocess.run(["sh", "-c", fix], check=True)
        assert (tmp_path / file).read_text() == text


def test_hint_is_the_text_of_the_finding() -> None:
    assert doctor.hint("linger-off") == f"sudo loginctl enable-linger {doctor.facts()['user']}"
    assert doctor.hint("tools-missing").endswith(packages.install_command("uidmap"))


def test_hints_name_checks_that_there_are() -> None:
    named = set()
    for path in (ROOT / "rootless").rglob("*.py"):
        named |= set(re.findall(r'"rpod doctor ([a-z][a-z0-9-]*)"', path.read_text()))
    assert named >= {"id-maps", "slirp4netns", "fuse-overlayfs", "delegation"}
    assert named <= set(doctor.names())
    assert doctor.remedy("tries everything") == ""


def test_free_range_overlaps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "all_ranges", lambda path: [("bob", 100000, 65536), ("eve", 300000, 10)])
    assert ids.free_range() == "300010-365545"


def test_findings_are_json() -> None:
    assert json.loads(json.dumps(failing("linger-off").as_dict()))["fix"].startswith("sudo loginctl")


def test_the_troubleshooting_page_is_what_the_declarations_say() -> None:
    assert (ROOT / "docs" / "troubleshooting.md").read_text() == guide.page(), "run contrib/generate"


@pytest.mark.parametrize("manager", packages.INSTALL)
def test_quickstart_knows_the_same_package_names(manager: str) -> None:
    script = ROOT / "contrib" / "quickstart"
    for need in ("uidmap", "fuse-overlayfs", "slirp4netns", "compiler"):
        command = f'source "{script}"; package_for {manager} {need}'
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == packages.PACKAGES[need][manager]

"""Bad input: one line that says what and where, a hint, the right code, and nothing half-made."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support.registry import free_port
from support.shell import program

if TYPE_CHECKING:
    from support.shell import Rpod


def refused(rpod: Rpod, *words: str, hint: bool = True) -> str:
    """The message of a refusal: a line, perhaps a hint, and nothing left behind."""
    message = rpod.fails(*words)
    first, *rest = message.splitlines()
    assert first.startswith("rpod: error: "), message
    assert len(rest) <= 1, message
    assert not hint or rest[0].startswith("rpod: hint: "), message
    assert rpod.leftovers() == []
    return first


def test_an_image_that_does_not_exist(rpod: Rpod, image: str) -> None:
    absent = image.replace("busybox", "absent")
    assert "absent" in refused(rpod, "pull", "-q", "--tls-verify=false", absent, hint=False)
    refused(rpod, "run", "--rm", "--pull", "never", absent, "true", hint=False)


def test_a_registry_that_is_down(rpod: Rpod) -> None:
    address = f"127.0.0.1:{free_port()}"
    message = refused(rpod, "run", "--rm", "-q", f"{address}/busybox", "true", hint=False)
    assert address in message


def test_a_bad_reference(rpod: Rpod) -> None:
    for name in ("UPPER", "a//b", "a:b:c", "-x/../y"):
        refused(rpod, "create", "-q", "--", name, hint=False)


def test_a_name_that_is_taken_or_impossible(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "mine", image, "true")
    message = rpod.fails("create", "--name", "mine", image, "true")
    assert "mine" in message
    assert "hint" in message
    assert len(rpod.ok("ps", "-aq").split()) == 1
    rpod.ok("rm", "mine")
    for name in ("../x", "a b", "-rf", "new\nline", "x" * 300):
        refused(rpod, "create", f"--name={name}", image, "true", hint=False)


def test_a_mount_source_that_is_missing(rpod: Rpod, image: str) -> None:
    assert "/no/such/dir" in refused(rpod, "create", "-v", "/no/such/dir:/x", image, "true")


@pytest.mark.parametrize(
    "words",
    [
        ("--no-such-option",),
        ("--memory", "much"),
        ("--env", "=x"),
        ("--env-file", "/no/such/file"),
        ("--label-file", "/no/such/file"),
        ("--restart", "sometimes"),
        ("--stop-signal", "LOUD"),
        ("--timeout", "soon"),
        ("--timeout=-1",),
        ("--stop-timeout=-2",),
        ("--security-opt", "frob"),
        ("--security-opt", "seccomp="),
        ("--hostname", "a b"),
        ("--network", "host", "--network", "none"),
        ("--uts", "host", "--hostname", "box"),
        ("--rm", "--restart", "always"),
        ("--entrypoint", "[1]"),
        ("--pull", "perhaps"),
        ("--platform", "moon"),
    ],
)
def test_options_that_make_no_sense(rpod: Rpod, image: str, words: tuple[str, ...]) -> None:
    message = rpod.fails("create", *words, image, "true")
    assert "Traceback" not in message
    assert rpod.leftovers() == []


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[containers]\ncolour = 1\n", "colour"),
        ("[engine]\ncgroup_manager = 7\n", "cgroup_manager"),
        ('[storage]\ndriver = "cake"\n', "cake"),
        ("not toml at all", "containers.toml"),
    ],
)
def test_a_configuration_file_with_a_mistake(fresh_rpod: Rpod, text: str, named: str) -> None:
    fresh_rpod.configure(text)
    message = fresh_rpod.fails("run", "--rm", "hello")
    assert named in message
    assert "containers.toml" in message
    fresh_rpod.configure("")


def test_a_full_standard_output_is_not_success(rpod: Rpod, image: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >/dev/full', "sh", *program(), "ps"],
        env=rpod.env,
        stderr=subprocess.PIPE,
        check=False,
        timeout=60,
    )
    assert done.returncode != 0
    assert b"space" in done.stderr

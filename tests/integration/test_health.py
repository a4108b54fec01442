"""Health checks: on the monitor's clock, with Podman's options, states and exit codes."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.shell import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.registry import PlainRegistry
    from support.shell import Rpod

WELL = "test -e /well"
FOREVER = ("sleep", "1000")


def health(rpod: Rpod, name: str = "web") -> str:
    return rpod.ok("inspect", "--format", "{{.State.Health.Status}}", name)


def log(rpod: Rpod, name: str = "web") -> list[dict[str, object]]:
    found = json.loads(rpod.ok("inspect", "--format", "{{json .State.Health.Log}}", name))
    return found or []


def run(rpod: Rpod, image: str, *options: str, command: tuple[str, ...] = FOREVER) -> None:
    rpod.ok("run", "-d", "--name", "web", *options, image, *command)


def test_from_starting_over_unhealthy_to_healthy(rpod: Rpod, image: str) -> None:
    check = f"until test -e /go; do sleep 0.05; done; echo looking; {WELL}"
    run(rpod, image, "--health-cmd", check, "--health-interval", "300ms", "--health-retries", "2")
    assert rpod.ok("ps", "--format", "{{.Status}}").endswith(" (starting)")
    rpod.ok("exec", "web", "touch", "/go")
    wait_for(lambda: health(rpod) == "unhealthy")
    assert rpod.ok("ps", "-q", "--filter", "health=unhealthy")
    assert rpod.ok("ps", "-q", "--filter", "health=healthy") == ""
    assert (log(rpod)[-1]["ExitCode"], log(rpod)[-1]["Output"]) == (1, "looking\n")
    rpod.ok("exec", "web", "touch", "/well")
    wait_for(lambda: health(rpod) == "healthy")
    assert rpod.ok("ps", "--format", "{{.Status}}").endswith(" (healthy)")
    assert rpod.ok("inspect", "--format", "{{.State.Health.FailingStreak}}", "web") == "0"
    wait_for(lambda: len(log(rpod)) == 5)
    wait_for(lambda: [entry["ExitCode"] for entry in log(rpod)] == [0] * 5)
    rpod.ok("restart", "-t", "0", "web")
    wait_for(lambda: log(rpod) != [])
    started = rpod.ok("inspect", "--format", "{{.State.StartedAt}}", "web")
    assert all(str(entry["Start"]) >= started for entry in log(rpod)), "a start begins anew"


def test_by_hand_and_without_a_timer(rpod: Rpod, image: str) -> None:
    run(rpod, image, "--health-cmd", '["/bin/test", "-e", "/well"]', "--health-interval", "disable")
    done = rpod("healthcheck", "run", "web")
    assert (done.code, done.out) == (1, "unhealthy\n")
    assert health(rpod) == "starting", "one failure of three"
    rpod.ok("exec", "web", "touch", "/well")
    assert rpod.ok("healthcheck", "run", "web") == ""
    assert health(rpod) == "healthy"
    time.sleep(0.5)
    assert len(log(rpod)) == 2, "nobody else looks"
    rpod.ok("stop", "-t", "0", "web")
    assert "not running" in rpod.fails("healthcheck", "run", "web")
    rpod.ok("run", "-d", "--name", "plain", image, *FOREVER)
    assert "no health check" in rpod.fails("healthcheck", "run", "plain")
    assert "nobody" in rpod.fails("healthcheck", "run", "nobody")
    assert rpod.ok("ps", "-q", "--filter", "health=none", "--no-trunc") in rpod.ok("ps", "-q", "--no-trunc")


def test_the_start_period_forgives_and_a_check_that_hangs_is_killed(rpod: Rpod, image: str) -> None:
    options = ("--health-interval", "200ms", "--health-start-period", "1h", "--health-timeout", "1s")
    run(rpod, image, "--health-cmd", "sleep 77 & sleep 77", *options)
    wait_for(lambda: len(log(rpod)) >= 2)
    assert health(rpod) == "starting"
    assert log(rpod)[0]["ExitCode"] == -1
    assert "longer than 1 s" in str(log(rpod)[0]["Output"])
    sleeping = rpod.ok("top", "web", "args").count("sleep 77")
    assert sleeping <= 2, "those of the check that goes on now"


def test_a_program_that_is_missing_is_a_failure(rpod: Rpod, image: str) -> None:
    run(rpod, image, "--health-cmd", '["CMD", "/nowhere"]', "--health-interval", "200ms", "--health-retries", "1")
    wait_for(lambda: health(rpod) == "unhealthy")
    assert log(rpod)[0]["ExitCode"] == 127
    assert "/nowhere" in str(log(rpod)[0]["Output"])


@pytest.mark.parametrize("action", ["kill", "stop", "restart"])
def test_what_unhealthy_means(rpod: Rpod, image: str, action: str) -> None:
    options = ("--health-interval", "1s", "--health-retries", "1", "--stop-timeout", "1", "--health-on-failure", action)
    run(rpod, image, "--health-cmd", "false", *options)
    pid = rpod.ok("inspect", "--format", "{{.State.Pid}}", "web")
    if action == "restart":
        wait_for(lambda: rpod.ok("inspect", "--format", "{{.State.Pid}}", "web") not in (pid, "0"), timeout_s=30)
        rpod.ok("rm", "-f", "-t", "0", "web")
    else:
        assert rpod.ok("wait", "web") == "137"
    wait_for(lambda: rpod.processes() == [])


def test_a_kill_is_answered_by_the_restart_policy(rpod: Rpod, image: str) -> None:
    options = ("--health-interval", "200ms", "--health-retries", "1", "--health-on-failure", "kill")
    run(rpod, image, "--health-cmd", "false", "--restart", "on-failure:2", *options)
    wait_for(
        lambda: rpod.ok("inspect", "--format", "{{.RestartCount}} {{.State.Status}}", "web") == "2 exited", timeout_s=30
    )


def test_the_startup_check_comes_first(rpod: Rpod, image: str) -> None:
    startup = ("--health-startup-cmd", "test -e /up", "--health-startup-interval", "200ms")
    success = ("--health-startup-success", "2")
    run(rpod, image, "--health-cmd", "echo real", "--health-interval", "200ms", *startup, *success)
    wait_for(lambda: len(log(rpod)) >= 2)
    assert health(rpod) == "starting"
    assert {entry["ExitCode"] for entry in log(rpod)} == {1}
    rpod.ok("exec", "web", "touch", "/up")
    wait_for(lambda: health(rpod) == "healthy")
    assert log(rpod)[-1]["Output"] == "real\n"


def test_a_start_that_never_comes_up_is_tried_again(rpod: Rpod, image: str) -> None:
    startup = ("--health-startup-cmd", "false", "--health-startup-interval", "200ms", "--health-startup-retries", "2")
    run(rpod, image, "--health-cmd", "true", "--stop-timeout", "0", *startup)
    pid = rpod.ok("inspect", "--format", "{{.State.Pid}}", "web")
    wait_for(lambda: rpod.ok("inspect", "--format", "{{.State.Pid}}", "web") not in (pid, "0"), timeout_s=30)


def test_the_image_says_how(rpod: Rpod, plain_registry: PlainRegistry, tmp_path: Path) -> None:
    check = {"Test": ["CMD-SHELL", "true"], "Interval": 200_000_000, "Retries": 7}
    layout = busybox.write_layout(tmp_path / "layout", {"Healthcheck": check, "Cmd": ["sleep", "1000"]})
    plain_registry.push(layout, "checked:latest")
    image = f"{plain_registry.address}/checked:latest"
    rpod.ok("pull", "-q", "--tls-verify=false", image)
    rpod.ok("run", "-d", "--name", "web", image)
    wait_for(lambda: health(rpod) == "healthy")
    format_ = "{{.Config.Healthcheck.Retries}} {{.Config.Healthcheck.Interval}}"
    assert rpod.ok("inspect", "--format", format_, "web") == "7 200000000"
    rpod.ok("run", "-d", "--name", "off", "--no-healthcheck", image)
    assert "no health check" in rpod.fails("healthcheck", "run", "off")
    rpod.ok("run", "-d", "--name", "none", "--health-cmd", "none", image)
    assert "no health check" in rpod.fails("healthcheck", "run", "none")
    rpod.ok("rmi", "-f", image)


@pytest.mark.parametrize(
    "options",
    [
        ("--health-interval", "5s"),
        ("--health-cmd", "true", "--health-interval", "often"),
        ("--health-cmd", "true", "--health-timeout", "10ms"),
        ("--health-cmd", "true", "--health-retries", "0"),
        ("--health-cmd", "true", "--health-on-failure", "pray"),
        ("--health-cmd", "true", "--health-on-failure", "restart", "--restart", "always"),
        ("--health-cmd", "true", "--health-startup-retries", "3"),
        ("--health-cmd", "true", "--no-healthcheck"),
        ("--health-cmd", "CMD"),
        ("--health-cmd", "[1]"),
    ],
)
def test_options_that_make_no_sense(rpod: Rpod, image: str, options: tuple[str, ...]) -> None:
    assert "--" in rpod.fails("create", *options, image)
    assert rpod.ok("ps", "-aq") == ""

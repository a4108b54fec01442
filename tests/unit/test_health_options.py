"""What --health-* and HEALTHCHECK mean, before anything runs."""

from __future__ import annotations

import pytest

from rootless.engine import values
from rootless.engine.health_options import choose, parse_test
from rootless.engine.options import ContainerOptions
from rootless.errors import UsageError
from rootless.storage.image_config import Healthcheck

IMAGE = Healthcheck({"Test": ["CMD", "probe"], "Interval": 5 * 10**9, "StartPeriod": 10**9, "Retries": 9})


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("curl -f http://localhost || exit 1", ["CMD-SHELL", "curl -f http://localhost || exit 1"]),
        ('["curl", "-f", "x y"]', ["CMD", "curl", "-f", "x y"]),
        ('["CMD-SHELL", "a b"]', ["CMD-SHELL", "a b"]),
        ('["cmd", "a", "b"]', ["CMD", "a", "b"]),
        ("CMD a b", ["CMD", "a", "b"]),
        ("CMD-SHELL a | b", ["CMD-SHELL", "a | b"]),
        ('["probe"]', ["CMD-SHELL", "probe"]),
        ("none", []),
    ],
)
def test_commands(text: str, test: list[str]) -> None:
    assert parse_test(text, "--health-cmd") == test


def test_the_image_and_what_is_laid_over_it() -> None:
    found = choose(ContainerOptions({"health_interval": "1m30s"}), IMAGE)
    assert (found["test"], found["interval_ms"], found["retries"]) == (["CMD", "probe"], 90_000, 9)
    assert (found["timeout_ms"], found["start_period_ms"]) == (30_000, 1000)
    assert choose(ContainerOptions({"no_healthcheck": True}), IMAGE) == {}
    assert choose(ContainerOptions({"health_cmd": "none"}), IMAGE) == {}
    assert choose(ContainerOptions(), Healthcheck({"Test": ["NONE"]})) == {}


@pytest.mark.parametrize(
    ("text", "ns"),
    [("1m30s", 90 * 10**9), ("1.5s", 1_500_000_000), ("250ms", 250_000_000), ("1h2m", 3720 * 10**9), ("0", 0)],
)
def test_durations(text: str, ns: int) -> None:
    assert values.duration_ns(text, "--health-interval") == ns


@pytest.mark.parametrize("text", ["", "5", "s", "1x", "1s2", "-1s", "s1", "1e99h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        values.duration_ns(text, "--health-interval")

"""Sizes, times, tables and ports as Podman prints them."""

from __future__ import annotations

import time

import pytest

from rootless.cli import output
from rootless.cli.actions.lifecycle import duration_s
from rootless.cli.actions.look import ports
from rootless.errors import UsageError


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (7_450_000, "7.45MB"),
        (124_000_000, "124MB"),
        (999_999, "1000kB"),
        (1_500_000_000, "1.5GB"),
        (1e21, "1000EB"),
    ],
)
def test_sizes(size: float, text: str) -> None:
    assert output.size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (2 * 3600, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_spans_are_go_s(seconds: float, text: str) -> None:
    assert output.span(seconds) == text


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert output.timestamp(1_700_000_000_120_000_000) == "2023-11-14 22:13:20.12 +0000 UTC"
    assert output.timestamp(1_700_000_000_000_000_000) == "2023-11-14 22:13:20 +0000 UTC"
    assert output.rfc3339(1_700_000_000_000_000_001) == "2023-11-14T22:13:20.000000001Z"
    assert output.ago(time.time() + 100) == "Less than a second ago"


def test_tables_are_aligned_as_tabwriter_does(capsys: pytest.CaptureFixture[str]) -> None:
    output.table([["ID", "LONG HEADING", "C"], ["1", "2", ""], ["a" * 13, "b", "c"]])
    assert capsys.readouterr().out == (
        "ID             LONG HEADING  C\n1              2             \naaaaaaaaaaaaa  b             c\n"
    )


def test_yaml(capsys: pytest.CaptureFixture[str]) -> None:
    output.yaml({"b": [1, {"y": None, "x": [True]}], "a": {"k": "v w", "e": {}}, "t": "true", "p": "/a/b", "n": "1.5"})
    assert capsys.readouterr().out == (
        'a:\n  e: {}\n  k: v w\nb:\n  - 1\n  - x:\n      - true\n    y: null\nn: "1.5"\np: /a/b\nt: "true"\n'
    )


def test_ports_form_ranges() -> None:
    def mapping(host: int, inside: int, ip: str = "", protocol: str = "tcp") -> dict[str, object]:
        return {"host_ip": ip, "host_port": host, "container_port": inside, "protocol": protocol}

    assert ports([]) == ""
    assert ports([mapping(8080, 80)]) == "0.0.0.0:8080->80/tcp"
    assert ports([mapping(9002, 92), mapping(9000, 90), mapping(9001, 91)]) == "0.0.0.0:9000-9002->90-92/tcp"
    assert ports([mapping(1, 1, "::1"), mapping(2, 2, "::1", "udp")]) == "[::1]:1->1/tcp, [::1]:2->2/udp"
    assert ports([mapping(1, 1), mapping(2, 3)]) == "0.0.0.0:1->1/tcp, 0.0.0.0:2->3/tcp"


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("2s", 2), ("1.5m", 90), ("100", 0.1), ("1h", 3600)])
def test_durations(text: str, seconds: float) -> None:
    assert duration_s(text, "-i") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "x", "0", "-1s", "5q", "nan", "inf"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(UsageError):
        duration_s(text, "-i")

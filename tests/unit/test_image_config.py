"""Image configs at the border: defaults, Docker's shapes, hostile types, times."""

from __future__ import annotations

import datetime as dt
import json

import pytest

from rootless.errors import ImageError
from rootless.storage.image_config import ImageConfig


def parse(**document: object) -> ImageConfig:
    return ImageConfig.parse(json.dumps(document).encode())


def test_an_empty_config_has_defaults() -> None:
    config = parse()
    assert (config.env, config.cmd, config.entrypoint, config.user) == ([], [], None, "")
    assert (config.volumes, config.exposed_ports, config.labels) == ([], [], {})
    assert config.healthcheck is None
    assert config.created_ns == 0


def test_null_is_missing_as_go_writes_it() -> None:
    config = parse(history=None, config={"Env": None, "Cmd": None, "Volumes": None, "Labels": None, "User": None})
    assert (config.env, config.cmd, config.volumes, config.labels, config.user) == ([], [], [], {}, "")


def test_a_full_config() -> None:
    config = parse(
        os="linux",
        architecture="arm",
        variant="v7",
        created="2024-02-29T12:00:00.5Z",
        history=[{"created_by": "RUN x", "empty_layer": True}],
        config={
            "Env": ["A=1", "B"],
            "Cmd": ["sh"],
            "Entrypoint": ["/init", ""],
            "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}},
            "Labels": {"k": "v"},
            "StopSignal": "SIGQUIT",
            "WorkingDir": "/w",
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5_000_000_000, "Retries": 2},
        },
    )
    assert config.entrypoint == ["/init", ""]
    assert (config.exposed_ports, config.volumes) == (["80/tcp"], ["/data"])
    assert config.healthcheck is not None
    assert (config.healthcheck.interval_ns, config.healthcheck.retries) == (5_000_000_000, 2)
    assert config.history[0].empty_layer
    assert config.created_ns == 1_709_208_000_500_000_000


@pytest.mark.parametrize(
    "config",
    [
        {"Env": "A=1"},
        {"Env": [1]},
        {"Env": ["=x"]},
        {"Env": [""]},
        {"Env": ["A=\0"]},
        {"Cmd": [["sh"]]},
        {"Cmd": {"a": 1}},
        {"Entrypoint": ["a\0b"]},
        {"User": 0},
        {"User": "a\0"},
        {"WorkingDir": ["/"]},
        {"ExposedPorts": ["80"]},
        {"Volumes": {"/a\0b": {}}},
        {"Labels": {"a": 1}},
        {"Labels": []},
        {"StopSignal": 15},
        {"Healthcheck": {"Test": "x"}},
        {"Healthcheck": {"Test": [], "Interval": True}},
    ],
)
def test_wrong_types_are_named(config: dict[str, object]) -> None:
    with pytest.raises(ImageError, match=next(iter(config)) if "Healthcheck" not in config else "Test|Interval"):
        parse(config=config)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b'{"config": []}',
        b'{"rootfs": {"diff_ids": ["sha256:../x"]}}',
        b'{"rootfs": {"type": "x"}}',
        b'{"history": [5]}',
        b'{"os": NaN}',
        b'{"os": "a", "os": "b"}',
        b"[" * 200_000,
        b" " * ((4 << 20) + 1),
        b"\xff\xfe",
    ],
)
def test_damaged_documents(data: bytes) -> None:
    with pytest.raises(ImageError, match="config"):
        ImageConfig.parse(data)


def test_an_old_command_as_a_string_goes_to_the_shell() -> None:
    assert parse(config={"Cmd": "echo hi"}).cmd == ["/bin/sh", "-c", "echo hi"]


@pytest.mark.parametrize(
    "text",
    [
        "1970-01-01T00:00:00Z",
        "2024-02-29T23:59:59.123456Z",
        "2024-12-31T23:59:59+02:00",
        "1999-01-01T00:00:00-05:30",
        "2100-03-01T00:00:00Z",
        "2000-02-29T00:00:00Z",
    ],
)
def test_times_agree_with_datetime(text: str) -> None:
    since_epoch = dt.datetime.fromisoformat(text) - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    assert parse(created=text).created_ns == since_epoch // dt.timedelta(microseconds=1) * 1000


def test_nanoseconds_are_kept() -> None:
    assert parse(created="2024-01-01T00:00:00.123456789Z").created_ns % 1_000_000_000 == 123_456_789


@pytest.mark.parametrize(
    "text", ["", "x", "2024", "2024-13-01T00:00:00Z", "2024-01-01T25:00:00Z", "0001-01-01T00:00:00Z"]
)
def test_what_is_no_time_is_0(text: str) -> None:
    assert parse(created=text).created_ns == 0

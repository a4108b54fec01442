"""``containers.toml``: defaults, layers, errors that name the place, and the cache."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rootless import config, paths
from rootless.cli.generate import example
from rootless.config import schema
from rootless.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The system's and the user's file, both in the test's directory and missing at first."""
    monkeypatch.setattr(paths, "SYSTEM_CONFIG", str(tmp_path / "etc.toml"))
    config.forget()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "config/rpod").mkdir(parents=True)
    yield tmp_path
    config.forget()


def write_user(text: str) -> str:
    path = Path(paths.user_config())
    path.write_text(text)
    return str(path)


def test_defaults_without_a_file() -> None:
    settings = config.load()
    assert settings.storage.driver == "auto"
    assert settings.network.default == "slirp4netns"
    assert settings.network.mtu == 65520
    assert settings.registries.search == ["docker.io"]
    assert settings.containers.log_size_max == 10 << 20
    assert settings.containers.http_proxy is True
    assert settings.engine.cgroup_manager == "auto"


def test_a_process_keeps_the_configuration_that_it_began_with() -> None:
    write_user("[containers]\npids_limit = 7\n")
    first = config.load()
    write_user("[containers]\npids_limit = 77\n")
    assert config.load() is first
    config.override("containers.pids_limit", 8)
    assert config.load().containers.pids_limit == 8


def test_lists_of_a_section_are_not_those_of_the_declaration() -> None:
    config.load().registries.search.append("mine")
    config.forget()
    assert config.load().registries.search == ["docker.io"]


def test_user_file_lies_over_the_system_file_key_by_key(places: Path) -> None:
    (places / "etc.toml").write_text('[containers]\nshm_size = "1g"\npids_limit = 5\n[network]\ndefault = "none"\n')
    write_user("[containers]\npids_limit = 7\n")
    settings = config.load()
    assert (settings.containers.shm_size, settings.containers.pids_limit) == ("1g", 7)
    assert settings.network.default == "none"


@pytest.mark.parametrize(
    ("text", "where", "says", "hint"),
    [
        ("[storage]\n\ndrivr = 'overlay'\n", ":3", "no such key: storage.drivr", "did you mean driver?"),
        ("[contaners]\n", ":1", "no such key: contaners", "did you mean containers?"),
        ("colour = true\n", "", "no such key: colour", "there are: storage"),
        ("[storage]\ndriver = 3\n", ":2", "storage.driver must be a string, not a number", ""),
        ("[storage]\ndriver = 'zfs'\n", ":2", "must be one of auto, overlay, fuse-overlayfs, not 'zfs'", ""),
        ("[network]\nmtu = true\n", ":2", "network.mtu must be a whole number, not a boolean", ""),
        ("[network]\nmtu = 9\n", ":2", "must be from 576 to 65521", ""),
        ("[containers]\n init = 'yes'\n", ":2", "must be true or false, not a string", ""),
        ("[containers]\nshm_size = '64q'\n", ":2", "must be a size like 64m", ""),
        ("[containers]\nlog_size_max = 1.5\n", ":2", "must be a whole number, not a fraction", ""),
        ("[containers]\numask = '0899'\n", ":2", "must be an octal mask", ""),
        ("[containers]\nuserns = 'other'\n", ":2", "must be host, keep-id[", ""),
        ("[containers]\ndns = ['1.1.1.1', 'x']\n", ":2", "must be IP addresses, not 'x'", ""),
        ("[containers]\ndns = [1]\n", ":2", "must be a list of strings, not a list", ""),
        ("[containers]\nenv = ['=x']\n", ":2", "must be NAME=VALUE or NAME", ""),
        ("[containers]\ndetach_keys = 'ctrl-'\n", ":2", "must be letters or ctrl-LETTER", ""),
        ("[registries]\nsearch = ['https://x']\n", ":2", "must be HOST[:PORT]", ""),
        ("storage = 3\n", ":1", "storage must be a table", ""),
        ("[storage\n", "", "line 1", "containers.toml.example"),
    ],
)
def test_errors_name_file_line_and_key(text: str, where: str, says: str, hint: str) -> None:
    path = write_user(text)
    with pytest.raises(ConfigError) as caught:
        config.load()
    assert caught.value.message.startswith(path + where + ":")
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_not_utf8_and_not_a_file() -> None:
    path = Path(write_user(""))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load()


def test_cache_is_used_for_the_same_file_and_only_for_it() -> None:
    write_user('[containers]\npids_limit = 7\nlog_size_max = "1k"\n')
    config.load()
    code = "import sys; from rootless import config, paths; paths.SYSTEM_CONFIG = '/nonexistent'; c = config.load(); "
    code += "print(c.containers.pids_limit, c.containers.log_size_max, 'tomllib' in sys.modules)"
    first = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    second = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert first == ["7", "1024", "True"]  # another pair of files than this process read
    assert second == ["7", "1024", "False"]
    write_user("[containers]\npids_limit = 77\n")
    config.forget()
    assert config.load().containers.pids_limit == 77


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"files":[],"values":{}}', b'{"values":3', b"\0" * 9])
def test_a_damaged_cache_is_only_slow(damage: bytes) -> None:
    write_user("[containers]\npids_limit = 7\n")
    config.load()
    config.forget()
    Path(paths.cache(), "config.json").write_bytes(damage)
    assert config.load().containers.pids_limit == 7


def test_a_bad_value_in_the_cache_is_not_believed() -> None:
    write_user("[containers]\npids_limit = 7\n")
    config.load()
    config.forget()
    cache = Path(paths.cache(), "config.json")
    cache.write_text(cache.read_text().replace(":7}", ':"many"}'))
    assert config.load().containers.pids_limit == 7


def test_override_from_the_command_line() -> None:
    config.override("storage.driver", "fuse-overlayfs")
    assert config.load().storage.driver == "fuse-overlayfs"
    with pytest.raises(ConfigError, match="--storage-driver must be one of"):
        config.override("storage.driver", "zfs")


def test_example_is_valid_toml_with_every_default(places: Path) -> None:
    import tomllib

    text = "\n".join(line if line.startswith("# ") else line.removeprefix("#") for line in example.text().splitlines())
    tables = tomllib.loads(text)
    for name, _, fields in schema.declarations():
        assert {f.key: f.default for f in fields} == tables[name]
    write_user(text)
    values = vars(schema.Config({}).containers)
    assert {**vars(config.load().containers), "given": frozenset()} == values

"""The configuration: ``containers.toml``.

The user's file (``$XDG_CONFIG_HOME/rpod/containers.toml``) is laid over the system's
(``/etc/rpod/containers.toml``) key by key, both over the defaults. A declaration in ``schema`` is at the
same time the TOML key, its type, default, check and help, its line in
``containers.toml.example`` and its paragraph in the manual page.

``tomllib`` costs 10 ms, so it is imported (by ``reading``) only when a file exists and is new: what was read is
kept as JSON in the cache directory under the path, time, size and inode of each file.
"""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.config.schema import LOG_DRIVERS, SECTIONS, Config, checked
from rootless.errors import ConfigError, RpodError, os_reason
from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.config.schema import Values

    Stamp = list[list[object]]  # per file: path, mtime_ns, size, inode; [path] for a missing one

__all__ = ["LOG_DRIVERS", "Config", "forget", "load", "override", "written_at"]

_overrides: Values = {}
_loaded: dict[tuple[str, str], Config] = {}  # by the files that it was read from


def override(key: str, value: str) -> None:
    """Let the command line decide ``SECTION.KEY`` for this process. Raises ConfigError for a bad value."""
    section, _, name = key.partition(".")
    declared = SECTIONS[section].by_key()[name]
    try:
        _overrides.setdefault(section, {})[name] = declared.read(value)
        _loaded.clear()
    except ValueError as error:
        raise ConfigError(f"--{section}-{name.replace('_', '-')} {error}") from None


def forget() -> None:
    """Read the files again, without what the command line said."""
    _overrides.clear()
    _loaded.clear()


def load() -> Config:
    """The configuration in force, one object for all. Raises ConfigError that names file, line and key."""
    found = (paths.SYSTEM_CONFIG, paths.user_config())
    config = _loaded.get(found)
    if config is None:
        config = _loaded[found] = _load(found)
    return config


def written_at(key: str) -> str:
    """``PATH:LINE`` where a file decides ``SECTION.KEY``; "" where the command line does, or nobody."""
    section, _, name = key.partition(".")
    if name not in _overrides.get(section, {}):
        from rootless.config import reading

        for path in (paths.user_config(), paths.SYSTEM_CONFIG):
            if os.path.exists(path) and name in reading.tables(path).get(section, {}):
                return reading.where(path, section, name)
    return ""


def _load(found: tuple[str, str]) -> Config:
    stamp = [_stamp(path) for path in found]
    values: Values = {}
    if any(len(entry) > 1 for entry in stamp):
        cached = _cached(stamp)
        values = _read(stamp) if cached is None else cached
    for section, keys in _overrides.items():
        values[section] = {**values.get(section, {}), **keys}
    return Config(values)


def _stamp(path: str) -> list[object]:
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return [path]
    except OSError as error:
        raise ConfigError(f"the configuration cannot be read: {os_reason(error)}") from error
    return [path, info.st_mtime_ns, info.st_size, info.st_ino]


def _cache_path() -> str:
    return f"{paths.cache()}/config.json"


def _cached(stamp: Stamp) -> Values | None:
    """What was read from exactly these files, checked again: the cache is only a file, too."""
    try:
        kept = files.read_json(_cache_path(), own=True)
        if not isinstance(kept, dict) or kept.get("files") != stamp:
            return None
        return checked(kept["values"])
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _read(stamp: Stamp) -> Values:
    """Read and check the files that are there, and keep the result for the next command."""
    from rootless.config import reading

    merged: Values = {}
    for path, *there in stamp:
        if there:
            for section, keys in reading.tables(str(path)).items():
                merged.setdefault(section, {}).update(keys)
    try:
        files.make_private(paths.cache())
        files.write_json(_cache_path(), {"files": stamp, "values": merged}, sync=False)
    except (OSError, RpodError) as error:
        log.debug(f"the configuration is not cached: {error}")
    return checked(merged)

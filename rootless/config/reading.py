"""One ``containers.toml``, read and checked: a mistake is named by file, line and key."""

from __future__ import annotations

import tomllib
from difflib import get_close_matches
from typing import TYPE_CHECKING

from rootless.config.schema import SECTIONS
from rootless.errors import ConfigError, os_reason
from rootless.kernel import files

if TYPE_CHECKING:
    from rootless.config.schema import Values


def tables(path: str) -> Values:
    """The written values of one file, each known to pass its check."""
    try:
        text = files.read_file(path, 1 << 20).decode()
        found = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"the configuration cannot be read: {os_reason(error)}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", "see containers.toml.example for the form") from None
    for section, keys in found.items():
        _check_table(path, text, section, keys)
    return found


def _check_table(path: str, text: str, section: str, keys: object) -> None:
    if section not in SECTIONS:
        raise _wrong_key(path, text, "", section, list(SECTIONS))
    if not isinstance(keys, dict):
        raise ConfigError(f"{_where(path, text, '', section)}: {section} must be a table: [{section}]")
    known = SECTIONS[section].by_key()
    for key, value in keys.items():
        if key not in known:
            raise _wrong_key(path, text, section, key, list(known))
        try:
            known[key].read(value)
        except ValueError as error:
            raise ConfigError(f"{_where(path, text, section, key)}: {section}.{key} {error}", known[key].help) from None


def _wrong_key(path: str, text: str, section: str, key: str, known: list[str]) -> ConfigError:
    full = f"{section}.{key}" if section else key
    near = get_close_matches(key, known, 1, 0.5)
    choice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return ConfigError(f"{_where(path, text, section, key)}: no such key: {full}", choice)


def where(path: str, section: str, key: str) -> str:
    """``PATH:LINE`` of a key in a file that ``tables`` has read."""
    return _where(path, files.read_file(path, 1 << 20).decode(), section, key)


def _where(path: str, text: str, section: str, key: str) -> str:
    """``PATH:LINE`` of a key, or the path alone where it is written in an unusual form."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if word.startswith("["):
            current = word.strip("[] \t")
            if not section and current.partition(".")[0] == key:
                return f"{path}:{number}"
        elif current == section and word.partition("=")[0].strip(" \t\"'") == key:
            return f"{path}:{number}"
    return path

"""``--change`` of commit and import: single instructions of a Containerfile, applied to an image's configuration."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from rootless.engine import values
from rootless.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

Config = dict[str, Any]


def apply(config: Config, changes: list[str], *, docker: bool) -> None:
    """Apply ``changes`` (``CMD ["sh"]``, ``ENV=A=b``) to the ``config`` object of an image's configuration.

    ``docker`` allows ONBUILD, for which OCI has no property. Raises UsageError, UnsupportedError.
    """
    for text in changes:
        name, value = _split(text)
        if name == "ONBUILD" and not docker:
            raise UnsupportedError("ONBUILD cannot be kept in an image of the OCI format", "--format docker")
        _INSTRUCTIONS[name](config, value)


def _split(text: str) -> tuple[str, str]:
    stripped = text.strip()
    letters = len(stripped) - len(stripped.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    name, value = stripped[:letters].upper(), stripped[letters:]
    if name not in _INSTRUCTIONS:
        raise UsageError(f"--change {text!r}: there is no such instruction here", ", ".join(_INSTRUCTIONS))
    if value[:1] not in ("=", " ", "\t") or not value[1:].strip():
        raise UsageError(f"--change {text!r}: it is INSTRUCTION VALUE", 'such as --change "ENV A=b"')
    if "\0" in value:
        raise UsageError(f"--change {name}: the value has a NUL")
    return name, value[1:].strip()


def _command(value: str) -> list[str]:
    """The exec form (a JSON list) or the shell form."""
    if value.startswith("["):
        try:
            parsed = json.loads(value)
        except ValueError:
            parsed = None
        if isinstance(parsed, list) and all(isinstance(item, str) for item in parsed):
            return parsed
    return ["/bin/sh", "-c", value]


def _pairs(value: str, instruction: str) -> list[tuple[str, str]]:
    """``A=b "C=d e"``, or the old form ``A b c``, which sets A to the rest."""
    try:
        words = shlex.split(value)
    except ValueError as error:
        raise UsageError(f"--change {instruction} {value}: {error}") from None
    if words and "=" not in words[0] and len(words) > 1:
        key, _, rest = value.partition(" ")
        return [(key, rest.strip())]
    pairs = []
    for word in words:
        key, equals, rest = word.partition("=")
        if not key or not equals:
            raise UsageError(f"--change {instruction} {value}: {word!r} is not NAME=VALUE")
        pairs.append((key, rest))
    return pairs


def _set_env(config: Config, value: str) -> None:
    entries = dict(entry.partition("=")[::2] for entry in config.get("Env") or [])
    entries.update(_pairs(value, "ENV"))
    config["Env"] = [f"{key}={text}" for key, text in entries.items()]


def _set_labels(config: Config, value: str) -> None:
    config["Labels"] = {**(config.get("Labels") or {}), **dict(_pairs(value, "LABEL"))}


def _expose(config: Config, value: str) -> None:
    ports = dict(config.get("ExposedPorts") or {})
    for word in value.split():
        number, _, protocol = word.partition("/")
        low, _, high = number.partition("-")
        values.integer(low, "--change EXPOSE", low=1, high=65535)
        values.integer(high or low, "--change EXPOSE", low=int(low), high=65535)
        if protocol.lower() not in ("", "tcp", "udp", "sctp"):
            raise UsageError(f"--change EXPOSE {word}: the protocol is tcp, udp or sctp")
        ports.update({f"{port}/{protocol.lower() or 'tcp'}": {} for port in range(int(low), int(high or low) + 1)})
    config["ExposedPorts"] = ports


def _volumes(config: Config, value: str) -> None:
    parsed = _command(value) if value.startswith("[") else value.split()
    if value.startswith("[") and parsed[:2] == ["/bin/sh", "-c"]:
        raise UsageError(f"--change VOLUME {value}: it is no list of strings")
    for path in parsed:
        if not path.startswith("/"):
            raise UsageError(f"--change VOLUME {path}: it is an absolute path")
    config["Volumes"] = {**(config.get("Volumes") or {}), **{path: {} for path in parsed}}


def _workdir(config: Config, value: str) -> None:
    if not value.startswith("/"):
        value = f"{(config.get('WorkingDir') or '/').rstrip('/')}/{value}"
    config["WorkingDir"] = value


def _stop_signal(config: Config, value: str) -> None:
    values.signal_number(value)
    config["StopSignal"] = value


def _entrypoint(config: Config, value: str) -> None:
    config["Entrypoint"] = _command(value)


def _cmd(config: Config, value: str) -> None:
    config["Cmd"] = _command(value)


def _on_build(config: Config, value: str) -> None:
    config["OnBuild"] = [*(config.get("OnBuild") or []), value]


def _user(config: Config, value: str) -> None:
    config["User"] = value


_INSTRUCTIONS: dict[str, Callable[[Config, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _set_env,
    "EXPOSE": _expose,
    "LABEL": _set_labels,
    "ONBUILD": _on_build,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volumes,
    "WORKDIR": _workdir,
}

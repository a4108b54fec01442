"""``policy.json`` (containers-policy.json(5)): which images may be pulled at all.

``insecureAcceptAnything`` and ``reject`` are honoured. A policy that wants signatures is an
error, because nothing here can check them: what must be signed is not pulled unsigned.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rootless import paths
from rootless.errors import ConfigError, ImageError, UnsupportedError, os_reason
from rootless.kernel import fastjson, files

if TYPE_CHECKING:
    from rootless.image.reference import Reference

_SIGNED = ("signedBy", "signedBaseLayer", "sigstoreSigned")
_LIMIT_BYTES = 4 << 20


def check(wanted: Reference) -> None:
    """Raise ImageError if the policy rejects the image, UnsupportedError if it wants a signature."""
    path = _path()
    if not path:
        return
    try:
        document = fastjson.loads(files.read_file(path, _LIMIT_BYTES))
    except OSError as error:
        raise ConfigError(f"the policy for images cannot be read: {os_reason(error)}") from error
    except fastjson.JSONError as error:
        raise ConfigError(f"{path}: {error}", "see containers-policy.json(5)") from None
    scope, requirements = _requirements(_object(document, path), wanted, path)
    if not requirements:
        raise ConfigError(f"{path}: the requirements of {scope} are empty", "see containers-policy.json(5)")
    for requirement in requirements:
        kind = _object(requirement, path).get("type")
        if kind == "reject":
            raise ImageError(f"{wanted}: the policy rejects images of {scope}", f"look at {path}")
        if kind in _SIGNED:
            raise UnsupportedError(
                f"{wanted}: the policy wants a signature ({kind} for {scope}), and signatures cannot be checked yet",
                f"look at {path}",
            )
        if kind != "insecureAcceptAnything":
            raise ConfigError(f"{path}: {str(kind)[:60]!r} is no requirement", "see containers-policy.json(5)")


def _path() -> str:
    """The user's policy, else the system's, "" without one: then everything may be pulled."""
    for path in (f"{paths.home()}/.config/containers/policy.json", "/etc/containers/policy.json"):
        if os.path.exists(path):
            return path
    return ""


def _requirements(document: dict[str, object], wanted: Reference, path: str) -> tuple[str, list[object]]:
    """The scope that fits best, and what it requires."""
    transports = _object(document.get("transports", {}), path)
    docker = _object(transports.get("docker", {}), path)
    for scope in [*_scopes(wanted), ""]:
        if scope in docker:
            return scope or "every registry", _list(docker[scope], path)
    if "default" not in document:
        raise ConfigError(f"{path}: there is no default", "see containers-policy.json(5)")
    return "the default", _list(document["default"], path)


def _scopes(wanted: Reference) -> list[str]:
    """From the most special to the least: the full name, the repository, the folders above it, the host, *.domain."""
    parts = wanted.path.split("/")
    found = [str(wanted), wanted.stored, wanted.tagged]
    found += ["/".join([wanted.domain, *parts[:count]]) for count in range(len(parts), -1, -1)]
    labels = wanted.domain.partition(":")[0].split(".")
    return found + [f"*.{'.'.join(labels[count:])}" for count in range(1, len(labels))]


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: an object stands in the wrong form", "see containers-policy.json(5)")
    return value


def _list(value: object, path: str) -> list[object]:
    if not isinstance(value, list):
        raise ConfigError(f"{path}: requirements must be a list", "see containers-policy.json(5)")
    return value

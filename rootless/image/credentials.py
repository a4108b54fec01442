"""Credentials in the files that podman, skopeo, buildah and docker read and write (containers-auth.json(5)).

An entry of a file is either the password itself, in base64, or the name of a helper that
keeps it (``credHelpers`` for one registry, Docker's ``credsStore`` for all).
"""

from __future__ import annotations

import base64
import fcntl
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rootless import paths
from rootless.errors import RegistryError, UsageError, os_reason
from rootless.image import helpers
from rootless.image.access import Credentials
from rootless.image.reference import DOCKER_DOMAIN
from rootless.kernel import fastjson, files

if TYPE_CHECKING:
    from collections.abc import Callable

    Document = dict[str, object]

_DOCKER_KEYS = (DOCKER_DOMAIN, "index.docker.io", "registry-1.docker.io")
_DOCKER_URL = "https://index.docker.io/v1/"


def files_to_read(authfile: str = "") -> list[str]:
    """Where credentials may stand, the first one found for a registry wins."""
    chosen = authfile or os.environ.get("REGISTRY_AUTH_FILE", "")
    if chosen:
        return [chosen]
    config = f"{_config_home()}/containers/auth.json"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    found = [f"{runtime}/containers/auth.json", config] if runtime.startswith("/") else [config]
    return [*found, docker_file()]


def file_to_write(authfile: str = "") -> str:
    """Where ``login`` puts credentials: gone with the session, where there is a runtime directory."""
    return files_to_read(authfile)[0]


def docker_file() -> str:
    """Docker's own file."""
    return f"{os.environ.get('DOCKER_CONFIG') or f'{paths.home()}/.docker'}/config.json"


def _config_home() -> str:
    config = os.environ.get("XDG_CONFIG_HOME", "")
    return config if config.startswith("/") else f"{paths.home()}/.config"


def find(domain: str, repository: str = "", authfile: str = "") -> Credentials | None:
    """The credentials for ``domain/repository``: the entry with the longest matching key, as containers-auth.json says.

    Raises RegistryError for a file that cannot be read or is not what it should be, and for a
    helper that fails. An ``authfile`` that was named must be there.
    """
    keys = _keys(domain, repository)
    for path in files_to_read(authfile):
        document = _read(path)
        if document is None:
            if path == authfile:
                raise RegistryError(f"--authfile {path}: there is no such file", "rpod login --authfile … makes it")
            continue
        found = _from_helpers(document, keys, path) or _from_entries(document, keys, path)
        if found:
            return found
    return None


def save(key: str, credentials: Credentials, authfile: str = "") -> str:
    """Keep credentials for ``key`` (HOST[:PORT][/PATH]); returns the file, or the helper, that has them now."""
    path = file_to_write(authfile)
    kept = path

    def change(document: Document) -> None:
        nonlocal kept
        entries = _object(document.setdefault("auths", {}), path)
        helper = _helper(document, [key], path)
        if helper:
            helpers.store(helper, _address(key), credentials)
            kept = f"the credential helper {helper}"
            entries.pop(key, None)
        else:
            entries[key] = {"auth": credentials.encoded}

    _change(path, change)
    return kept


def remove(key: str, authfile: str = "") -> bool:
    """Forget the credentials of ``key``; False where there were none. What Docker's file has stays."""
    path = file_to_write(authfile)
    found = False

    def change(document: Document) -> None:
        nonlocal found
        entries = _object(document.get("auths", {}), path)
        for name in [name for name in entries if _normal_key(name) == key]:
            del entries[name]
            found = True
        helper = _helper(document, [key], path)
        if helper and helpers.erase(helper, _address(key)):
            found = True

    _change(path, change)
    return found


def remove_all(authfile: str = "") -> None:
    """Forget everything that the file of ``login`` has, in helpers, too."""
    path = file_to_write(authfile)

    def change(document: Document) -> None:
        for key, helper in _object(document.get("credHelpers", {}), path).items():
            helpers.erase(str(helper), _address(key))
        document["auths"] = {}

    _change(path, change)


def _keys(domain: str, repository: str) -> list[str]:
    """From the most special to the least: host/a/b, host/a, host."""
    parts = repository.split("/") if repository else []
    keys = ["/".join([domain, *parts[:count]]) for count in range(len(parts), -1, -1)]
    if domain == DOCKER_DOMAIN:
        keys += _DOCKER_KEYS[1:]
    return keys


def _normal_key(key: str) -> str:
    """Docker writes ``https://index.docker.io/v1/`` and the like; the host is what counts then."""
    if key.startswith(("http://", "https://")):
        return urlsplit(key).netloc
    return key.rstrip("/")


def _address(key: str) -> str:
    """What a helper is asked for."""
    return _DOCKER_URL if key in _DOCKER_KEYS else key


def _read(path: str) -> Document | None:
    try:
        return _object(files.read_json(path), path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(f"the credentials cannot be read: {os_reason(error)}", f"look at {path}") from error
    except fastjson.JSONError as error:
        raise RegistryError(f"{path}: {error}", "mend or remove this file of credentials") from None


def _object(value: object, path: str) -> Document:
    if not isinstance(value, dict):
        raise RegistryError(f"{path}: not a file of credentials", "mend or remove it")
    return value


def _helper(document: Document, keys: list[str], path: str) -> str:
    """The helper for the first of ``keys`` that has one, "" for none."""
    chosen = _object(document.get("credHelpers", {}), path)
    names = [chosen[key] for key in keys if key in chosen] or [document.get("credsStore", "")]
    if not isinstance(names[0], str):
        raise RegistryError(f"{path}: the name of a credential helper must be a string", "mend or remove it")
    return names[0]


def _from_helpers(document: Document, keys: list[str], path: str) -> Credentials | None:
    chosen = _object(document.get("credHelpers", {}), path)
    for key in keys:
        helper = _helper(document, [key], path)
        if helper and (key in chosen or "/" not in key) and (found := helpers.get(helper, _address(key))):
            return found
    return None


def _from_entries(document: Document, keys: list[str], path: str) -> Credentials | None:
    entries = _object(document.get("auths", {}), path)
    normal = {_normal_key(key): value for key, value in entries.items()}
    for key in keys:
        if key in normal and (found := _entry(normal[key], path)):
            return found
    return None


def _entry(value: object, path: str) -> Credentials | None:
    entry = _object(value, path)
    token = entry.get("identitytoken", "")
    text = entry.get("auth", "")
    if not isinstance(text, str) or not isinstance(token, str):
        raise RegistryError(f"{path}: not a file of credentials", "mend or remove it")
    try:
        user, _, password = base64.b64decode(text, validate=True).decode("utf-8").rstrip("\0").partition(":")
    except ValueError:  # not ASCII, not base64, or not UTF-8 in it
        raise RegistryError(f"{path}: an entry's auth is not base64", "log in again") from None
    return Credentials(user, password, token) if user or token else None


def _change(path: str, change: Callable[[Document], None]) -> None:
    """Let ``change`` alter the file's document and replace the file: 0600 from its first byte, one writer at a time."""
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    try:
        if os.path.basename(folder) == "containers":
            files.make_private(folder)
        elif not os.path.isdir(folder):
            raise UsageError(f"--authfile {path}: {folder} is not a directory", "make it first")
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise RegistryError(f"the credentials cannot be kept: {os_reason(error)}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        document = _read(target) or {}
        change(document)
        files.write_atomic(target, (fastjson.dumps(document) + "\n").encode())
    except OSError as error:
        raise RegistryError(f"the credentials cannot be kept: {os_reason(error)}") from error
    finally:
        os.close(lock)

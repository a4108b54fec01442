"""Credentials for registries, and the two challenges with which a registry asks for them.

Credentials come from the files that podman, skopeo, buildah and docker write
(containers-auth.json(5)); they are read, never written here.
"""

from __future__ import annotations

import base64
import binascii
import os
from urllib.parse import urlsplit

from rootless import paths
from rootless.errors import RegistryError, UnsupportedError, os_reason
from rootless.image.reference import DOCKER_DOMAIN
from rootless.kernel import fastjson, files

_DOCKER_KEYS = (DOCKER_DOMAIN, "index.docker.io", "registry-1.docker.io")


class Credentials:
    """A user name and a password, or (``identity_token``) what a token service takes in their place."""

    __slots__ = ("identity_token", "password", "user")

    def __init__(self, user: str, password: str, identity_token: str = "") -> None:
        self.user = user
        self.password = password
        self.identity_token = identity_token

    @property
    def basic(self) -> str:
        """The value of an Authorization header (RFC 7617)."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def auth_files() -> list[str]:
    """Where credentials may stand, the first one found for a registry wins."""
    chosen = os.environ.get("REGISTRY_AUTH_FILE", "")
    if chosen:
        return [chosen]
    found = []
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        found.append(f"{runtime}/containers/auth.json")
    home = paths.home()
    config = os.environ.get("XDG_CONFIG_HOME", "")
    found.append(f"{config if config.startswith('/') else f'{home}/.config'}/containers/auth.json")
    found.append(f"{os.environ.get('DOCKER_CONFIG') or f'{home}/.docker'}/config.json")
    return found


def find_credentials(domain: str, repository: str = "") -> Credentials | None:
    """The credentials for ``domain/repository``: the entry with the longest matching key, as containers-auth.json says.

    Raises RegistryError for a file that cannot be read or is not what it should be.
    """
    keys = _keys(domain, repository)
    for path in auth_files():
        document = _read(path)
        if document is None:
            continue
        entries = _object(document.get("auths", {}), path)
        normal = {_normal_key(key): value for key, value in entries.items()}
        for key in keys:
            if key in normal and (found := _entry(normal[key], path)):
                return found
        _refuse_helpers(document, keys, path)
    return None


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


def _read(path: str) -> dict[str, object] | None:
    try:
        return _object(files.read_json(path), path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RegistryError(f"the credentials cannot be read: {os_reason(error)}", f"look at {path}") from error
    except fastjson.JSONError as error:
        raise RegistryError(f"{path}: {error}", "mend or remove this file of credentials") from None


def _object(value: object, path: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise RegistryError(f"{path}: not a file of credentials", "mend or remove it")
    return value


def _entry(value: object, path: str) -> Credentials | None:
    entry = _object(value, path)
    token = entry.get("identitytoken", "")
    text = entry.get("auth", "")
    if not isinstance(text, str) or not isinstance(token, str):
        raise RegistryError(f"{path}: not a file of credentials", "mend or remove it")
    try:
        user, _, password = base64.b64decode(text, validate=True).decode("utf-8").rstrip("\0").partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise RegistryError(f"{path}: an entry's auth is not base64", "log in again") from None
    return Credentials(user, password, token) if user or token else None


def _refuse_helpers(document: dict[str, object], keys: list[str], path: str) -> None:
    """Credential helpers run programs that keep secrets; one that would be asked here is refused by name."""
    helpers = document.get("credHelpers")
    if isinstance(helpers, dict) and (found := next((helpers[key] for key in keys if key in helpers), None)):
        raise UnsupportedError(
            f"{path} names the credential helper {str(found)[:60]!r} for {keys[-1]}, and helpers are not supported",
            "log in with: podman login, which writes auth.json",
        )


class Challenge:
    """One WWW-Authenticate challenge: its scheme in lower case and its parameters."""

    __slots__ = ("parameters", "scheme")

    def __init__(self, scheme: str, parameters: dict[str, str]) -> None:
        self.scheme = scheme
        self.parameters = parameters


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header (RFC 9110, section 11.6.1); what makes no sense is skipped."""
    found: list[Challenge] = []
    rest = header[:8192].strip()
    while rest:
        word, rest = _token(rest)
        if not word:
            rest = rest[1:].lstrip()
            continue
        if rest.startswith("=") and found:
            value, rest = _value(rest[1:].lstrip())
            found[-1].parameters.setdefault(word.lower(), value)
        else:
            found.append(Challenge(word.lower(), {}))
        rest = rest.lstrip(" ,\t")
    return found


def _token(text: str) -> tuple[str, str]:
    end = 0
    while end < len(text) and (text[end].isalnum() or text[end] in "!#$%&'*+-.^_`|~"):
        end += 1
    return text[:end], text[end:].lstrip()


def _value(text: str) -> tuple[str, str]:
    """A token or a quoted string with its backslashes resolved."""
    if not text.startswith('"'):
        return _token(text)
    value, position = "", 1
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 1
        value += text[position : position + 1]
        position += 1
    return value, text[position + 1 :]


def trusts_realm(registry: str, realm: str) -> bool:
    """Whether the password for the host ``registry`` may go to a token service on the host ``realm``.

    It may where both are one host, or one belongs to the other's domain: registry.example.com
    may send to auth.example.com, example.com or auth.registry.example.com.
    """
    if registry == realm or realm.endswith(f".{registry}"):
        return True
    parent = registry.partition(".")[2]
    if "." not in parent or parent.replace(".", "").isdecimal():
        return False
    return realm == parent or realm.endswith(f".{parent}")

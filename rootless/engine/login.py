"""``rpod login`` and ``logout``: credentials are tried at the registry before they are kept."""

from __future__ import annotations

import getpass
import os
import sys

from rootless.engine.hosts import Hosts
from rootless.errors import NotFoundError, RegistryError, UsageError
from rootless.image import credentials as stored
from rootless.image import reference
from rootless.image.access import Access, Credentials
from rootless.image.client import AbsentError, Client
from rootless.image.registries import Endpoint

_PASSWORD_LIMIT = 65536


def registry_of(words: list[str]) -> str:
    """The registry that was named: HOST[:PORT][/PATH]; without a word the first that short names are asked from."""
    if len(words) > 1:
        raise UsageError("one registry at a time", "rpod login REGISTRY")
    text = words[0] if words else next(iter(Hosts().search()), "")
    if not text:
        raise UsageError("no registry was named", "rpod login quay.io")
    text = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    if text in ("index.docker.io", "index.docker.io/v1", "registry-1.docker.io"):
        text = reference.DOCKER_DOMAIN
    domain, slash, path = text.partition("/")
    parsed = reference.parse(f"{domain}/{path or 'x'}")
    if parsed.domain != domain or parsed.tag or parsed.digest:
        raise UsageError(f"{text[:100]!r} is not a registry", "HOST, HOST:PORT or HOST[:PORT]/PATH")
    return f"{domain}{slash}{path}"


def who(key: str, access: Access) -> str:
    """The user that is logged in to ``key``. Raises NotFoundError."""
    found = _find(key, access)
    if found is None:
        raise NotFoundError(f"not logged in to {key}", f"rpod login {key}")
    return found.user or "<token>"


def is_logged_in(key: str, access: Access) -> str:
    """The user whose kept credentials the registry takes, "" if there are none or it does not."""
    found = _find(key, access) if not access.authfile or os.path.exists(access.authfile) else None
    if found is None:
        return ""
    try:
        _try(key, access, None)
    except AbsentError:
        return ""
    return found.user or "<token>"


def _find(key: str, access: Access) -> Credentials | None:
    domain, _, path = key.partition("/")
    return stored.find(domain, path, access.authfile)


def ask(key: str, user: str, password: str) -> tuple[str, str]:
    """User name and password; what is missing is asked for at the terminal. Raises UsageError."""
    if user and password:
        return user, password
    if not sys.stdin.isatty():
        raise UsageError("no terminal to ask for the password at", "rpod login --username NAME --password-stdin")
    if not user:
        sys.stderr.write(f"Username for {key}: ")
        sys.stderr.flush()
        user = sys.stdin.readline().strip()
    password = password or getpass.getpass("Password: ")
    if not user or not password:
        raise UsageError("a user name and a password are needed")
    return user, password


def read_password() -> str:
    """The password from standard input, without its line end. Raises UsageError."""
    text = sys.stdin.read(_PASSWORD_LIMIT + 1)
    if len(text) > _PASSWORD_LIMIT:
        raise UsageError("the password on standard input is longer than 64 KiB")
    text = text.removesuffix("\n").removesuffix("\r")
    if not text or "\n" in text:
        raise UsageError("standard input must be one line, the password")
    return text


def login(key: str, user: str, password: str, access: Access) -> str:
    """Try the credentials and keep them; returns where. Raises RegistryError."""
    if ":" in user:
        raise UsageError("a user name has no colon")
    found = Credentials(user, password)
    _try(key, access, found)
    return stored.save(key, found, access.authfile)


def _try(key: str, access: Access, given: Credentials | None) -> None:
    domain = key.partition("/")[0]
    hosts = Hosts(access)
    transport = hosts.transport([Endpoint(reference.Reference(domain, ""), insecure=False, is_mirror=False)])
    try:
        Client(domain, transport, access=access).check_login(given)
    finally:
        transport.close()


def logout(key: str, authfile: str) -> None:
    """Forget the credentials for ``key``. Raises NotFoundError, which says where others are from."""
    if stored.remove(key, authfile):
        return
    domain, _, path = key.partition("/")
    if not authfile and stored.find(domain, path) is not None:
        raise RegistryError(
            f"not logged in to {key} with this tool: its credentials are of another file",
            f"docker logout {key}, or rpod logout --authfile {stored.docker_file()} {key}",
        )
    raise NotFoundError(f"not logged in to {key}")


def logout_all(authfile: str) -> None:
    """Forget all that ``login`` has kept."""
    stored.remove_all(authfile)

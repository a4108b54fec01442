"""Credential helpers: programs ``docker-credential-NAME`` that keep secrets in the desktop's key ring.

The protocol is Docker's (docker-credential-helpers): a verb as the argument, one address or
JSON on standard input, JSON on standard output. Secrets are in no argument and in no file.
"""

from __future__ import annotations

import os

from rootless.errors import RegistryError, UnsupportedError, os_reason
from rootless.image.access import Credentials
from rootless.kernel import fastjson, spawn
from rootless.log import printable

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
# What helpers say about an address that they do not know: their protocol has no other sign for it.
_NOT_FOUND = "credentials not found"
_TOKEN_USER = "<token>"  # noqa: S105 - the user name that stands before an identity token


def get(helper: str, server: str) -> Credentials | None:
    """What ``helper`` keeps for ``server``, None if nothing. Raises RegistryError."""
    answer = _call(helper, "get", server)
    if answer is None:
        return None
    try:
        found = fastjson.loads(answer)
    except fastjson.JSONError:
        found = None
    if not isinstance(found, dict):
        raise RegistryError(f"the credential helper {helper} gave no JSON for {server}", f"look at: {_program(helper)}")
    user, secret = str(found.get("Username", "")), str(found.get("Secret", ""))
    if user == _TOKEN_USER:
        return Credentials("", "", secret)
    return Credentials(user, secret) if user else None


def store(helper: str, server: str, credentials: Credentials) -> None:
    """Have ``helper`` keep credentials. Raises RegistryError."""
    record = {"ServerURL": server, "Username": credentials.user, "Secret": credentials.password}
    _call(helper, "store", fastjson.dumps(record))


def erase(helper: str, server: str) -> bool:
    """Have ``helper`` forget ``server``; False if it had nothing. Raises RegistryError."""
    return _call(helper, "erase", server) is not None


def _program(helper: str) -> str:
    return f"docker-credential-{helper}"


def _call(helper: str, verb: str, said: str) -> bytes | None:
    """The helper's standard output, None where it says that it knows nothing."""
    if not helper or not _NAME.issuperset(helper):
        raise UnsupportedError(f"{helper[:60]!r} is not the name of a credential helper")
    path = spawn.which(_program(helper))
    if path is None:
        raise RegistryError(f"the credential helper {_program(helper)} is not installed", "install it, or log in again")
    given = os.memfd_create("credentials", os.MFD_CLOEXEC)
    output, stdout = os.pipe()
    try:
        os.write(given, said.encode())
        os.lseek(given, 0, os.SEEK_SET)
        pid = spawn.start([path, verb], fds={0: given, 1: stdout}, env=dict(os.environ))
    except OSError as error:
        os.close(output)
        raise RegistryError(f"the credential helper cannot be started: {os_reason(error)}") from error
    finally:
        os.close(given)
        os.close(stdout)
    with os.fdopen(output, "rb") as file:
        data = file.read(1 << 20)
    code = spawn.wait(pid)
    if code == 0:
        return data
    words = printable(data.decode("utf-8", "replace").strip())[:200]
    if _NOT_FOUND in words.lower():
        return None
    raise RegistryError(f"{_program(helper)} {verb} failed: {words or f'exit code {code}'}", "unlock the key ring?")

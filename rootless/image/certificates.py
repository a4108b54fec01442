"""Certificates of registries, where containers-certs.d(5) and Docker keep them.

``certs.d/HOST[:PORT]/*.crt`` are authorities that are trusted beside the system's,
``NAME.cert`` and ``NAME.key`` identify the client.
"""

from __future__ import annotations

import os
import ssl

from rootless import paths
from rootless.errors import ConfigError, os_reason

_SYSTEM = ("/etc/containers/certs.d", "/etc/docker/certs.d")


def folder_for(host: str, port: int, cert_dir: str = "") -> str:
    """The directory with the certificates for a host, "" if there is none; ``cert_dir`` is taken in its place."""
    if cert_dir:
        if not os.path.isdir(cert_dir):
            raise ConfigError(f"--cert-dir {cert_dir}: is not a directory")
        return cert_dir
    names = [f"{host}:{port}", host] if port == 443 else [f"{host}:{port}"]
    for above in (f"{paths.home()}/.config/containers/certs.d", *_SYSTEM):
        for name in names:
            if os.path.isdir(f"{above}/{name}"):
                return f"{above}/{name}"
    return ""


def context(folder: str, *, verify: bool) -> ssl.SSLContext:
    """What TLS is spoken with: the system's authorities (SSL_CERT_FILE and SSL_CERT_DIR name others) and ``folder``'s.

    Raises ConfigError for a file that is no certificate, or a client's without its key.
    """
    made = ssl.create_default_context()
    if folder:
        _load(made, folder)
    if not verify:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made


def _load(made: ssl.SSLContext, folder: str) -> None:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        raise ConfigError(f"certificates cannot be read: {os_reason(error)}") from error
    for name in names:
        path = f"{folder}/{name}"
        stem, _, kind = path.rpartition(".")
        if kind == "key" and f"{name[:-4]}.cert" not in names:
            raise ConfigError(f"{path}: the certificate {stem}.cert that belongs to this key is missing")
        if kind == "cert" and f"{name[:-5]}.key" not in names:
            raise ConfigError(f"{path}: the key {stem}.key that belongs to this certificate is missing")
        try:
            if kind == "crt":
                made.load_verify_locations(path)
            elif kind == "cert":
                made.load_cert_chain(path, f"{stem}.key", password=_refuse_password)
        except ssl.SSLError as error:
            raise ConfigError(f"{path}: {error.reason or error}", "it must be a certificate in PEM form") from None
        except OSError as error:
            raise ConfigError(f"certificates cannot be read: {os_reason(error)}") from error


def _refuse_password() -> str:
    raise ConfigError("a client's key is protected by a password, which nobody is asked for here")

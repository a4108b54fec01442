"""Which registries a name may mean, and how each may be spoken to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import config
from rootless.errors import ConfigError
from rootless.image import reference

if TYPE_CHECKING:
    from rootless.image.reference import Reference


def insecure(asked: list[Reference], tls_verify: bool | None) -> frozenset[str]:
    """Hosts that may do without TLS or a good certificate: configured ones, and with false those that are asked."""
    if tls_verify is True:
        return frozenset()
    hosts = {host.lower() for host in config.load().registries.insecure}
    if paths := sorted(host for host in hosts if "/" in host):
        raise ConfigError(f"registries.insecure: {paths[0]!r} has a path", "name whole hosts: HOST or HOST:PORT")
    if tls_verify is False:
        hosts.update(candidate.domain.lower() for candidate in asked)
    return frozenset(hosts)


def candidates(parsed: Reference) -> list[Reference]:
    """The full references that a name may mean, as ``images.find`` tries them."""
    return reference.candidates(parsed, config.load().registries.search)


def remote_candidates(parsed: Reference) -> list[Reference]:
    """What to ask registries for: a short name is never asked from one on localhost."""
    found = candidates(parsed)
    return found if parsed.domain else [item for item in found if item.domain != reference.LOCAL_DOMAIN]

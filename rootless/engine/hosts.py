"""Which registries a name may mean, and how each may be spoken to: ``containers.toml`` over ``registries.conf``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import config
from rootless.errors import ConfigError
from rootless.image import policy, reference, registries
from rootless.image.access import Access
from rootless.image.transport import Transport

if TYPE_CHECKING:
    from rootless.image.reference import Reference
    from rootless.image.registries import Endpoint


class Hosts:
    """What both configurations say, and what the command line says about TLS."""

    def __init__(self, access: Access | None = None) -> None:
        self.access = access or Access()
        self._own = config.load().registries
        self._shared = registries.load()

    def search(self) -> list[str]:
        """The registries that short names are asked from."""
        if "search" in self._own.given or self._shared.search is None:
            return self._own.search
        return self._shared.search

    def candidates(self, parsed: Reference) -> list[Reference]:
        """The full references to ask registries for: an alias stands alone, and none is on localhost."""
        if not parsed.domain and (alias := self._shared.alias(parsed)) is not None:
            return [alias]
        found = reference.candidates(parsed, self.search())
        return found if parsed.domain else [item for item in found if item.domain != reference.LOCAL_DOMAIN]

    def endpoints(self, wanted: Reference) -> list[Endpoint]:
        """Where to ask for a full reference, mirrors first. Raises what blocks or the policy say against it."""
        policy.check(wanted)
        return self._shared.endpoints(wanted)

    def home(self, place: Reference) -> Endpoint:
        """The registry itself, without its mirrors: where to push to."""
        return self._shared.endpoints(place)[-1]

    def transport(self, asked: list[Endpoint]) -> Transport:
        """Connections for these endpoints."""
        return Transport(self._insecure(asked), cert_dir=self.access.cert_dir)

    def _insecure(self, asked: list[Endpoint]) -> frozenset[str]:
        """Hosts that may do without TLS or a good certificate: configured ones, and with false those that are asked."""
        if self.access.tls_verify is True:
            return frozenset()
        hosts = {host.lower() for host in self._own.insecure}
        if paths := sorted(host for host in hosts if "/" in host):
            raise ConfigError(f"registries.insecure: {paths[0]!r} has a path", "name whole hosts: HOST or HOST:PORT")
        hosts |= {host.lower() for host in self._shared.insecure_hosts()}
        for endpoint in asked:
            if endpoint.insecure or self.access.tls_verify is False:
                hosts.add(endpoint.reference.domain.lower())
        return frozenset(hosts)

"""``port``: what is published where."""

from __future__ import annotations

from rootless.errors import NotFoundError, UsageError
from rootless.kernel.numbers import decimal
from rootless.network.ports import PortMapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container
    from rootless.state.record import ContainerRecord, RunRecord


def mappings(record: ContainerRecord, run: RunRecord | None) -> list[PortMapping]:
    """The published ports, with the host ports that were found free at the start."""
    stored = run.ports if run is not None and run.ports else record.ports
    return [PortMapping.from_json(item) for item in stored]


def port(container: Container, query: str) -> list[str]:
    """Lines ``80/tcp -> 0.0.0.0:8080``; with a query ``80`` or ``80/udp`` only the host's side."""
    found = mappings(container.record, container.run_record())
    if not query:
        return [f"{m.container_port}/{m.protocol} -> {_host(m)}" for m in found]
    digits, _, protocol = query.partition("/")
    number = decimal(digits, 65535)
    if number is None or protocol not in ("", "tcp", "udp"):
        raise UsageError(f"{query!r} is no port", "80 or 80/udp")
    matching = [m for m in found if m.container_port == number and m.protocol == (protocol or "tcp")]
    if not matching:
        raise NotFoundError(f"container {container.name} publishes nothing for port {query}")
    return [_host(m) for m in matching]


def _host(mapping: PortMapping) -> str:
    address = mapping.host_ip or "0.0.0.0"  # noqa: S104 - shown, not bound
    return f"[{address}]:{mapping.host_port}" if ":" in address else f"{address}:{mapping.host_port}"

"""What a container's names are made of: /etc/hostname, hosts and resolv.conf, and the network that they speak of."""

from __future__ import annotations

import os

from rootless import config
from rootless.kernel import files
from rootless.network import driver as networks
from rootless.network import names
from rootless.runtime.plan import NetworkPlan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.plan import LaunchPlan
    from rootless.state.container import Container
    from rootless.state.record import ContainerRecord


def network(record: ContainerRecord) -> NetworkPlan | None:
    """The driver for a network namespace of the container's own."""
    if record.network.partition(":")[0] in ("host", "container", "ns"):
        return None
    driver = networks.get(record.network)
    ports = []
    if record.ports:
        from rootless.network.ports import PortMapping

        ports = [PortMapping.from_json(port) for port in record.ports]
    return NetworkPlan(driver, ports, config.load().network.mtu, record.network_options)


def cared_for(record: ContainerRecord) -> bool:
    """Whether the host's network matters to the container: it has one, and its names are not another container's."""
    return record.network != "none" and "network" not in record.join


def prepare(container: Container, plan: LaunchPlan) -> None:
    """Write hostname, and where the network is not shared hosts and resolv.conf: the container's root's own."""
    record = container.record
    texts = {"hostname": f"{record.hostname}\n"} if record.hostname else {}
    if "network" not in record.join:
        texts |= of_network(record, plan.network)
    written_ns = {name: _write(f"{container.directory}/{name}", text) for name, text in texts.items()}
    if plan.shifted:
        plan.given += [f"{container.directory}/{name}" for name in texts]
    if cared_for(record):
        plan.watched = names.resolver_files()
        # What --hosts-file puts there comes after us.
        kept = ("resolv.conf",) if "hosts_file" in record.rare else ("resolv.conf", "hosts")
        plan.names_ns = {name: written_ns[name] for name in kept}


def of_network(record: ContainerRecord, plan: NetworkPlan | None) -> dict[str, str]:
    """The text of hosts and resolv.conf, as the host's network is now."""
    own = [name for name in (record.hostname, record.name) if name]
    resolver = plan.driver.resolver(plan.options) if plan else []
    addresses = plan.driver.addresses(plan.options) if plan else names.Addresses()
    return {
        "hosts": names.hosts(own, addresses, record.add_host),
        "resolv.conf": names.resolv_conf(
            resolver, record.dns, record.dns_search, record.dns_option, loopback=record.network == "host"
        ),
    }


def _write(path: str, text: str) -> int:
    """Write a file that is bound into the container by inode; its time of change."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    try:
        fd = os.open(path, flags, 0o644)
    except PermissionError:
        os.unlink(path)  # it was given to a shifted container's root
        fd = os.open(path, flags, 0o644)
    try:
        files.write_all(fd, text.encode(), path)
        return os.fstat(fd).st_mtime_ns
    finally:
        os.close(fd)

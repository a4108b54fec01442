"""``ps``: the containers and what they do, read from their records."""

from __future__ import annotations

from rootless.engine import filters as rules
from rootless.engine import port, reconcile
from rootless.state import health
from rootless.state.containers import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.network.ports import PortMapping
    from rootless.state.container import Container, State

_S = 1_000_000_000


class PsRow:
    """One line of ps, with Podman's field names. Times are seconds since the epoch, 0 = never; CreatedAt in ns."""

    __slots__ = (
        "AutoRemove",
        "CIDFile",
        "Command",
        "Created",
        "CreatedAt",
        "ExitCode",
        "Exited",
        "ExitedAt",
        "Health",
        "Id",
        "Image",
        "ImageID",
        "IsInfra",
        "Labels",
        "Mounts",
        "Names",
        "Namespaces",
        "Networks",
        "Pid",
        "Pod",
        "PodName",
        "Ports",
        "Restarts",
        "Size",
        "StartedAt",
        "State",
        "Status",
    )

    def __init__(self, container: Container, state: State) -> None:
        record = container.record
        run, end = state.run, state.exit
        self.Id = record.id
        self.Names = [record.name]
        self.Image = record.image
        self.ImageID = record.image_id.removeprefix("sha256:")
        self.Command: list[str] = record.command
        self.Created = record.created_ns // _S
        self.CreatedAt = record.created_ns
        self.State = state.status
        self.Status = ""
        self.Health = health.status_of(container) if record.health and state.running else ""
        self.Exited = state.status == "exited"
        self.ExitCode = state.exit_code
        self.ExitedAt = end.finished_ns // _S if end else 0
        self.StartedAt = run.started_ns // _S if run else 0
        self.Pid = run.pid if run and state.running else 0
        self.Restarts = run.restarts if run else 0
        self.Ports: list[dict[str, str | int]] = [_port(m) for m in port.mappings(record, run)]
        self.Labels: dict[str, str] = record.labels
        self.Mounts: list[str] = [mount.destination for mount in record.mounts]
        self.Networks: list[str] = [record.network]
        self.AutoRemove = record.auto_remove
        self.CIDFile = record.cidfile
        self.IsInfra = False
        self.Pod = ""
        self.PodName = ""
        self.Size: dict[str, int] | None = None
        self.Namespaces: dict[str, str] = {}


def _port(mapping: PortMapping) -> dict[str, str | int]:
    return {
        "host_ip": mapping.host_ip,
        "container_port": mapping.container_port,
        "host_port": mapping.host_port,
        "range": 1,
        "protocol": mapping.protocol,
    }


def rows(*, all: bool, filters: list[str], last: int, latest: bool, size: bool) -> list[PsRow]:
    """The containers that are shown, newest first: running ones, or ``all``, or the ``last`` N."""
    store = Containers()
    wanted = rules.parse(filters, store)
    asks_state = any(rule.key in ("status", "exited") for rule in wanted)
    found = []
    for container, state in reconcile.living(store):
        shown = all or last or latest or asks_state or state.running or state.status == "restarting"
        if shown and rules.all_match(wanted, container, state):
            found.append((container, state))
    found.sort(key=lambda pair: pair[0].record.created_ns, reverse=True)
    if latest:
        last = 1
    result = [PsRow(*pair) for pair in (found[:last] if last else found)]
    if size:
        fill_sizes(result, [pair[0] for pair in found])
    return result


def fill_sizes(shown: list[PsRow], containers: list[Container]) -> None:
    """Fill in what each container has written, and that plus its image."""
    from rootless import paths
    from rootless.storage import usage
    from rootless.storage.images import ImageStore

    images = {image.id: image.size_bytes for image in ImageStore(paths.data()).all()}
    for row, container in zip(shown, containers, strict=False):
        written = usage.tree_size(f"{container.directory}/diff")
        base = images.get(container.record.image_id, 0)
        row.Size = {"rwSize": written, "rootFsSize": written + base}

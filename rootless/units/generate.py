"""All Quadlet files become services: what the generator, ``rpod quadlet sync`` and ``verify`` begin with."""

from __future__ import annotations

import os

from rootless.kernel import files
from rootless.units import search, words
from rootless.units.container import convert_container
from rootless.units.convert import NAME_CHARACTERS, NETWORK_UNIT, Source
from rootless.units.keys import KINDS_LATER
from rootless.units.resources import convert_image, convert_volume
from rootless.units.service import Service, install_links
from rootless.units.unitfile import UnitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.units.unitfile import UnitFile

_CONVERTERS = {"container": convert_container, "volume": convert_volume, "image": convert_image}
# Where nothing makes network-online.target active, a default route means as much.
_NETWORK_SCRIPT = (
    "for _ in $$(seq 40); do systemctl -q is-active network-online.target && exit; "
    "grep -q '^[^[:space:]]*[[:space:]]00000000[[:space:]]' /proc/net/route && exit; "
    "grep -v ' lo$$' /proc/net/ipv6_route 2>/dev/null | grep -q '^0\\{32\\} 00 ' && exit; "
    "sleep 0.5; done; true"
)


class Outcome:
    """What became of one Quadlet file: a service, or the reason why not and a service that fails with it."""

    __slots__ = ("error", "name", "path", "service")

    def __init__(self, name: str, path: str, service: Service, error: UnitError | None = None) -> None:
        self.name = name
        self.path = path
        self.service = service
        self.error = error


def generate() -> list[Outcome]:
    """What every Quadlet file becomes, by name. Two files with one service are an error of the second."""
    paths = search.find()
    outcomes: dict[str, Outcome] = {}
    sources: dict[str, Source] = {}
    for name, path in paths.items():
        unit: UnitFile | None = None
        try:
            if name.rpartition(".")[2] in KINDS_LATER:
                raise _later(name, path)
            unit = search.read(name, path)
            sources[name] = Source(unit)
        except UnitError as error:
            outcomes[name] = Outcome(name, path, _failing(name, path, error, unit), error)
    taken: dict[str, str] = {}
    for name, source in sources.items():
        try:
            if source.service_name in taken:
                raise UnitError(source.unit.path, 0, f"{taken[source.service_name]} becomes {source.service_name}, too")
            taken[source.service_name] = name
            service = _CONVERTERS[name.rpartition(".")[2]](source, sources)
            outcomes[name] = Outcome(name, source.unit.path, service)
        except UnitError as error:
            failing = _failing(name, source.unit.path, error, source.unit)
            outcomes[name] = Outcome(name, source.unit.path, failing, error)
    return [outcomes[name] for name in sorted(outcomes)]


def services(outcomes: list[Outcome]) -> list[Service]:
    """The services to write: those of the files, and the one that waits for the network if any asks for it."""
    found = {outcome.service.name: outcome.service for outcome in reversed(outcomes)}
    wanted = ("Wants", NETWORK_UNIT)
    if any(wanted in service.sections["Unit"] for service in found.values()):
        found.setdefault(NETWORK_UNIT, _network_service())
    return [found[name] for name in sorted(found)]


def _later(name: str, path: str) -> UnitError:
    kind = name.rpartition(".")[2]
    return UnitError(path, 1, f".{kind} files are not there yet", KINDS_LATER[kind])


def _failing(name: str, path: str, error: UnitError, unit: UnitFile | None) -> Service:
    """A service that says why there is none: whoever starts it, or boots, sees the reason."""
    stem, _, kind = name.rpartition(".")
    stem = "".join(c if c in NAME_CHARACTERS else "_" for c in stem)
    service = Service(f"{stem if kind == 'container' else f'{stem}-{kind}'}.service", path)
    service.add("Unit", "Description", f"{words.literal(name)} has a mistake")
    service.add("Unit", "SourcePath", words.literal(path))
    service.add("Service", "Type", "oneshot")
    service.add("Service", "SyslogIdentifier", "%N")
    says = 'echo "$$1" >&2; exit 78'  # EX_CONFIG
    service.command("ExecStart", ["/bin/sh", "-c", says, "sh", words.literal_argument(error.message)])
    if unit is not None:
        try:
            service.links = install_links(unit, service.name)
        except UnitError:
            pass  # [Install] may be the mistake
    return service


def _network_service() -> Service:
    service = Service(NETWORK_UNIT, "rpod itself")
    service.add("Unit", "Description", "Wait for a network, 20 seconds at most")
    service.add("Service", "Type", "oneshot")
    service.add("Service", "RemainAfterExit", "yes")
    service.command("ExecStart", ["/bin/sh", "-c", _NETWORK_SCRIPT])
    return service


def write(directory: str, made: list[Service]) -> None:
    """Write services and their links into an empty directory of systemd's. Raises OSError."""
    os.makedirs(directory, exist_ok=True)
    for service in made:
        files.write_atomic(f"{directory}/{service.name}", service.text().encode(), mode=0o644, sync=False)
        for link in service.links:
            make_link(directory, link, service.link_target(link))


def make_link(directory: str, link: str, target: str) -> None:
    """A link ``directory/link`` in place of the one that may be there. Raises OSError."""
    path = f"{directory}/{link}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if os.path.islink(path):
        os.unlink(path)
    os.symlink(target, path)

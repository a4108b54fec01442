"""A Quadlet file becomes a service: what all kinds of files have in common.

::

    web.container ─► keys checked ─► [Unit] [Service] [Install] taken over ─► command lines ─► web.service
"""

from __future__ import annotations

import os
import sys

from rootless import paths
from rootless.units import keys, service, words
from rootless.units.keys import KINDS, Kind
from rootless.units.service import Service
from rootless.units.unitfile import UnitError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from rootless.units.keys import Key
    from rootless.units.unitfile import Entry, UnitFile

# Waits for a route, so that an image can be pulled; as generate.py writes it.
NETWORK_UNIT = "rpod-wait-network-online.service"
# Keys of [Unit] that name other units: web.volume among them becomes web-volume.service.
_DEPENDENCIES = frozenset(
    """After Before BindsTo Conflicts OnFailure OnSuccess PartOf PropagatesReloadTo PropagatesStopTo
    ReloadPropagatedFrom Requires Requisite StopPropagatedFrom Upholds Wants""".split()
)
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")
_XDG = {"DATA": ".local/share", "STATE": ".local/state", "CACHE": ".cache", "CONFIG": ".config"}


class Source:
    """A Quadlet file that was read: its kind, its service, and what others call the thing that it makes."""

    __slots__ = ("kind", "resource", "service_name", "unit")

    def __init__(self, unit: UnitFile) -> None:
        stem, _, name = unit.name.rpartition(".")
        self.unit = unit
        self.kind: Kind = KINDS[name]
        section = self.kind.section
        entry = unit.last(section, "ServiceName")
        base = (entry.text.removesuffix(".service") if entry else "") or stem + self.kind.suffix
        if not base or not NAME_CHARACTERS.issuperset(base) or base.startswith("."):
            raise UnitError(unit.path, entry.line if entry else 0, f"{base!r} cannot be the name of a service")
        self.service_name = f"{base}.service"
        self.resource = _resource(unit, name, stem, base)


def _resource(unit: UnitFile, kind: str, stem: str, base: str) -> str:
    """The name of the container, volume or image; "" where only systemd can tell it."""
    if kind == "image":
        return unit.text("Image", "ImageTag") or unit.text("Image", "Image")
    if kind == "volume":
        return unit.text("Volume", "VolumeName") or f"systemd-{stem}"
    name = container_name(unit).replace("%N", base)
    return "" if "%" in name else name


def container_name(unit: UnitFile) -> str:
    """The container's name, with systemd's specifiers in it."""
    default = "systemd-%p_%i" if "@" in unit.name else "systemd-%N"
    return unit.text("Container", "ContainerName") or default


class Conversion:
    """One file on its way: the source, the service, and the other files that it may name."""

    __slots__ = ("others", "service", "source", "unit")

    def __init__(self, source: Source, others: dict[str, Source]) -> None:
        self.source = source
        self.unit = source.unit
        self.others = others
        self.service = Service(source.service_name, source.unit.path)
        check_keys(self.unit, source.kind)
        self._take_over()

    @property
    def section(self) -> str:
        """The section of this kind of file."""
        return self.source.kind.section

    def text(self, key: str) -> str:
        """The value of a key, "" if there is none."""
        return self.unit.text(self.section, key)

    def _take_over(self) -> None:
        """The sections that are systemd's own, and what every service gets."""
        waits = self.unit.last("Quadlet", "DefaultDependencies")
        if waits is None or waits.boolean():
            self.service.add("Unit", "Wants", NETWORK_UNIT)
            self.service.add("Unit", "After", NETWORK_UNIT)
        for section, entries in self.unit.sections.items():
            if section in (self.section, "Quadlet"):
                continue
            for entry in entries:
                value = entry.value
                if (section, entry.key) == ("Install", "UpheldBy"):
                    continue  # systemd knows it since version 254; the link is made all the same
                if section == "Unit" and entry.key in _DEPENDENCIES:
                    value = " ".join(self._unit_name(entry, word) for word in entry.words(unescape=False))
                self.service.add(section, entry.key, value)
        self.service.default("Unit", "SourcePath", words.literal(self.unit.path))
        for variable, default in _XDG.items():
            value = os.environ.get(f"XDG_{variable}_HOME", "")
            if value.startswith("/") and value.rstrip("/") != f"{paths.home()}/{default}":
                self.service.add("Service", "Environment", words.quote(f"XDG_{variable}_HOME={words.literal(value)}"))
        self.service.links = service.install_links(self.unit, self.service.name)

    def _unit_name(self, entry: Entry, name: str) -> str:
        kind = name.rpartition(".")[2]
        if kind in KINDS or kind in keys.KINDS_LATER:
            return self.other(entry, name).service_name
        return name

    def other(self, entry: Entry, name: str) -> Source:
        """The Quadlet file ``name``, which ``entry`` refers to. Raises UnitError if there is none."""
        kind = name.rpartition(".")[2]
        if kind in keys.KINDS_LATER:
            raise entry.error(f"{entry.key}={entry.value}: .{kind} files are not there yet", keys.KINDS_LATER[kind])
        found = self.others.get(name)
        if found is None:
            raise entry.error(f"{entry.key}={entry.value}: there is no file {name}", "rpod quadlet list")
        return found

    def resource(self, entry: Entry, name: str) -> str:
        """What the file ``name`` makes, which this service then needs. Raises UnitError."""
        other = self.other(entry, name)
        if not other.resource:
            raise entry.error(f"{entry.key}={entry.value}: only systemd knows what {name} will be called")
        self.service.add_new("Unit", "Requires", other.service_name)
        self.service.add_new("Unit", "After", other.service_name)
        return other.resource

    def image(self, entry: Entry) -> str:
        """The image that ``Image=`` means."""
        kind = entry.text.rpartition(".")[2]
        is_file = kind in ("image", "build") and "/" not in entry.text
        return self.resource(entry, entry.text) if is_file else entry.text

    def path(self, path: str) -> str:
        """A path of the host: a relative one begins at the file's own folder."""
        if path.startswith(("/", "%")):
            return path
        return os.path.normpath(f"{words.literal_argument(os.path.dirname(self.unit.path))}/{path}")

    def storage(self, entry: Entry, source: str, kinds: tuple[str, ...]) -> str:
        """The source of a mount: a path that must be mounted first, a file of ``kinds``, or a name."""
        if source.startswith("."):
            source = self.path(source)
        if source.startswith("/"):
            self.service.add_new("Unit", "RequiresMountsFor", words.quote(source))
        elif source.rpartition(".")[2] in kinds:
            return self.resource(entry, source)
        return source

    def rpod(self, *argv: str) -> list[str]:
        """A command line of rpod, with ``GlobalArgs=``."""
        return [*program(), *self.arguments("GlobalArgs"), *argv]

    def arguments(self, key: str) -> list[str]:
        """The words of a key that holds arguments."""
        return [word for entry in self.unit.all(self.section, key) for word in entry.words()]

    def options(self) -> list[str]:
        """The options that the keys stand for, in the order of their declaration."""
        return [word for key in self.source.kind.keys for word in self._option(key)]

    def _option(self, key: Key) -> Iterator[str]:
        entries = self.unit.all(self.section, key.name)
        if key.kind in (keys.ONE, keys.FLAG, keys.SWITCH):
            entries = entries[-1:]
        if key.kind == keys.PAIRS:
            last = {word.partition("=")[0]: word for entry in entries for word in _pairs(entry)}
            for word in last.values():
                yield from (key.option, word)
            return
        for entry in entries:
            if key.kind == keys.FLAG:
                yield key.option if entry.boolean() else f"{key.option}=false"
            elif key.kind == keys.SWITCH and entry.boolean():
                yield from (key.option, key.prefix)
            elif key.kind in (keys.ONE, keys.EACH) and entry.text:
                yield from (key.option, key.prefix + entry.text)
            elif key.kind == keys.WORDS:
                for word in entry.words(unescape=False):
                    yield from (key.option, key.prefix + word)


def _pairs(entry: Entry) -> list[str]:
    """``NAME=VALUE`` words. A word without = after one with it is a value whose quotes were forgotten."""
    found = entry.words()
    assigned = False
    for word in found:
        if "=" not in word and assigned:
            raise entry.error(
                f"{entry.key}=: {word!r} is no NAME=VALUE", f'quote values with spaces: {entry.key}="NAME=VALUE"'
            )
        assigned = assigned or "=" in word
    return found


def check_keys(unit: UnitFile, kind: Kind) -> None:
    """Whether every key is known, and its thing is there. Raises UnitError for the first one that is not."""
    if kind.section not in unit.sections:
        raise UnitError(unit.path, 0, f"there is no section [{kind.section}]")
    for section, table in ((kind.section, kind.keys), ("Quadlet", keys.QUADLET)):
        known = {key.name: key for key in table}
        for entry in unit.entries(section):
            key = known.get(entry.key)
            if key is None:
                raise entry.error(f"[{section}] has no key {entry.key}", _nearest(entry.key, list(known)))
            if key.kind == keys.LATER:
                raise entry.error(f"{entry.key}= is not there yet", key.help)
            if key.kind == keys.GONE:
                raise entry.error(f"{entry.key}= is not supported", key.help)


def _nearest(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1, 0.6)
    return f"did you mean {near[0]}?" if near else "man rpod-quadlet.5 lists the keys"


def program() -> list[str]:
    """How a service starts rpod: the command of this installation by its full path."""
    typed = os.path.abspath(sys.argv[0])
    beside = f"{os.path.dirname(sys.executable)}/rpod"
    for path in (typed, beside):
        if os.path.basename(path) == "rpod" and os.access(path, os.X_OK) and not os.path.isdir(path):
            return [words.literal_argument(path)]
    return [words.literal_argument(sys.executable), "-P", "-m", "rootless"]


def missing(unit: UnitFile, section: str, what: str, hint: str) -> UnitError:
    """The error for a key that must be there."""
    return UnitError(unit.path, unit.line_of(section), f"[{section}] lacks {what}", hint)

"""``registries.conf`` version 2 (containers-registries.conf(5)): mirrors, blocked and insecure registries, short names.

The user's file stands in for the system's; drop-ins of both come on top, in the order of
their names. ``containers.toml`` is rpod's own and wins where both say something.
"""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.errors import ConfigError, ImageError, RegistryError, os_reason
from rootless.image import reference
from rootless.kernel import files
from rootless.log import printable

if TYPE_CHECKING:
    from typing import TypeVar

    from rootless.image.reference import Reference

    T = TypeVar("T")

_SYSTEM = "/etc/containers"
_LIMIT_BYTES = 4 << 20
_PULLS = ("all", "digest-only", "tag-only")


class Endpoint:
    """Where a reference is asked for. ``is_mirror``: not the registry whose name it has."""

    __slots__ = ("insecure", "is_mirror", "reference")

    def __init__(self, place: Reference, *, insecure: bool, is_mirror: bool) -> None:
        self.reference = place
        self.insecure = insecure
        self.is_mirror = is_mirror


class _Location:
    __slots__ = ("insecure", "location", "pulls")

    def __init__(self, location: str, *, insecure: bool, pulls: str) -> None:
        self.location = location
        self.insecure = insecure
        self.pulls = pulls


class _Entry:
    """One ``[[registry]]``."""

    __slots__ = ("blocked", "main", "mirrors", "prefix")

    def __init__(self, prefix: str, main: _Location, mirrors: list[_Location], *, blocked: bool) -> None:
        self.prefix = prefix
        self.main = main
        self.mirrors = mirrors
        self.blocked = blocked

    def matched(self, wanted: Reference) -> str:
        """The part of the name that this entry is about, "" if it is not about it."""
        if self.prefix.startswith("*."):
            return wanted.domain if wanted.domain.endswith(self.prefix[1:]) else ""
        full = str(wanted)
        if full == self.prefix or (full.startswith(self.prefix) and full[len(self.prefix)] in "/:@"):
            return self.prefix
        return ""


class Registries:
    """What all files say together. ``search`` None: nobody says which registries short names are asked from."""

    def __init__(self) -> None:
        self.search: list[str] | None = None
        self.aliases: dict[str, str] = {}
        self._entries: dict[str, _Entry] = {}

    def alias(self, short: Reference) -> Reference | None:
        """What a short name stands for, with its own tag or digest."""
        full = self.aliases.get(short.path, "")
        if not full:
            return None
        found = reference.parse(full)
        if not found.domain or found.tag or found.digest:
            raise ConfigError(f"registries.conf: the alias of {short.path} is not HOST/NAME: {printable(full)[:100]}")
        return reference.Reference(found.domain, found.path, short.tag, short.digest)

    def endpoints(self, wanted: Reference) -> list[Endpoint]:
        """Where to ask for ``wanted``: its mirrors, then its registry. RegistryError where that is blocked."""
        fitting = [(matched, entry) for entry in self._entries.values() if (matched := entry.matched(wanted))]
        if not fitting:
            return [Endpoint(wanted, insecure=False, is_mirror=False)]
        matched, entry = max(fitting, key=lambda pair: (not pair[1].prefix.startswith("*."), len(pair[1].prefix)))
        if entry.blocked:
            raise RegistryError(
                f"{wanted}: registries.conf blocks {entry.prefix}", "look for blocked = true in registries.conf"
            )
        unused = "tag-only" if wanted.digest else "digest-only"
        found = [
            Endpoint(_moved(wanted, matched, mirror.location), insecure=mirror.insecure, is_mirror=True)
            for mirror in entry.mirrors
            if mirror.pulls != unused
        ]
        main = _moved(wanted, matched, entry.main.location) if entry.main.location else wanted
        return [*found, Endpoint(main, insecure=entry.main.insecure, is_mirror=False)]

    def insecure_hosts(self) -> set[str]:
        """Whole hosts (HOST or HOST:PORT) that are named insecure."""
        return {
            entry.prefix
            for entry in self._entries.values()
            if entry.main.insecure and entry.prefix == entry.main.location and "/" not in entry.prefix
        }

    def add(self, path: str) -> None:
        """Lay one file over what is there. Raises ConfigError that names it."""
        try:
            tables = tomllib.loads(files.read_file(path, _LIMIT_BYTES).decode())
        except OSError as error:
            raise ConfigError(f"registries.conf cannot be read: {os_reason(error)}") from error
        except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise ConfigError(f"{path}: {printable(str(error))[:200]}") from None
        try:
            self._lay(tables)
        except (ValueError, ImageError) as error:
            raise ConfigError(f"{path}: {printable(str(error))[:300]}", "see containers-registries.conf(5)") from None

    def _lay(self, tables: dict[str, object]) -> None:
        if "registries" in tables:
            raise ValueError("this is version 1 of the format; version 2 has [[registry]] and no [registries]")
        if set(_strings(tables, "credential-helpers")) - {"containers-auth.json"}:
            log.warn("registries.conf: credential-helpers is not heeded; name helpers in auth.json (credHelpers)")
        if "unqualified-search-registries" in tables:
            self.search = _strings(tables, "unqualified-search-registries")
        for short, full in _take(tables, "aliases", dict, {}).items():
            if not isinstance(full, str):
                raise ValueError(f"aliases.{short} must be a string")
            self.aliases[short] = full
        for table in _take(tables, "registry", list, []):
            if not isinstance(table, dict):
                raise ValueError("registry must be tables: [[registry]]")
            entry = _entry(table)
            self._entries[entry.prefix] = entry


def _entry(table: dict[str, object]) -> _Entry:
    main = _location(table)
    prefix = _take(table, "prefix", str, "").rstrip("/") or main.location
    if not prefix:
        raise ValueError("a [[registry]] has neither prefix nor location")
    if not main.location and not prefix.startswith("*."):
        main.location = prefix
    mirrors = []
    for value in _take(table, "mirror", list, []):
        if not isinstance(value, dict):
            raise ValueError(f"the mirrors of {prefix} must be tables: [[registry.mirror]]")
        mirror = _location(value)
        if not mirror.location:
            raise ValueError(f"a mirror of {prefix} has no location")
        if _take(table, "mirror-by-digest-only", bool, False):
            mirror.pulls = "digest-only"
        mirrors.append(mirror)
    return _Entry(prefix, main, mirrors, blocked=_take(table, "blocked", bool, False))


def _location(table: dict[str, object]) -> _Location:
    location = _take(table, "location", str, "").rstrip("/")
    if "://" in location:
        raise ValueError(f"location {location!r} must be HOST[:PORT][/PATH], without a scheme")
    pulls = _take(table, "pull-from-mirror", str, "all") or "all"
    if pulls not in _PULLS:
        raise ValueError(f"pull-from-mirror must be one of {', '.join(_PULLS)}, not {pulls!r}")
    return _Location(location, insecure=_take(table, "insecure", bool, False), pulls=pulls)


def _take(table: dict[str, object], key: str, kind: type[T], default: T) -> T:
    value = table.get(key, default)
    if not isinstance(value, kind):
        raise ValueError(f"{key} is of the wrong type")
    return value


def _strings(table: dict[str, object], key: str) -> list[str]:
    found = _take(table, key, list, [])
    if not all(isinstance(item, str) and item and "://" not in item for item in found):
        raise ValueError(f"{key} must be a list of HOST[:PORT][/PATH]")
    return [item.rstrip("/") for item in found]


def _moved(wanted: Reference, matched: str, location: str) -> Reference:
    """``wanted`` with the part ``matched`` of its name replaced. ConfigError where that gives no name."""
    try:
        moved = reference.parse(location + str(wanted)[len(matched) :])
    except ImageError as error:
        raise ConfigError(f"registries.conf: the location {printable(location)[:100]}: {error.message}") from None
    if not moved.domain:
        raise ConfigError(f"registries.conf: the location {printable(location)[:100]} has no host")
    return moved


def load() -> Registries:
    """Read all files that are there. Raises ConfigError."""
    found = Registries()
    for path in _paths():
        found.add(path)
    return found


def _paths() -> list[str]:
    chosen = os.environ.get("CONTAINERS_REGISTRIES_CONF", "")
    if chosen:
        return [chosen]
    user = f"{paths.home()}/.config/containers"
    main = next((path for folder in (user, _SYSTEM) if os.path.exists(path := f"{folder}/registries.conf")), "")
    found = [main] if main else []
    for folder in (f"{_SYSTEM}/registries.conf.d", f"{user}/registries.conf.d"):
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".conf"))
        except OSError:
            continue
        found += [f"{folder}/{name}" for name in names]
    return found

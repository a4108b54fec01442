"""The configuration: ``containers.toml``, each field declared once.

The user's file (``$XDG_CONFIG_HOME/rpod/containers.toml``) is laid over the system's
(``/etc/rpod/containers.toml``) key by key, both over the defaults. A declaration below is at the
same time the TOML key, its type, default, check and help, its line in
``containers.toml.example`` and its paragraph in the manual page.

``tomllib`` costs 10 ms, so it is imported only when a file exists and is new: what was read is
kept as JSON in the cache directory under the path, time, size and inode of each file. A process
reads the files once, and keeps the configuration that it began with.
"""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.errors import ConfigError, RpodError, os_reason
from rootless.kernel import fastjson, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Values = dict[str, dict[str, object]]  # section -> key -> checked value
    Stamp = list[list[object]]  # per file: path, mtime_ns, size, inode; [path] for a missing one

LOG_DRIVERS = ("k8s-file", "json-file", "journald", "none", "passthrough", "passthrough-tty")
STORAGE_DRIVERS = ("auto", "overlay", "fuse-overlayfs")
NETWORKS = ("slirp4netns", "pasta", "host", "none")
CGROUP_MANAGERS = ("auto", "systemd", "cgroupfs", "none")
_AGE_UNITS_S = {"h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Field:
    """One key: its ``default`` as written in TOML, ``help``, allowed words, and ``check``.

    ``check`` turns the written value into the one that the program reads, or raises ValueError
    with the reason in words.
    """

    __slots__ = ("check", "default", "help", "key", "kind", "words")

    def __init__(
        self, default: object, text: str, words: tuple[str, ...], check: Callable[[Any], object] | None
    ) -> None:
        self.key = ""  # given by the section that declares it, and so is its kind
        self.kind = ""
        self.default = default
        self.help = text
        self.words = words
        self.check = check

    def read(self, value: object) -> object:
        """The checked value of what a file says. Raises ValueError with the reason."""
        if not self._fits(value):
            raise ValueError(f"must be {_KINDS[self.kind]}, not {_toml_type(value)}")
        if self.words and value not in self.words:
            raise ValueError(f"must be one of {', '.join(self.words)}, not {value!r}")
        return self.check(value) if self.check else value

    def _fits(self, value: object) -> bool:
        if self.kind == "list[str]":
            return isinstance(value, list) and all(isinstance(item, str) for item in value)
        if self.kind == "bool" or isinstance(value, bool):
            return self.kind == "bool" and isinstance(value, bool)
        if self.kind == "int" and isinstance(self.default, str):
            return isinstance(value, (str, int))
        return isinstance(value, int if self.kind == "int" else str)


_KINDS = {"str": "a string", "int": "a whole number", "bool": "true or false", "list[str]": "a list of strings"}


def _toml_type(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a fraction", str: "a string", list: "a list", dict: "a table"}
    return names.get(type(value), "a date or time")


def field(
    default: object, text: str, *, words: tuple[str, ...] = (), check: Callable[[Any], object] | None = None
) -> Any:
    """Declare a key of a section; the annotation of the attribute gives its type."""
    return Field(default, text, words, check)


def size_bytes(value: str | int) -> int:
    """``10m`` -> 10485760; a bare number is bytes; units b k m g t are powers of 1024."""
    text = str(value).strip().lower()
    digits = text.rstrip("bikmgt")
    unit = text[len(digits) :].removesuffix("ib").removesuffix("b")
    if not digits.isdecimal() or unit not in _SIZE_UNITS:
        raise ValueError(f"must be a size like 64m or 1g, not {value!r}")
    return int(digits) * _SIZE_UNITS[unit]


def _age_s(value: str | int) -> int:
    """``30d`` -> seconds; 0 is no limit; units h d w."""
    text = str(value).strip().lower()
    number, unit = text[:-1], text[-1:]
    if text == "0":
        return 0
    if not number.isdecimal() or unit not in _AGE_UNITS_S:
        raise ValueError(f"must be an age like 12h, 30d or 8w, not {value!r}")
    return int(number) * _AGE_UNITS_S[unit]


def _size_text(value: str) -> str:
    size_bytes(value)
    return value


def _umask(value: str) -> str:
    if not value or set(value) - set("01234567") or int(value, 8) > 0o777:
        raise ValueError(f"must be an octal mask like 0022, not {value!r}")
    return value


def at_least(low: int) -> Callable[[int], int]:
    """A check: a whole number from ``low`` on."""

    def check(value: int) -> int:
        if value < low:
            raise ValueError(f"must be {low} or more, not {value}")
        return value

    return check


def _mtu(value: int) -> int:
    if not 576 <= value <= 65521:
        raise ValueError(f"must be from 576 to 65521, not {value}")
    return value


def _userns(value: str) -> str:
    if value.partition(":")[0] not in ("host", "keep-id", "auto", "nomap"):
        raise ValueError(f"must be host, keep-id[:uid=N,gid=N], auto[:size=N] or nomap, not {value!r}")
    return value


def _variables(value: list[str]) -> list[str]:
    for item in value:
        if not item.partition("=")[0] or "\0" in item:
            raise ValueError(f"must be NAME=VALUE or NAME, not {item!r}")
    return value


def _addresses(value: list[str]) -> list[str]:
    import _socket

    for item in value:
        try:
            _socket.inet_pton(_socket.AF_INET6 if ":" in item else _socket.AF_INET, item)
        except OSError:
            raise ValueError(f"must be IP addresses, not {item!r}") from None
    return value


def _directories(value: list[str]) -> list[str]:
    for item in value:
        if not item.startswith("/") or "\0" in item:
            raise ValueError(f"must be absolute paths, not {item!r}")
    return value


def _registries(value: list[str]) -> list[str]:
    for item in value:
        if not item or "://" in item or item.endswith("/") or not item.isprintable() or " " in item:
            raise ValueError(f"must be HOST[:PORT][/PATH], not {item!r}")
    return value


def _detach_keys(value: str) -> str:
    for key in value.split(",") if value else []:
        control = key.removeprefix("ctrl-")
        if len(control) != 1 or not ("@" <= control.upper() <= "_" or control == key):
            raise ValueError(f"must be letters or ctrl-LETTER with commas between them, not {value!r}")
    return value


class Section:
    """A table of the file: attributes hold checked values, ``given`` the keys that a file or the command line has."""

    def __init__(self, values: dict[str, object]) -> None:
        self.given = frozenset(values)
        for declared in self.fields():
            value = values[declared.key] if declared.key in values else declared.read(declared.default)
            setattr(self, declared.key, list(value) if isinstance(value, list) else value)

    @classmethod
    def fields(cls) -> list[Field]:
        """The declared keys, in order."""
        found = []
        for key, kind in cls.__annotations__.items():
            declared = _DECLARED[cls.__name__][key]
            declared.key, declared.kind = key, str(kind)
            found.append(declared)
        return found

    def __init_subclass__(cls) -> None:
        _DECLARED[cls.__name__] = {key: vars(cls)[key] for key in cls.__annotations__}


_DECLARED: dict[str, dict[str, Field]] = {}


class Storage(Section):
    """Where and how images and containers are kept."""

    driver: str = field(
        "auto",
        "How the layers of an image become one tree. auto takes the kernel's overlay where a probe shows that it "
        "works, else fuse-overlayfs.",
        words=STORAGE_DRIVERS,
    )
    max_size: int = field(
        "0",
        "The most that images and partial downloads may take on the disk (20g); 0 is no limit. After a pull, load, "
        "import or commit the least recently used of those that no container uses are removed until it is kept. The "
        "first time it is only said what would be removed. rpod system df -v shows it at any time.",
        check=size_bytes,
    )
    max_age: int = field(
        "0",
        "Images that no container uses, and partial downloads, are removed at such a time when they were not used for "
        "so long (30d; also h, w); 0 is no limit.",
        check=_age_s,
    )
    additional: list[str] = field(
        [],
        "Data directories of further stores of yours (/mnt/disk/rpod): their images are found after those of your own, "
        "and are only read.",
        check=_directories,
    )


class Network(Section):
    """The network of containers that do not ask for another."""

    default: str = field("slirp4netns", "What --network is when it is not given.", words=NETWORKS)
    mtu: int = field(65520, "The largest packet, in bytes, on a container's interface.", check=_mtu)


class Registries(Section):
    """Where images come from."""

    search: list[str] = field(
        ["docker.io"],
        "Registries that a name without a registry is looked for in, in this order; local images come first.",
        check=_registries,
    )
    insecure: list[str] = field(
        [], "Registries that may be spoken to without TLS or with an unknown certificate.", check=_registries
    )


class ContainersSection(Section):
    """Defaults of run and create."""

    log_driver: str = field("k8s-file", "How output is kept.", words=LOG_DRIVERS)
    log_size_max: int = field("10m", "The size at which a log is rotated; 0 never rotates it.", check=size_bytes)
    log_files_max: int = field(
        3, "How many files of a rotated log are kept, the current one included.", check=at_least(1)
    )
    pids_limit: int = field(
        2048, "The most processes and threads of a container; -1 sets no limit.", check=at_least(-1)
    )
    shm_size: str = field("64m", "The size of /dev/shm.", check=_size_text)
    stop_timeout: int = field(10, "Seconds between the stop signal and SIGKILL.", check=at_least(0))
    umask: str = field("0022", "The file mode mask of the program.", check=_umask)
    userns: str = field("host", "What --userns is when it is not given.", check=_userns)
    map_user: bool = field(
        True,
        "With files of your own mounted and a program that is not root inside, that user is you, as with --userns "
        "keep-id: your files stay yours.",
    )
    init: bool = field(False, "Run every program under a small init that reaps and forwards signals.")
    http_proxy: bool = field(True, "Hand the proxy variables of the caller on to the program.")
    detach_keys: str = field(
        "ctrl-p,ctrl-q",
        "The keys that leave a terminal without ending the program; empty for none.",
        check=_detach_keys,
    )
    dns: list[str] = field([], "Name servers; without any, those of the host.", check=_addresses)
    env: list[str] = field([], "Variables for every program: NAME=VALUE, or NAME for the caller's.", check=_variables)


class Engine(Section):
    """The engine itself."""

    cgroup_manager: str = field(
        "auto",
        "Who makes control groups: a systemd scope, a directory of the delegated group, or nobody (no limits). auto "
        "takes the first that works.",
        words=CGROUP_MANAGERS,
    )


class Events(Section):
    """The log of what happens to containers, images and volumes: rpod events."""

    logger: str = field(
        "file", "Where events go: a file under the state directory, or nowhere.", words=("file", "none")
    )
    log_size_max: int = field(
        "1m", "The size at which the file becomes events.log.1 and a new one begins; 0 never does.", check=size_bytes
    )


class Config:
    """The whole configuration: one attribute per table of the file."""

    __slots__ = ("containers", "engine", "events", "network", "registries", "storage")

    def __init__(self, values: Values) -> None:
        self.storage = Storage(values.get("storage", {}))
        self.network = Network(values.get("network", {}))
        self.registries = Registries(values.get("registries", {}))
        self.containers = ContainersSection(values.get("containers", {}))
        self.engine = Engine(values.get("engine", {}))
        self.events = Events(values.get("events", {}))


SECTIONS: dict[str, type[Section]] = {
    "storage": Storage,
    "network": Network,
    "registries": Registries,
    "containers": ContainersSection,
    "engine": Engine,
    "events": Events,
}

_overrides: Values = {}
_loaded: dict[tuple[str, str], Config] = {}  # by the files that it was read from


def override(key: str, value: str) -> None:
    """Let the command line decide ``SECTION.KEY`` for this process. Raises ConfigError for a bad value."""
    section, _, name = key.partition(".")
    declared = _by_key(SECTIONS[section])[name]
    try:
        _overrides.setdefault(section, {})[name] = declared.read(value)
        _loaded.clear()
    except ValueError as error:
        raise ConfigError(f"--{section}-{name.replace('_', '-')} {error}") from None


def load() -> Config:
    """The configuration in force, one object for all. Raises ConfigError that names file, line and key."""
    found = (paths.SYSTEM_CONFIG, paths.user_config())
    config = _loaded.get(found)
    if config is None:
        config = _loaded[found] = _load(found)
    return config


def _load(found: tuple[str, str]) -> Config:
    stamp = [_stamp(path) for path in found]
    values: Values = {}
    if any(len(entry) > 1 for entry in stamp):
        cached = _cached(stamp)
        values = _read_all(found, stamp) if cached is None else cached
    for section, keys in _overrides.items():
        values[section] = {**values.get(section, {}), **keys}
    return Config(values)


def _stamp(path: str) -> list[object]:
    try:
        info = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return [path]
    except OSError as error:
        raise ConfigError(f"the configuration cannot be read: {os_reason(error)}") from error
    return [path, info.st_mtime_ns, info.st_size, info.st_ino]


def _cache_path() -> str:
    return f"{paths.cache()}/config.json"


def _cached(stamp: Stamp) -> Values | None:
    """What was read from exactly these files, checked again: the cache is only a file, too."""
    try:
        kept = files.read_json(_cache_path(), own=True)
        if not isinstance(kept, dict) or kept.get("files") != stamp:
            return None
        values: Values = {}
        for section, keys in kept["values"].items():
            known = _by_key(SECTIONS[section])
            values[section] = {key: known[key].read(value) for key, value in keys.items()}
        return values
    except (OSError, ValueError, KeyError, AttributeError):
        return None


def _read_all(found: tuple[str, str], stamp: Stamp) -> Values:
    """Read and check the files, and keep the result for the next command."""
    merged: Values = {}
    for path, entry in zip(found, stamp, strict=True):
        if len(entry) > 1:
            for section, keys in _read_file(path).items():
                merged.setdefault(section, {}).update(keys)
    try:
        files.make_private(paths.cache())
        files.write_json(_cache_path(), {"files": stamp, "values": merged}, sync=False)
    except (OSError, RpodError) as error:
        log.debug(f"the configuration is not cached: {error}")
    return {
        section: {key: _by_key(SECTIONS[section])[key].read(value) for key, value in keys.items()}
        for section, keys in merged.items()
    }


def _read_file(path: str) -> Values:
    """The written values of one file, each known to pass its check."""
    import tomllib

    try:
        text = files.read_file(path, 1 << 20).decode()
        tables = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"the configuration cannot be read: {os_reason(error)}") from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: {error}", "see containers.toml.example for the form") from None
    for section, keys in tables.items():
        _check_table(path, text, section, keys)
    return tables


def _check_table(path: str, text: str, section: str, keys: object) -> None:
    if section not in SECTIONS:
        raise _wrong_key(path, text, "", section, list(SECTIONS))
    if not isinstance(keys, dict):
        raise ConfigError(f"{_where(path, text, '', section)}: {section} must be a table: [{section}]")
    known = _by_key(SECTIONS[section])
    for key, value in keys.items():
        if key not in known:
            raise _wrong_key(path, text, section, key, list(known))
        try:
            known[key].read(value)
        except ValueError as error:
            raise ConfigError(f"{_where(path, text, section, key)}: {section}.{key} {error}", known[key].help) from None


def _wrong_key(path: str, text: str, section: str, key: str, known: list[str]) -> ConfigError:
    from difflib import get_close_matches

    full = f"{section}.{key}" if section else key
    near = get_close_matches(key, known, 1, 0.5)
    choice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    return ConfigError(f"{_where(path, text, section, key)}: no such key: {full}", choice)


def _where(path: str, text: str, section: str, key: str) -> str:
    """``PATH:LINE`` of a key, or the path alone where it is written in an unusual form."""
    current = ""
    for number, line in enumerate(text.splitlines(), 1):
        word = line.strip()
        if word.startswith("["):
            current = word.strip("[] \t")
            if not section and current.partition(".")[0] == key:
                return f"{path}:{number}"
        elif current == section and word.partition("=")[0].strip(" \t\"'") == key:
            return f"{path}:{number}"
    return path


def _by_key(section: type[Section]) -> dict[str, Field]:
    return {declared.key: declared for declared in section.fields()}


def declarations() -> Iterator[tuple[str, str, list[Field]]]:
    """Name, heading and keys of each table, for what is generated from them."""
    for name, section in SECTIONS.items():
        yield name, (section.__doc__ or "").strip(), section.fields()


def toml(value: object) -> str:
    """A default as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    return fastjson.dumps(value)


def example() -> str:
    """The text of ``containers.toml.example``: every key, commented out, with its default."""
    import textwrap

    lines = [
        "# Configuration of rpod: copy to ~/.config/rpod/containers.toml (one user)",
        f"# or {paths.SYSTEM_CONFIG} (everybody). Every key is optional; these are the defaults.",
    ]
    for name, heading, keys in declarations():
        lines += ["", f"# {heading}", f"[{name}]"]
        for declared in keys:
            lines += ["", *textwrap.wrap(declared.help, 96, initial_indent="# ", subsequent_indent="# ")]
            if declared.words:
                lines.append(f"# One of: {', '.join(declared.words)}.")
            lines.append(f"#{declared.key} = {toml(declared.default)}")
    return "\n".join([*lines, ""])

"""Every key of ``containers.toml``, declared once: its type, default, check and help."""

from __future__ import annotations

from rootless.config.fields import Section, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.config.fields import Field

    Values = dict[str, dict[str, object]]  # section -> key -> value

LOG_DRIVERS = ("k8s-file", "json-file", "journald", "none", "passthrough", "passthrough-tty")
STORAGE_DRIVERS = ("auto", "overlay", "fuse-overlayfs")
NETWORKS = ("slirp4netns", "pasta", "host", "none")
CGROUP_MANAGERS = ("auto", "systemd", "cgroupfs", "none")
_AGE_UNITS_S = {"h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


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
    runtime: str = field(
        "rpod",
        "Who starts new containers: rpod itself, or another OCI runtime, by its name (crun, runc) or path.",
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


def declarations() -> Iterator[tuple[str, str, list[Field]]]:
    """Name, heading and keys of each table, for what is generated from them."""
    for name, section in SECTIONS.items():
        yield name, (section.__doc__ or "").strip(), section.fields()


def checked(values: Values) -> Values:
    """What the program reads for the written values. Raises KeyError for unknown keys, ValueError for bad values."""
    found: Values = {}
    for section, keys in values.items():
        known = SECTIONS[section].by_key()
        found[section] = {key: known[key].read(value) for key, value in keys.items()}
    return found

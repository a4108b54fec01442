"""The OCI runtime specification's config.json, as far as the runtime acts on it.

Source of every property: opencontainers/runtime-spec, config.md and config-linux.md. A
value of the wrong type is a SpecError that names the property as that document writes it.
"""

from __future__ import annotations

from rootless.errors import RpodError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

KEEP_GROUPS = "run.oci.keep_original_groups"  # an annotation of crun's
OCI_VERSION = "1.0.2"


class SpecError(RpodError):
    """A property of config.json that is missing or wrong."""


def _take(value: object, key: str, kind: type[T], default: T, where: str) -> T:
    """``value[key]`` checked to be of ``kind``; ``default`` where it is missing or null."""
    assert isinstance(value, dict)
    found = value.get(key)
    if found is None:
        return default
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise SpecError(f"config.json: {where}{key} must be {_WORDS[kind]}")
    return found


_WORDS: dict[type, str] = {
    str: "a string",
    int: "a number",
    bool: "true or false",
    list: "a list",
    dict: "an object",
}


def _strings(value: object, key: str, where: str) -> list[str]:
    found = _take(value, key, list, [], where)
    if not all(isinstance(item, str) and "\0" not in item for item in found):
        raise SpecError(f"config.json: {where}{key} must be a list of strings without NUL")
    return found


def _string_map(value: object, key: str, where: str) -> dict[str, str]:
    found = _take(value, key, dict, {}, where)
    if not all(isinstance(item, str) for item in found.values()):
        raise SpecError(f"config.json: {where}{key} must hold strings only")
    return found


class Mount:
    """``mounts[]``: destination, type, source and options."""

    __slots__ = ("destination", "options", "source", "subpath", "type")

    def __init__(self, destination: str, type_: str, source: str = "", options: list[str] | None = None) -> None:
        self.destination = destination
        self.type = type_
        self.source = source
        self.options = options or []
        self.subpath = ""

    def to_json(self) -> dict[str, object]:
        """As in the specification; ``subpath``, what of the source is shown, is rpod's own."""
        plain: dict[str, object] = {
            "destination": self.destination,
            "type": self.type,
            "source": self.source,
            "options": self.options,
        }
        return plain | {"subpath": self.subpath} if self.subpath else plain

    @classmethod
    def from_json(cls, value: object) -> Mount:
        """Check one entry."""
        destination = _take(value, "destination", str, "", "mounts[].")
        if not destination.startswith("/"):
            raise SpecError(
                "config.json: mounts[].destination must be an absolute path", "runtime-spec, config.md, Mounts"
            )
        options = _strings(value, "options", "mounts[].")
        type_ = _take(value, "type", str, "", "mounts[].")
        if "bind" in options or "rbind" in options:
            type_ = "bind"  # whatever stands there: "none" is usual
        self = cls(destination, type_, _take(value, "source", str, "", "mounts[]."), options)
        self.subpath = _take(value, "subpath", str, "", "mounts[].")
        return self


class Device:
    """``linux.devices[]``: a host's device node shown at ``path`` (rootless: bound, never made)."""

    __slots__ = ("major", "minor", "path", "source", "type")

    def __init__(self, path: str, type_: str, major: int, minor: int, source: str = "") -> None:
        self.path = path
        self.type = type_
        self.major = major
        self.minor = minor
        self.source = source or path

    def to_json(self) -> dict[str, object]:
        """As in the specification; ``source`` is rpod's own when the host's path differs."""
        plain: dict[str, object] = {"path": self.path, "type": self.type, "major": self.major, "minor": self.minor}
        return plain if self.source == self.path else plain | {"source": self.source}

    @classmethod
    def from_json(cls, value: object) -> Device:
        """Check one entry."""
        where = "linux.devices[]."
        return cls(
            _take(value, "path", str, "", where),
            _take(value, "type", str, "c", where),
            _take(value, "major", int, 0, where),
            _take(value, "minor", int, 0, where),
            _take(value, "source", str, "", where),
        )


class Process:
    """``process``: the program and what it runs as."""

    __slots__ = (
        "ambient",
        "apparmor_profile",
        "args",
        "bounding",
        "cwd",
        "effective",
        "env",
        "gid",
        "groups",
        "inheritable",
        "no_new_privileges",
        "oom_score_adj",
        "permitted",
        "rlimits",
        "terminal",
        "uid",
        "umask",
    )

    def __init__(self) -> None:
        self.args: list[str] = []
        self.env: list[str] = []
        self.cwd = "/"
        self.terminal = False
        self.uid = 0
        self.gid = 0
        self.groups: list[int] = []
        self.umask = 0o022
        self.bounding: list[str] = []
        self.effective: list[str] = []
        self.permitted: list[str] = []
        self.inheritable: list[str] = []
        self.ambient: list[str] = []
        self.rlimits: list[tuple[str, int, int]] = []  # (RLIMIT_NOFILE, soft, hard)
        self.no_new_privileges = False
        self.oom_score_adj: int | None = None
        self.apparmor_profile = ""

    def to_json(self) -> dict[str, object]:
        """As in the specification."""
        result: dict[str, object] = {
            "terminal": self.terminal,
            "user": {"uid": self.uid, "gid": self.gid, "additionalGids": self.groups, "umask": self.umask},
            "args": self.args,
            "env": self.env,
            "cwd": self.cwd,
            "capabilities": {
                "bounding": self.bounding,
                "effective": self.effective,
                "permitted": self.permitted,
                "inheritable": self.inheritable,
                "ambient": self.ambient,
            },
            "rlimits": [{"type": name, "soft": soft, "hard": hard} for name, soft, hard in self.rlimits],
            "noNewPrivileges": self.no_new_privileges,
        }
        if self.oom_score_adj is not None:
            result["oomScoreAdj"] = self.oom_score_adj
        if self.apparmor_profile:
            result["apparmorProfile"] = self.apparmor_profile
        return result

    @classmethod
    def from_json(cls, value: object) -> Process:
        """Check ``process``."""
        where = "process."
        self = cls()
        self.args = _strings(value, "args", where)
        self.env = _strings(value, "env", where)
        self.cwd = _take(value, "cwd", str, "/", where)
        self.terminal = _take(value, "terminal", bool, False, where)
        user = _take(value, "user", dict, {}, where)
        self.uid = _take(user, "uid", int, 0, "process.user.")
        self.gid = _take(user, "gid", int, 0, "process.user.")
        self.groups = [int(gid) for gid in _take(user, "additionalGids", list, [], "process.user.")]
        self.umask = _take(user, "umask", int, 0o022, "process.user.")
        sets = _take(value, "capabilities", dict, {}, where)
        for name in ("bounding", "effective", "permitted", "inheritable", "ambient"):
            setattr(self, name, _strings(sets, name, "process.capabilities."))
        for limit in _take(value, "rlimits", list, [], where):
            at = "process.rlimits[]."
            self.rlimits.append(
                (_take(limit, "type", str, "", at), _take(limit, "soft", int, 0, at), _take(limit, "hard", int, 0, at))
            )
        self.no_new_privileges = _take(value, "noNewPrivileges", bool, False, where)
        if isinstance(value, dict) and value.get("oomScoreAdj") is not None:
            self.oom_score_adj = _take(value, "oomScoreAdj", int, 0, where)
        self.apparmor_profile = _take(value, "apparmorProfile", str, "", where)
        return self


class Resources:
    """``linux.resources`` of cgroup v2: bytes, microseconds, counts; None where no limit is set."""

    __slots__ = (
        "cpu_period_us",
        "cpu_quota_us",
        "cpu_shares",
        "cpuset_cpus",
        "cpuset_mems",
        "io_device_weights",
        "io_throttles",
        "io_weight",
        "memory",
        "memory_reservation",
        "memory_swap",
        "pids",
        "unified",
    )

    def __init__(self) -> None:
        self.memory: int | None = None
        self.memory_swap: int | None = None  # memory plus swap; -1 = unlimited
        self.memory_reservation: int | None = None
        self.cpu_quota_us: int | None = None
        self.cpu_period_us: int | None = None
        self.cpu_shares: int | None = None
        self.cpuset_cpus = ""
        self.cpuset_mems = ""
        self.pids: int | None = None
        self.io_weight: int | None = None  # 10 to 1000
        self.io_device_weights: list[tuple[int, int, int]] = []  # (major, minor, weight)
        self.io_throttles: list[tuple[str, int, int, int]] = []  # (rbps|riops|wbps|wiops, major, minor, rate)
        self.unified: dict[str, str] = {}  # file of the cgroup -> value

    def to_json(self) -> dict[str, object]:
        """As in the specification, without what is not set."""
        groups: dict[str, dict[str, object]] = {
            "memory": {"limit": self.memory, "swap": self.memory_swap, "reservation": self.memory_reservation},
            "cpu": {
                "quota": self.cpu_quota_us,
                "period": self.cpu_period_us,
                "shares": self.cpu_shares,
                "cpus": self.cpuset_cpus or None,
                "mems": self.cpuset_mems or None,
            },
            "pids": {"limit": self.pids},
        }
        if self.io_weight is not None or self.io_device_weights or self.io_throttles:
            groups["blockIO"] = self._io_to_json()
        result: dict[str, object] = {}
        for name, group in groups.items():
            present = {key: item for key, item in group.items() if item is not None}
            if present:
                result[name] = present
        if self.unified:
            result["unified"] = self.unified
        return result

    def _io_to_json(self) -> dict[str, object]:
        group: dict[str, object] = {"weight": self.io_weight}
        if self.io_device_weights:
            group["weightDevice"] = [
                {"major": major, "minor": minor, "weight": weight} for major, minor, weight in self.io_device_weights
            ]
        for key, name in _THROTTLES.items():
            found = [{"major": a, "minor": b, "rate": rate} for k, a, b, rate in self.io_throttles if k == key]
            if found:
                group[name] = found
        return group

    @classmethod
    def from_json(cls, value: object) -> Resources:
        """Check ``linux.resources``."""
        self = cls()
        where = "linux.resources."
        memory = _take(value, "memory", dict, {}, where)
        cpu = _take(value, "cpu", dict, {}, where)
        pids = _take(value, "pids", dict, {}, where)
        for group, key, slot in (
            (memory, "limit", "memory"),
            (memory, "swap", "memory_swap"),
            (memory, "reservation", "memory_reservation"),
            (cpu, "quota", "cpu_quota_us"),
            (cpu, "period", "cpu_period_us"),
            (cpu, "shares", "cpu_shares"),
            (pids, "limit", "pids"),
        ):
            if group.get(key) is not None:
                setattr(self, slot, _take(group, key, int, 0, where))
        self.cpuset_cpus = _take(cpu, "cpus", str, "", where)
        self.cpuset_mems = _take(cpu, "mems", str, "", where)
        self.unified = _string_map(value, "unified", where)
        self._io_from_json(_take(value, "blockIO", dict, {}, where))
        return self

    def _io_from_json(self, group: dict[str, object]) -> None:
        where = "linux.resources.blockIO."
        if group.get("weight") is not None:
            self.io_weight = _take(group, "weight", int, 0, where)
        for item in _take(group, "weightDevice", list, [], where):
            at = f"{where}weightDevice[]."
            major, minor, weight = (_take(item, key, int, 0, at) for key in ("major", "minor", "weight"))
            self.io_device_weights.append((major, minor, weight))
        for key, name in _THROTTLES.items():
            for item in _take(group, name, list, [], where):
                major, minor, rate = (_take(item, field, int, 0, f"{where}{name}[].") for field in _THROTTLE_FIELDS)
                self.io_throttles.append((key, major, minor, rate))


_THROTTLES = {
    "rbps": "throttleReadBpsDevice",
    "wbps": "throttleWriteBpsDevice",
    "riops": "throttleReadIOPSDevice",
    "wiops": "throttleWriteIOPSDevice",
}
_THROTTLE_FIELDS = ("major", "minor", "rate")


class Spec:
    """A whole config.json."""

    __slots__ = (
        "annotations",
        "cgroups_path",
        "devices",
        "gid_map",
        "hostname",
        "masked_paths",
        "mounts",
        "namespaces",
        "process",
        "readonly_paths",
        "resources",
        "root_path",
        "root_readonly",
        "seccomp",
        "sysctl",
        "uid_map",
    )

    def __init__(self) -> None:
        self.process = Process()
        self.root_path = ""
        self.root_readonly = False
        self.hostname = ""
        self.mounts: list[Mount] = []
        self.namespaces: dict[str, str] = {}  # type -> path, "" = a new one
        self.uid_map: list[list[int]] = []  # [inside, outside, size]
        self.gid_map: list[list[int]] = []
        self.devices: list[Device] = []
        self.sysctl: dict[str, str] = {}
        self.masked_paths: list[str] = []
        self.readonly_paths: list[str] = []
        self.seccomp: dict[str, object] = {}  # {} = unconfined
        self.resources = Resources()
        self.cgroups_path = ""
        self.annotations: dict[str, str] = {}

    @property
    def keep_groups(self) -> bool:
        """Whether the program keeps the caller's further groups."""
        return self.annotations.get(KEEP_GROUPS, "0") != "0"

    def to_json(self) -> dict[str, object]:
        """The document."""
        linux: dict[str, object] = {
            "namespaces": [{"type": t, "path": p} if p else {"type": t} for t, p in self.namespaces.items()],
            "uidMappings": _map_to_json(self.uid_map),
            "gidMappings": _map_to_json(self.gid_map),
            "devices": [device.to_json() for device in self.devices],
            "sysctl": self.sysctl,
            "resources": self.resources.to_json(),
            "maskedPaths": self.masked_paths,
            "readonlyPaths": self.readonly_paths,
        }
        if self.seccomp:
            linux["seccomp"] = self.seccomp
        if self.cgroups_path:
            linux["cgroupsPath"] = self.cgroups_path
        return {
            "ociVersion": OCI_VERSION,
            "process": self.process.to_json(),
            "root": {"path": self.root_path, "readonly": self.root_readonly},
            "hostname": self.hostname,
            "mounts": [mount.to_json() for mount in self.mounts],
            "annotations": self.annotations,
            "linux": linux,
        }

    @classmethod
    def from_json(cls, value: object) -> Spec:
        """Check a document."""
        if not isinstance(value, dict):
            raise SpecError("config.json must be an object")
        self = cls()
        self.process = Process.from_json(_take(value, "process", dict, {}, ""))
        root = _take(value, "root", dict, {}, "")
        self.root_path = _take(root, "path", str, "", "root.")
        self.root_readonly = _take(root, "readonly", bool, False, "root.")
        self.hostname = _take(value, "hostname", str, "", "")
        self.mounts = [Mount.from_json(item) for item in _take(value, "mounts", list, [], "")]
        self.annotations = _string_map(value, "annotations", "")
        self._linux_from_json(_take(value, "linux", dict, {}, ""))
        return self

    def _linux_from_json(self, linux: dict[str, object]) -> None:
        where = "linux."
        for item in _take(linux, "namespaces", list, [], where):
            kind = _take(item, "type", str, "", "linux.namespaces[].")
            if kind in self.namespaces:
                raise SpecError(
                    f"config.json: linux.namespaces has {kind!r} twice", "runtime-spec, config-linux.md, Namespaces"
                )
            self.namespaces[kind] = _take(item, "path", str, "", "linux.namespaces[].")
        self.uid_map = _map_from_json(linux, "uidMappings")
        self.gid_map = _map_from_json(linux, "gidMappings")
        self.devices = [Device.from_json(item) for item in _take(linux, "devices", list, [], where)]
        self.sysctl = _string_map(linux, "sysctl", where)
        self.masked_paths = _strings(linux, "maskedPaths", where)
        self.readonly_paths = _strings(linux, "readonlyPaths", where)
        self.seccomp = _take(linux, "seccomp", dict, {}, where)
        self.resources = Resources.from_json(_take(linux, "resources", dict, {}, where))
        self.cgroups_path = _take(linux, "cgroupsPath", str, "", where)


def _map_to_json(extents: list[list[int]]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in extents]


def _map_from_json(linux: dict[str, object], key: str) -> list[list[int]]:
    where = f"linux.{key}[]."
    return [
        [_take(item, name, int, 0, where) for name in ("containerID", "hostID", "size")]
        for item in _take(linux, key, list, [], "linux.")
    ]

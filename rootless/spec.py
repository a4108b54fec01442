"""The OCI runtime specification's config.json, as far as the runtime acts on it.

Source of every property: opencontainers/runtime-spec, config.md and config-linux.md. A
value of the wrong type is a SpecError that names the property as that document writes it.
"""

from __future__ import annotations

from rootless.checked import SpecError, string_map, strings, take
from rootless.resources import Resources

CALLERS_GROUPS = "keep-groups"  # a word of --group-add, which no file names
KEEP_GROUPS = "run.oci.keep_original_groups"  # an annotation of crun's
OCI_VERSION = "1.0.2"


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
        destination = take(value, "destination", str, "", "mounts[].")
        if not destination.startswith("/"):
            raise SpecError(
                "config.json: mounts[].destination must be an absolute path", "runtime-spec, config.md, Mounts"
            )
        options = strings(value, "options", "mounts[].")
        type_ = take(value, "type", str, "", "mounts[].")
        if "bind" in options or "rbind" in options:
            type_ = "bind"  # whatever stands there: "none" is usual
        self = cls(destination, type_, take(value, "source", str, "", "mounts[]."), options)
        self.subpath = take(value, "subpath", str, "", "mounts[].")
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
            take(value, "path", str, "", where),
            take(value, "type", str, "c", where),
            take(value, "major", int, 0, where),
            take(value, "minor", int, 0, where),
            take(value, "source", str, "", where),
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
        self.args = strings(value, "args", where)
        self.env = strings(value, "env", where)
        self.cwd = take(value, "cwd", str, "/", where)
        self.terminal = take(value, "terminal", bool, False, where)
        user = take(value, "user", dict, {}, where)
        self.uid = take(user, "uid", int, 0, "process.user.")
        self.gid = take(user, "gid", int, 0, "process.user.")
        self.groups = [int(gid) for gid in take(user, "additionalGids", list, [], "process.user.")]
        self.umask = take(user, "umask", int, 0o022, "process.user.")
        sets = take(value, "capabilities", dict, {}, where)
        for name in ("bounding", "effective", "permitted", "inheritable", "ambient"):
            setattr(self, name, strings(sets, name, "process.capabilities."))
        for limit in take(value, "rlimits", list, [], where):
            at = "process.rlimits[]."
            self.rlimits.append(
                (take(limit, "type", str, "", at), take(limit, "soft", int, 0, at), take(limit, "hard", int, 0, at))
            )
        self.no_new_privileges = take(value, "noNewPrivileges", bool, False, where)
        if isinstance(value, dict) and value.get("oomScoreAdj") is not None:
            self.oom_score_adj = take(value, "oomScoreAdj", int, 0, where)
        self.apparmor_profile = take(value, "apparmorProfile", str, "", where)
        return self


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
    def foreign(self) -> bool:
        """Whether another engine wrote it, so that errors name its properties, and not rpod's options."""
        return self.resources.foreign

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
        self.process = Process.from_json(take(value, "process", dict, {}, ""))
        root = take(value, "root", dict, {}, "")
        self.root_path = take(root, "path", str, "", "root.")
        self.root_readonly = take(root, "readonly", bool, False, "root.")
        self.hostname = take(value, "hostname", str, "", "")
        self.mounts = [Mount.from_json(item) for item in take(value, "mounts", list, [], "")]
        self.annotations = string_map(value, "annotations", "")
        self._linux_from_json(take(value, "linux", dict, {}, ""))
        return self

    def _linux_from_json(self, linux: dict[str, object]) -> None:
        where = "linux."
        for item in take(linux, "namespaces", list, [], where):
            kind = take(item, "type", str, "", "linux.namespaces[].")
            if kind in self.namespaces:
                raise SpecError(
                    f"config.json: linux.namespaces has {kind!r} twice", "runtime-spec, config-linux.md, Namespaces"
                )
            self.namespaces[kind] = take(item, "path", str, "", "linux.namespaces[].")
        self.uid_map = _map_from_json(linux, "uidMappings")
        self.gid_map = _map_from_json(linux, "gidMappings")
        self.devices = [Device.from_json(item) for item in take(linux, "devices", list, [], where)]
        self.sysctl = string_map(linux, "sysctl", where)
        self.masked_paths = strings(linux, "maskedPaths", where)
        self.readonly_paths = strings(linux, "readonlyPaths", where)
        self.seccomp = take(linux, "seccomp", dict, {}, where)
        self.resources = Resources.from_json(take(linux, "resources", dict, {}, where))
        self.cgroups_path = take(linux, "cgroupsPath", str, "", where)


def _map_to_json(extents: list[list[int]]) -> list[dict[str, int]]:
    return [{"containerID": inside, "hostID": outside, "size": size} for inside, outside, size in extents]


def _map_from_json(linux: dict[str, object], key: str) -> list[list[int]]:
    where = f"linux.{key}[]."
    return [
        [take(item, name, int, 0, where) for name in ("containerID", "hostID", "size")]
        for item in take(linux, key, list, [], "linux.")
    ]

"""A bundle: its config.json, checked, becomes what the launcher and init work from."""

from __future__ import annotations

import os

from rootless import log
from rootless.checked import SpecError
from rootless.errors import LaunchError, UnsupportedError, os_reason
from rootless.kernel import fastjson, files
from rootless.kernel.userns import Extent, IdMap
from rootless.oci import schema
from rootless.runtime import security
from rootless.runtime.attributes import POLICIES, SCHED_FLAGS, Attributes, parse_cpus
from rootless.runtime.extras import Extras
from rootless.runtime.hooks import Hooks
from rootless.spec import Process, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.resources import Resources

_WHOLE_MAP = "0          0 4294967295"
_MOST_BYTES = 64 << 20
_SETS = ("bounding", "effective", "permitted", "inheritable", "ambient")


class Bundle:
    """A checked config.json and what follows from it. ``document`` is its JSON."""

    __slots__ = ("directory", "document", "spec")

    def __init__(self, directory: str, document: dict[str, object]) -> None:
        """Check ``document``. SpecError and UnsupportedError name the property."""
        schema.check(document)
        self.directory = directory
        self.document = document
        self.spec = Spec.from_json(document)
        self._complete()
        _check_version(str(document["ociVersion"]))
        _check_rules(self.spec, document)

    @classmethod
    def load(cls, directory: str) -> Bundle:
        """The bundle at ``directory``. Raises LaunchError when there is none."""
        directory = os.path.realpath(directory)
        return cls(directory, read_document(f"{directory}/config.json"))

    @property
    def root(self) -> str:
        """The root file system's path on the host."""
        return os.path.join(self.directory, self.spec.root_path)

    @property
    def process(self) -> dict[str, object]:
        """``process`` as JSON."""
        return _part(self.document, "process")

    def _complete(self) -> None:
        """What the specification lets be relative, or says in another place than rpod keeps it."""
        spec = self.spec
        for mount in spec.mounts:
            mount.subpath = ""  # the engine's own property, which nobody else knows; so is a device's source
            if mount.type == "bind":
                mount.source = os.path.join(self.directory, mount.source)
        for device in spec.devices:
            device.source = _host_device(device.path, device.type, device.major, device.minor)
            device.type = "c" if device.type == "u" else device.type
        complete_resources(spec.resources, _part(self.document, "linux", "resources"))
        _drop_unknown_capabilities(spec.process)

    def maps(self) -> IdMap | None:
        """The id maps of a new user namespace; None where there is none. UnsupportedError where one is needed."""
        spec = self.spec
        if spec.namespaces.get("user") == "":
            maps = IdMap([Extent(*e) for e in spec.uid_map], [Extent(*e) for e in spec.gid_map])
            for name, extents in (("uidMappings", maps.uids), ("gidMappings", maps.gids)):
                if not any(extent.inside == 0 and extent.size for extent in extents):
                    raise SpecError(f"config.json: linux.{name} must map container id 0", _section("linux.uidMappings"))
            own = (maps.uids[0].outside, maps.gids[0].outside) == (os.geteuid(), os.getegid())
            if os.geteuid() != 0 and maps.single and not (own and len(maps.uids) == len(maps.gids) == 1):
                raise SpecError(
                    f"config.json: linux.uidMappings: a single id must be your own, {os.geteuid()}",
                    "give linux.gidMappings as many ids as linux.uidMappings",
                )
            return maps
        if "user" not in spec.namespaces:
            if os.geteuid() != 0:
                raise SpecError(
                    "config.json: linux.namespaces lacks a user namespace, which an ordinary user needs",
                    "rpod-runtime spec --rootless writes a config.json with one",
                )
            if files.read_file("/proc/self/uid_map").split() == _WHOLE_MAP.encode().split():
                raise UnsupportedError(
                    "rpod-runtime is for ordinary users: real root's containers would have no device controller",
                    "add a user namespace to linux.namespaces, or use crun or runc",
                )
        return None

    def hooks(self, state: dict[str, object]) -> Hooks:
        """The hooks, which are told ``state``."""
        return Hooks(_part(self.document, "hooks"), state)

    def extras(self, hooks: Hooks) -> Extras:
        """What init does beyond the engine's containers."""
        linux = _part(self.document, "linux")
        extras = Extras(self.spec, hooks)
        extras.domainname = str(self.document.get("domainname") or "")
        extras.rootfs_propagation = str(linux.get("rootfsPropagation") or "")
        for clock in ("monotonic", "boottime"):
            offset = _part(linux, "timeOffsets", clock)
            if offset:
                extras.time_offsets[clock] = (_integer(offset, "secs"), _integer(offset, "nanosecs"))
        extras.attributes = self.attributes(second=False)
        return extras

    def attributes(self, *, second: bool) -> Attributes | None:
        """The rare attributes of the process, None where it has none. ``second``: it is an exec's."""
        personality = _part(self.document, "linux", "personality")
        return Attributes(self.process, personality, second=second) or None


def read_document(path: str) -> dict[str, object]:
    """The JSON object in the file ``path``. Raises LaunchError, SpecError."""
    try:
        with open(path, "rb") as file:  # not only a regular file: `exec --process <(…)` is usual
            document = fastjson.loads(file.read(_MOST_BYTES))
    except OSError as error:
        raise LaunchError(
            f"{os.path.basename(path)} cannot be read: {os_reason(error)}", "rpod-runtime spec --rootless writes one"
        ) from None
    except fastjson.JSONError as error:
        raise SpecError(f"{path} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SpecError(f"{path} must hold an object", "runtime-spec, config.md")
    return document


def _part(value: dict[str, object], *keys: str) -> dict[str, object]:
    """The object at ``keys``, {} where it is missing."""
    for key in keys:
        found = value.get(key) or {}
        assert isinstance(found, dict)
        value = found
    return value


def _integer(value: dict[str, object], key: str) -> int:
    found = value.get(key) or 0
    assert isinstance(found, int)
    return found


def _section(path: str) -> str:
    return f"runtime-spec, {schema.properties()[path].section}"


def _check_version(version: str) -> None:
    """Semantic versioning: what 1.x says, 1.0 programs wrote (config.md, "Specification version")."""
    major, _, rest = version.partition(".")
    if major != "1" or not rest[:1].isdecimal():
        raise SpecError(f"config.json: ociVersion {version!r} is not supported, 1.x is", _section("ociVersion"))


def _check_rules(spec: Spec, document: dict[str, object]) -> None:
    """What is about several properties, or about the form of a word."""
    linux = _part(document, "linux")
    if "mount" not in spec.namespaces:
        raise SpecError("config.json: linux.namespaces lacks a mount namespace", _section("linux.namespaces"))
    if spec.namespaces["mount"]:
        raise UnsupportedError(
            "config.json: linux.namespaces: a mount namespace cannot be joined by its path", "leave the path out"
        )
    if not spec.root_path:
        raise SpecError("config.json: root.path is empty", _section("root.path"))
    for name in ("hostname", "domainname"):
        if document.get(name) and "uts" not in spec.namespaces:
            raise SpecError(f"config.json: {name} needs a uts namespace", _section(name))
    if linux.get("timeOffsets") and spec.namespaces.get("time") != "":
        raise SpecError("config.json: linux.timeOffsets needs a new time namespace", _section("linux.timeOffsets"))
    if (spec.uid_map or spec.gid_map) and "user" not in spec.namespaces:
        raise SpecError("config.json: linux.uidMappings needs a user namespace", _section("linux.uidMappings"))
    _check_process(_part(document, "process"))
    for index, mount in enumerate(spec.mounts):
        if mount.type == "fuse-overlayfs":
            # The engine's own word for a mount that its launcher serves; the kernel has no such type.
            raise UnsupportedError(
                f"config.json: mounts[{index}].type fuse-overlayfs does not work here",
                "the type overlay, or mount it before and give it as a bind",
            )


def _check_process(process: dict[str, object]) -> None:
    if not process.get("args"):
        raise SpecError("config.json: process.args is empty", _section("process.args"))
    for index, limit in enumerate(_items(process, "rlimits")):
        if str(limit["type"]).removeprefix("RLIMIT_").lower() not in security.LIMITS:
            raise SpecError(
                f"config.json: process.rlimits[{index}].type: unknown limit {limit['type']!r}",
                _section("process.rlimits"),
            )
        if _integer(limit, "soft") > _integer(limit, "hard"):
            raise SpecError(f"config.json: process.rlimits[{index}].soft is above hard", _section("process.rlimits"))
    scheduler = _part(process, "scheduler")
    flags = scheduler.get("flags") or []
    assert isinstance(flags, list)
    for flag in flags:
        if flag not in SCHED_FLAGS:
            raise SpecError(
                f"config.json: process.scheduler.flags: unknown flag {flag!r}", _section("process.scheduler")
            )
    assert not scheduler or scheduler["policy"] in POLICIES
    for moment, text in _part(process, "execCPUAffinity").items():
        try:
            parse_cpus(str(text))
        except ValueError:
            raise SpecError(
                f"config.json: process.execCPUAffinity.{moment} must be a list such as 0-3,7",
                _section("process.execCPUAffinity"),
            ) from None


def _items(value: dict[str, object], key: str) -> list[dict[str, object]]:
    found = value.get(key) or []
    assert isinstance(found, list)
    return found


def _drop_unknown_capabilities(process: Process) -> None:
    """What the kernel does not have is warned of, never an error (config.md, "Linux Process", capabilities)."""
    known = frozenset(security.known_capabilities())
    unknown = set()
    for name in _SETS:
        wanted = getattr(process, name)
        unknown |= set(wanted) - known
        setattr(process, name, [capability for capability in wanted if capability in known])
    possible = set(process.permitted) & set(process.inheritable)
    if refused := [name for name in process.ambient if name not in possible]:
        # The kernel's rule (capabilities(7)); runc and crun leave them out, too, and some engines send them always.
        log.debug(f"process.capabilities.ambient: not permitted and inheritable: {', '.join(refused)}")
        process.ambient = [name for name in process.ambient if name in possible]
    for capability in sorted(unknown):
        log.warn(f"process.capabilities: this kernel does not know {capability}")


def _host_device(path: str, kind: str, major: int, minor: int) -> str:
    """Where the host has a device node: at the same path, else by its numbers."""
    try:
        device = os.stat(path).st_rdev
    except OSError:
        device = 0
    if (os.major(device), os.minor(device)) == (major, minor):
        return path
    return os.path.realpath(f"/dev/{'block' if kind == 'b' else 'char'}/{major}:{minor}")


def complete_resources(resources: Resources, described: dict[str, object]) -> None:
    """What the engine's own limits never are: named by properties, and some of them rare."""
    resources.foreign = True
    resources.unified.update(_rare_limits(described))


def _rare_limits(resources: dict[str, object]) -> dict[str, str]:
    """The limits that cgroup v2 has as a file and ``Resources`` has no word for (cgroup-v2.rst)."""
    found: dict[str, str] = {}
    cpu = _part(resources, "cpu")
    for key, file in (("burst", "cpu.max.burst"), ("idle", "cpu.idle")):
        if cpu.get(key) is not None:
            found[file] = str(cpu[key])
    for limit in _items(resources, "hugepageLimits"):
        found[f"hugetlb.{limit['pageSize']}.max"] = str(limit["limit"])
    lines = []
    for device in _part(resources, "rdma"):
        limits = _part(resources, "rdma", device)
        words = [
            f"{new}={limits[old]}"
            for old, new in (("hcaHandles", "hca_handle"), ("hcaObjects", "hca_object"))
            if old in limits
        ]
        lines.append(" ".join([device, *words]))
    if lines:
        found["rdma.max"] = "\n".join(lines)
    return found

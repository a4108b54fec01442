"""Every property of config.json: its type, whether it works, and where the specification says so.

One table serves the check (``check``, before anything is made) and ``docs/oci-runtime.md``, which
is generated from it. A property that is not here is unknown, and the specification wants it ignored
(config.md, "Extensibility"). Source: opencontainers/runtime-spec 1.2.
"""

from __future__ import annotations

from rootless.checked import SpecError
from rootless.errors import UnsupportedError
from rootless.runtime.hooks import KINDS

WORKS, REFUSED, ACCEPTED = "+", "-", "~"

# A line of "# FILE, SECTION", then: property | type | works (+), refused (-) or accepted without effect (~) | remark.
# A remark goes on in the next line after two blanks.
# A type with "!" is required; "a/b" is one of these words; "object[]" is a list of objects; a "path" is absolute.
TABLE = """
# config.md, Specification version
ociVersion | string! | + | 1.0.0 up to, not including, 2.0.0
# config.md, Root
root | object! | +
root.path | string! | + | relative to the bundle; bound as it is
root.readonly | bool | +
# config.md, Mounts
mounts | object[] | +
mounts[].destination | path! | +
mounts[].type | string | + | what the kernel mounts in a user namespace; `cgroup` is cgroup2; sysfs, mqueue and
  cgroup2 of a shared namespace are bound from the host
mounts[].source | string | + | of a bind relative to the bundle
mounts[].options | string[] | + | all of the table in the specification, `tmpcopyup`, `idmap`; what no one knows
  goes to the file system, a bind refuses it
mounts[].uidMappings | object[] | - | `idmap` shows a mount under the ids of the container's own user namespace
mounts[].gidMappings | object[] | - | the same
# config.md, Process
process | object! | +
process.terminal | bool | + | the master goes to --console-socket; ONLCR is off
process.consoleSize | object | +
process.consoleSize.height | uint! | +
process.consoleSize.width | uint! | +
process.cwd | path! | + | made if missing
process.env | string[] | + | HOME is added where it is missing
process.args | string[]! | +
process.commandLine | string | ~ | of Windows
process.user | object | +
process.user.uid | id | +
process.user.gid | id | +
process.user.umask | uint | +
process.user.additionalGids | id[] | +
process.user.username | string | ~ | of Windows
process.rlimits | object[] | +
process.rlimits[].type | string! | +
process.rlimits[].soft | uint! | +
process.rlimits[].hard | uint! | +
process.apparmorProfile | string | + | an error where the kernel has no AppArmor
process.capabilities | object | +
process.capabilities.effective | string[] | + | names that the kernel does not have are warned of and left out
process.capabilities.bounding | string[] | +
process.capabilities.inheritable | string[] | +
process.capabilities.permitted | string[] | +
process.capabilities.ambient | string[] | +
process.noNewPrivileges | bool | +
process.oomScoreAdj | int | + | an ordinary user can only raise it
process.scheduler | object | +
process.scheduler.policy | SCHED_OTHER/SCHED_FIFO/SCHED_RR/SCHED_BATCH/SCHED_ISO/SCHED_IDLE/SCHED_DEADLINE! | +
process.scheduler.nice | int | +
process.scheduler.priority | uint | +
process.scheduler.flags | string[] | +
process.scheduler.runtime | uint | +
process.scheduler.deadline | uint | +
process.scheduler.period | uint | +
process.selinuxLabel | string | + | an error where the kernel has no SELinux
process.ioPriority | object | +
process.ioPriority.class | IOPRIO_CLASS_RT/IOPRIO_CLASS_BE/IOPRIO_CLASS_IDLE! | +
process.ioPriority.priority | uint | +
process.execCPUAffinity | object | + | of `exec`
process.execCPUAffinity.initial | string | +
process.execCPUAffinity.final | string | +
# config.md, Hostname
hostname | string | + | needs a uts namespace
# config.md, Domainname
domainname | string | + | needs a uts namespace
# config.md, POSIX-platform Hooks
hooks | object | +
hooks.prestart | object[] | +
hooks.createRuntime | object[] | +
hooks.createContainer | object[] | +
hooks.startContainer | object[] | + | as the program's user, after `start`
hooks.poststart | object[] | + | a failure is a warning
hooks.poststop | object[] | + | a failure is a warning
hooks.*[].path | path! | +
hooks.*[].args | string[] | +
hooks.*[].env | string[] | + | the whole environment
hooks.*[].timeout | uint | + | in seconds
# config.md, Annotations
annotations | map | + | in `state`; `run.oci.keep_original_groups` works as crun has it
# config-vm.md
vm | object | -
# config-windows.md
windows | object | -
# config-solaris.md
solaris | object | -
# config-zos.md
zos | object | -
# config-freebsd.md
freebsd | object | -
# config-linux.md
linux | object | +
# config-linux.md, Namespaces
linux.namespaces | object[] | + | there must be a mount namespace, and for an ordinary user a user namespace
linux.namespaces[].type | pid/network/mount/ipc/uts/user/cgroup/time! | +
linux.namespaces[].path | path | + | a mount namespace can only be new
# config-linux.md, User namespace mappings
linux.uidMappings | object[] | + | container id 0 must be among them
linux.uidMappings[].containerID | uint | +
linux.uidMappings[].hostID | uint | +
linux.uidMappings[].size | uint! | +
linux.gidMappings | object[] | +
linux.gidMappings[].containerID | uint | +
linux.gidMappings[].hostID | uint | +
linux.gidMappings[].size | uint! | +
# config-linux.md, Offset for Time Namespace
linux.timeOffsets | object | + | needs a new time namespace
linux.timeOffsets.monotonic | object | +
linux.timeOffsets.monotonic.secs | int | +
linux.timeOffsets.monotonic.nanosecs | uint | +
linux.timeOffsets.boottime | object | +
linux.timeOffsets.boottime.secs | int | +
linux.timeOffsets.boottime.nanosecs | uint | +
# config-linux.md, Devices
linux.devices | object[] | + | bound from the host: nobody makes device nodes in a user namespace
linux.devices[].type | c/u/b! | + | `p` is refused
linux.devices[].path | path! | + | the host's node of the same numbers is looked for there and in /dev/char,
  /dev/block
linux.devices[].major | int! | +
linux.devices[].minor | int! | +
linux.devices[].fileMode | uint | ~ | the node is the host's own
linux.devices[].uid | uint | ~ | the same
linux.devices[].gid | uint | ~ | the same
# config-linux.md, Net Devices
linux.netDevices | object | - | only the host's administrator moves its devices
# config-linux.md, Control groups
linux.cgroupsPath | string | + | absolute: under the hierarchy's root; relative: under the caller's cgroup; with
  --systemd-cgroup `SLICE:PREFIX:NAME`; without it a child of the caller's
linux.resources | object | +
linux.resources.devices | object[] | ~ | no device node can be made in a user namespace, so that there is nothing to
  allow
# config-linux.md, Memory
linux.resources.memory | object | +
linux.resources.memory.limit | int | +
linux.resources.memory.reservation | int | + | memory.low
linux.resources.memory.swap | int | +
linux.resources.memory.kernel | int | - | cgroup v1
linux.resources.memory.kernelTCP | int | - | cgroup v1
linux.resources.memory.swappiness | uint | - | cgroup v1
linux.resources.memory.disableOOMKiller | bool | - | cgroup v1
linux.resources.memory.useHierarchy | bool | ~ | always so in cgroup v2
linux.resources.memory.checkBeforeUpdate | bool | + | `update` refuses a limit below what is in use
# config-linux.md, CPU
linux.resources.cpu | object | +
linux.resources.cpu.shares | uint | + | converted to cpu.weight as runc does
linux.resources.cpu.quota | int | +
linux.resources.cpu.burst | uint | +
linux.resources.cpu.period | uint | +
linux.resources.cpu.realtimeRuntime | int | - | cgroup v1
linux.resources.cpu.realtimePeriod | uint | - | cgroup v1
linux.resources.cpu.cpus | string | +
linux.resources.cpu.mems | string | +
linux.resources.cpu.idle | int | +
# config-linux.md, Block IO
linux.resources.blockIO | object | +
linux.resources.blockIO.weight | uint | +
linux.resources.blockIO.leafWeight | uint | - | cgroup v1
linux.resources.blockIO.weightDevice | object[] | +
linux.resources.blockIO.weightDevice[].major | int! | +
linux.resources.blockIO.weightDevice[].minor | int! | +
linux.resources.blockIO.weightDevice[].weight | uint | +
linux.resources.blockIO.weightDevice[].leafWeight | uint | - | cgroup v1
linux.resources.blockIO.throttleReadBpsDevice | object[] | +
linux.resources.blockIO.throttleWriteBpsDevice | object[] | +
linux.resources.blockIO.throttleReadIOPSDevice | object[] | +
linux.resources.blockIO.throttleWriteIOPSDevice | object[] | +
# config-linux.md, Huge page limits
linux.resources.hugepageLimits | object[] | + | where the controller is delegated
linux.resources.hugepageLimits[].pageSize | string! | +
linux.resources.hugepageLimits[].limit | uint! | +
# config-linux.md, Network
linux.resources.network | object | - | cgroup v1
# config-linux.md, PIDs
linux.resources.pids | object | +
linux.resources.pids.limit | int | +
# config-linux.md, RDMA
linux.resources.rdma | object | + | where the controller is delegated
# config-linux.md, Unified
linux.resources.unified | map | +
# config-linux.md, IntelRdt
linux.intelRdt | object | - | resctrl is root's
# config-linux.md, Memory policy
linux.memoryPolicy | object | -
# config-linux.md, Sysctl
linux.sysctl | map | + | of the container's own namespaces
# config-linux.md, Seccomp
linux.seccomp | object | + | here an unknown property is an error: the filter would be another than was meant
linux.seccomp.defaultAction | string! | +
linux.seccomp.defaultErrnoRet | uint | +
linux.seccomp.architectures | string[] | +
linux.seccomp.flags | string[] | + | TSYNC, LOG, SPEC_ALLOW, WAIT_KILLABLE_RECV
linux.seccomp.listenerPath | string | +
linux.seccomp.listenerMetadata | string | +
linux.seccomp.syscalls | object[] | +
linux.seccomp.syscalls[].names | string[]! | +
linux.seccomp.syscalls[].action | string! | +
linux.seccomp.syscalls[].errnoRet | uint | +
linux.seccomp.syscalls[].args | object[] | +
linux.seccomp.syscalls[].args[].index | uint | +
linux.seccomp.syscalls[].args[].value | uint | +
linux.seccomp.syscalls[].args[].valueTwo | uint | +
linux.seccomp.syscalls[].args[].op | string! | +
# config-linux.md, Rootfs Mount Propagation
linux.rootfsPropagation | shared/slave/private/unbindable/rshared/rslave/rprivate/runbindable | +
# config-linux.md, Masked Paths
linux.maskedPaths | path[] | +
# config-linux.md, Readonly Paths
linux.readonlyPaths | path[] | +
# config-linux.md, Mount Label
linux.mountLabel | string | - | SELinux's labels of mounts are not there yet
# config-linux.md, Personality
linux.personality | object | +
linux.personality.domain | LINUX/LINUX32! | +
linux.personality.flags | string[] | - | the specification has none
"""
_LAST_ID = 4294967294  # one more is (uid_t) -1, which means no id (setresuid(2))
_WORDS: dict[str, tuple[type, str]] = {
    "string": (str, "a string"),
    "path": (str, "an absolute path"),
    "bool": (bool, "true or false"),
    "int": (int, "a whole number"),
    "uint": (int, "a whole number of at least 0"),
    "id": (int, f"a whole number from 0 to {_LAST_ID}"),
    "object": (dict, "an object"),
    "list": (list, "a list"),
    "map": (dict, "an object of strings"),
}


class Property:
    """One line of the table."""

    __slots__ = ("kind", "note", "path", "required", "section", "status")

    def __init__(self, line: str, section: str) -> None:
        fields = line.split(" | ")
        self.path = fields[0]
        self.required = fields[1].endswith("!")
        self.kind = fields[1].removesuffix("!")
        self.status = fields[2]
        self.note = fields[3] if len(fields) > 3 else ""
        self.section = section

    def wrong(self, path: str, words: str) -> SpecError:
        """The error that names the property and the section."""
        return SpecError(f"config.json: {path} {words}", f"runtime-spec, {self.section}")

    def verify(self, value: object, path: str) -> None:
        """Raise SpecError when ``value`` is not of the kind."""
        kind, many = self.kind.removesuffix("[]"), self.kind.endswith("[]")
        if many:
            if not isinstance(value, list):
                raise self.wrong(path, "must be a list")
            for index, item in enumerate(value):
                self._verify_one(item, kind, f"{path}[{index}]")
        else:
            self._verify_one(value, kind, path)

    def _verify_one(self, value: object, kind: str, path: str) -> None:
        if kind not in _WORDS:
            if value not in kind.split("/"):
                raise self.wrong(path, f"must be one of {', '.join(kind.split('/'))}, not {value!r}")
            return
        type_, words = _WORDS[kind]
        right = isinstance(value, type_) and not (type_ is int and isinstance(value, bool))
        if right and kind == "path":
            # Go writes "" for a path that is not there.
            none = value == "" and self.kind == "path" and not self.required
            right = none or (isinstance(value, str) and value.startswith("/"))
        if right and kind == "uint":
            right = isinstance(value, int) and value >= 0
        if right and kind == "id":
            right = isinstance(value, int) and 0 <= value <= _LAST_ID
        if right and kind == "map" and isinstance(value, dict):
            right = all(isinstance(item, str) for item in value.values())
        if not right:
            raise self.wrong(path, f"must be {words}, not {value!r:.60}")
        if isinstance(value, str) and "\0" in value:
            raise self.wrong(path, "must not hold a NUL")


def properties() -> dict[str, Property]:
    """The table by path, in its order."""
    found: dict[str, Property] = {}
    section = ""
    for line in TABLE.strip().replace("\n  ", " ").splitlines():
        if line.startswith("# "):
            section = line[2:]
            continue
        property_ = Property(line, section)
        if ".*" in property_.path:
            for kind in KINDS:
                found[property_.path.replace("*", kind)] = property_
        else:
            found[property_.path] = property_
    return found


def check(document: object, prefix: str = "") -> None:
    """Check a whole config.json, or the object at ``prefix`` (``linux.resources``).

    SpecError for a wrong type or value, UnsupportedError for a property that is known and does not work here.
    """
    if not isinstance(document, dict):
        raise SpecError(f"{prefix or 'config.json'} must be an object", "runtime-spec, config.md")
    _Walk().check(document, prefix, prefix)


class _Walk:
    """One pass over a document. A *shape* is the path as the table has it, a *path* the one with indices."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, Property]] = {}  # shape of an object -> its properties by name
        for path, property_ in properties().items():
            shape, _, name = path.rpartition(".")
            self._members.setdefault(shape, {})[name] = property_

    def check(self, value: dict[str, object], shape: str, path: str) -> None:
        """Check the members of an object, and that none is missing."""
        start = f"{path}." if path else ""
        members = self._members.get(shape, {})
        for name, property_ in members.items():
            item = value.get(name)
            if item is not None:
                self._member(property_, item, start + name)
            elif property_.required:
                raise property_.wrong(start + name, "is missing")

    def _member(self, property_: Property, item: object, path: str) -> None:
        property_.verify(item, path)
        if property_.status == REFUSED:
            if item:
                raise UnsupportedError(f"config.json: {path} does not work here", property_.note or property_.section)
        elif isinstance(item, dict) and property_.kind == "object":
            self.check(item, property_.path, path)
        elif isinstance(item, list) and property_.kind == "object[]":
            for index, element in enumerate(item):
                self.check(element, f"{property_.path}[]", f"{path}[{index}]")

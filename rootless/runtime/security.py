"""What a container's program may do: capabilities, seccomp, closed paths, limits, AppArmor.

The first half parses options and is used by the engine. The second half is applied by the
container's init, in the order that the kernel wants (``drop_privileges``).
"""

from __future__ import annotations

import _socket
import errno
import os
import resource

from rootless.errors import LaunchError, LimitError, UnsupportedError, UsageError, os_reason
from rootless.kernel import files, syscalls
from rootless.kernel.userns import HINT_RANGES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.spec import Process

# linux/capability.h: the number is the position.
_CAPABILITIES = """
CAP_CHOWN CAP_DAC_OVERRIDE CAP_DAC_READ_SEARCH CAP_FOWNER CAP_FSETID CAP_KILL CAP_SETGID CAP_SETUID
CAP_SETPCAP CAP_LINUX_IMMUTABLE CAP_NET_BIND_SERVICE CAP_NET_BROADCAST CAP_NET_ADMIN CAP_NET_RAW CAP_IPC_LOCK
CAP_IPC_OWNER CAP_SYS_MODULE CAP_SYS_RAWIO CAP_SYS_CHROOT CAP_SYS_PTRACE CAP_SYS_PACCT CAP_SYS_ADMIN
CAP_SYS_BOOT CAP_SYS_NICE CAP_SYS_RESOURCE CAP_SYS_TIME CAP_SYS_TTY_CONFIG CAP_MKNOD CAP_LEASE
CAP_AUDIT_WRITE CAP_AUDIT_CONTROL CAP_SETFCAP CAP_MAC_OVERRIDE CAP_MAC_ADMIN CAP_SYSLOG CAP_WAKE_ALARM
CAP_BLOCK_SUSPEND CAP_AUDIT_READ CAP_PERFMON CAP_BPF CAP_CHECKPOINT_RESTORE
"""
_DEFAULTS = """
CAP_CHOWN CAP_DAC_OVERRIDE CAP_FOWNER CAP_FSETID CAP_KILL CAP_NET_BIND_SERVICE CAP_SETFCAP CAP_SETGID
CAP_SETPCAP CAP_SETUID CAP_SYS_CHROOT
"""
CAPABILITIES = tuple(_CAPABILITIES.split())
DEFAULT_CAPABILITIES = tuple(_DEFAULTS.split())
# What tells about the host or changes it: hidden, or shown and not writable.
MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/selinux",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_CPUS = "/sys/devices/system/cpu"
# asm-generic/resource.h: the number is the position; the same on every architecture that rpod runs on.
_LIMITS = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime"
LIMITS = tuple(_LIMITS.split())
_UNLIMITED = (1 << 64) - 1  # the OCI runtime-spec's RLIM_INFINITY
_MOST_FILES = 1 << 20  # the kernel's fs.nr_open: above it a limit on open files cannot be set
_last = -1  # the highest capability number, once it is known


# ---- capabilities ----


def last_capability() -> int:
    """The highest capability number of the running kernel.

    Asked by prctl(2): in a container /proc/sys/kernel/cap_last_cap may be hidden.
    """
    global _last
    if _last < 0:
        try:
            while True:
                syscalls.prctl(syscalls.PR_CAPBSET_READ, _last + 1)
                _last += 1
        except OSError:
            pass  # EINVAL: one too far
    return _last


def capability(name: str) -> str:
    """The full name of a capability, typed in any case, with or without CAP_. UsageError if there is none."""
    full = name.upper()
    if not full.startswith("CAP_"):
        full = f"CAP_{full}"
    if full not in CAPABILITIES:
        raise UsageError(f"unknown capability {name!r}", "man 7 capabilities lists them")
    return full


def parse_capabilities(
    add: list[str], drop: list[str], *, privileged: bool, base: tuple[str, ...] = DEFAULT_CAPABILITIES
) -> list[str]:
    """The bounding set that --cap-add, --cap-drop and --privileged make of ``base``, by number.

    ALL stands for every capability; with it in one list, the other one's names are exceptions.
    """
    known = CAPABILITIES[: last_capability() + 1]
    added = [name for text in add for name in text.split(",")]
    dropped = [name for text in drop for name in text.split(",")]
    all_added, all_dropped = _without_all(added), _without_all(dropped)
    if all_added and all_dropped:
        raise UsageError("--cap-add ALL and --cap-drop ALL exclude each other")
    more = {capability(name) for name in added}
    less = {capability(name) for name in dropped}
    if both := sorted(more & less):
        raise UsageError(f"capability {both[0]} is both added and dropped")
    start = known if privileged or all_added else () if all_dropped else base
    if missing := sorted(more - set(known)):
        raise UnsupportedError(f"the running kernel does not have {missing[0]}")
    wanted = (set(start) | more) - less
    return [name for name in known if name in wanted]


def _without_all(names: list[str]) -> bool:
    """Take ALL out of ``names``; whether it was there."""
    found = [name for name in names if name.upper() == "ALL"]
    for name in found:
        names.remove(name)
    return bool(found)


def mask_of(names: list[str]) -> int:
    """The bit mask of capability names; names that the running kernel lacks are left out."""
    numbers = [CAPABILITIES.index(capability(name)) for name in names]
    last = last_capability()
    return sum(1 << number for number in set(numbers) if number <= last)


# ---- --security-opt ----


class SecurityOptions:
    """What ``--security-opt`` says. ``seccomp``: "" (default), "unconfined" or a file's path."""

    __slots__ = ("apparmor", "mask", "no_new_privileges", "proc_options", "seccomp", "unmask")

    def __init__(self) -> None:
        self.seccomp = ""
        self.no_new_privileges = False
        self.apparmor = ""  # "" and "unconfined": none
        self.mask: list[str] = []
        self.unmask: list[str] = []  # paths or globs; "ALL" is every path
        self.proc_options: list[str] = []  # of the /proc mount

    def masked_paths(self) -> list[str]:
        """The paths to hide: the defaults without the unmasked ones, and the user's."""
        return [path for path in (*MASKED_PATHS, *_thermal_paths()) if not self._unmasked(path)] + self.mask

    def readonly_paths(self) -> list[str]:
        """The paths to show read-only."""
        return [path for path in READONLY_PATHS if not self._unmasked(path)]

    def _unmasked(self, path: str) -> bool:
        return any(pattern == "ALL" or _matches(path, pattern) for pattern in self.unmask)


def _thermal_paths() -> list[str]:
    """The throttling counters of each processor: a side channel on what others compute."""
    try:
        cpus = sorted(name for name in os.listdir(_CPUS) if name.startswith("cpu") and name[3:].isdecimal())
    except OSError:
        return []
    paths = [f"{_CPUS}/{name}/thermal_throttle" for name in cpus]
    return [path for path in paths if os.path.isdir(path)]


def _matches(path: str, pattern: str) -> bool:
    """Whether a shell pattern fits a path: ``*`` and ``?`` do not cross a "/"."""
    if not any(c in pattern for c in "*?["):
        return path == pattern.rstrip("/")
    import fnmatch

    parts, patterns = path.split("/"), pattern.rstrip("/").split("/")
    return len(parts) == len(patterns) and all(map(fnmatch.fnmatchcase, parts, patterns))


def parse_options(values: list[str]) -> SecurityOptions:
    """``--security-opt`` values, ``NAME=VALUE`` (Docker's old ``NAME:VALUE`` too). Raises UsageError."""
    options = SecurityOptions()
    for text in values:
        separator = "=" if "=" in text else ":"
        name, given, value = text.partition(separator)
        if name == "no-new-privileges":
            options.no_new_privileges = _boolean(text, value if given else "true")
        elif not value:
            raise UsageError(f"--security-opt {text}: a value is missing", f"{name}=VALUE")
        else:
            _take_option(options, text, name, value)
    return options


def _take_option(options: SecurityOptions, text: str, name: str, value: str) -> None:
    if name == "seccomp":
        options.seccomp = value if value == "unconfined" else os.path.abspath(value)
    elif name == "apparmor":
        options.apparmor = "" if value == "unconfined" else value
        check_apparmor(options.apparmor)
    elif name == "mask":
        options.mask += _paths(text, value)
    elif name == "unmask":
        options.unmask += ["ALL"] if value.upper() == "ALL" else _paths(text, value)
    elif name == "proc-opts":
        options.proc_options += value.split(",")
    elif name == "systempaths" and value == "unconfined":
        options.unmask.append("ALL")
    elif name == "label" and value != "disable":
        raise UnsupportedError(f"--security-opt {text}: SELinux labels are not there yet", "label=disable is")
    elif name != "label":
        raise UsageError(
            f"--security-opt {text}: unknown option",
            "seccomp=, no-new-privileges, apparmor=, label=disable, mask=, unmask=, systempaths=unconfined, proc-opts=",
        )


def _boolean(text: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise UsageError(f"--security-opt {text}: {value!r} is neither true nor false")
    return value == "true"


def _paths(text: str, value: str) -> list[str]:
    paths = value.split(":")
    if not all(path.startswith("/") for path in paths):
        raise UsageError(f"--security-opt {text}: paths must be absolute", "separate several by a colon")
    return paths


def seccomp_for(choice: str, capabilities: list[str]) -> dict[str, object]:
    """``linux.seccomp`` for SecurityOptions.seccomp and a bounding set; {} is unconfined."""
    if choice == "unconfined":
        return {}
    from rootless.runtime import seccomp, seccomp_profile

    if choice:
        return seccomp.load_profile(choice, frozenset(capabilities))
    return seccomp_profile.default(frozenset(capabilities))


# ---- limits ----


def rlimits(values: list[str]) -> list[tuple[str, int, int]]:
    """``--ulimit NAME=SOFT[:HARD]`` values as (RLIMIT_NAME, soft, hard); -1 is unlimited.

    ``host`` leaves the caller's limits alone; without it the limits on open files and on
    processes are the caller's hard ones. Raises LimitError for more than the caller may have.
    """
    found: dict[str, tuple[int, int]] = {}
    if "host" not in values:
        for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC"):
            hard = _hard_limit(name)
            found[name] = (min(hard, _MOST_FILES), min(hard, _MOST_FILES))
    for text in values:
        if text != "host":
            name, soft, hard = _parse_limit(text)
            found[name] = (soft, hard)
    return [(name, soft, hard) for name, (soft, hard) in found.items()]


def _limit_number(name: str) -> int:
    short = name.removeprefix("RLIMIT_").lower()
    if short not in LIMITS:
        raise UsageError(f"unknown limit {name}", f"known are {', '.join(LIMITS)}")
    return LIMITS.index(short)


def _hard_limit(name: str) -> int:
    hard = resource.getrlimit(_limit_number(name))[1]
    return _UNLIMITED if hard == resource.RLIM_INFINITY else hard


def _parse_limit(text: str) -> tuple[str, int, int]:
    name, _, value = text.partition("=")
    full = "RLIMIT_" + name.upper().removeprefix("RLIMIT_")
    allowed = _hard_limit(full)
    soft_text, _, hard_text = value.partition(":")
    soft = _limit_value(text, soft_text)
    hard = _limit_value(text, hard_text) if hard_text else soft
    if soft > hard:
        raise UsageError(f"--ulimit {text}: the soft limit is above the hard one")
    if hard > allowed:
        raise LimitError(
            f"--ulimit {text}: this user's hard limit is {allowed}",
            f"an administrator raises it in /etc/security/limits.conf ({name})",
        )
    return full, soft, hard


def _limit_value(text: str, value: str) -> int:
    if value in ("-1", "unlimited"):
        return _UNLIMITED
    if not value.isdecimal() or int(value) > _UNLIMITED:
        raise UsageError(f"--ulimit {text}: {value!r} is not a number", "NAME=SOFT[:HARD], -1 is unlimited")
    return int(value)


def apply_rlimits(limits: list[tuple[str, int, int]]) -> None:
    """Set limits of this process. LimitError names the one that the kernel refuses."""
    for name, soft, hard in limits:
        values = [-1 if value >= _UNLIMITED else value for value in (soft, hard)]  # -1: RLIM_INFINITY
        try:
            resource.setrlimit(_limit_number(name), (values[0], values[1]))
        except (OSError, ValueError) as error:
            raise LimitError(f"the limit {name} cannot be set to {soft}:{hard}: {error}", "ulimit -aH") from error


# ---- AppArmor ----


def check_apparmor(profile: str) -> None:
    """Raise UnsupportedError when ``profile`` is asked for and the kernel does not confine by AppArmor."""
    if not profile:
        return
    try:
        enabled = files.read_file("/sys/module/apparmor/parameters/enabled").startswith(b"Y")
    except OSError:
        enabled = False
    if not enabled:
        raise UnsupportedError(
            f"the AppArmor profile {profile} cannot be applied: AppArmor is not enabled in this kernel",
            "leave the option out, or boot with apparmor=1 security=apparmor",
        )


def apply_apparmor(profile: str) -> None:
    """Enter ``profile`` at the next execve. LaunchError when the kernel refuses."""
    path = "/proc/self/attr/apparmor/exec"
    if not os.path.exists(path):
        path = "/proc/self/attr/exec"
    try:
        files.write_plain(path, f"exec {profile}")
    except OSError as error:
        raise LaunchError(
            f"the AppArmor profile {profile} cannot be applied: {os_reason(error)}",
            "aa-status lists the profiles that are loaded",
        ) from error


# ---- applied by init ----


def set_hostname(name: str) -> None:
    """sethostname(2) in the container's UTS namespace."""
    _socket.sethostname(name)


def no_new_privileges() -> None:
    """From here on execve grants nothing: no set-id bits, no file capabilities (irrevocable)."""
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)


def install(program: bytes) -> None:
    """Install a BPF filter (irrevocable). Needs no_new_privileges, or CAP_SYS_ADMIN in the user namespace."""
    try:
        syscalls.install_seccomp(program)
    except OSError as error:
        raise LaunchError(
            f"the seccomp filter cannot be installed: {os_reason(error)}",
            "with no-new-privileges the kernel lets anybody install one",
        ) from error


def apply_bounding(bounding: int) -> None:
    """Before the user id changes: drop what is not in ``bounding``, keep the permitted set over setuid."""
    for number in range(last_capability() + 1):
        if not bounding >> number & 1:
            syscalls.prctl(syscalls.PR_CAPBSET_DROP, number)
    syscalls.prctl(syscalls.PR_SET_KEEPCAPS, 1)


def apply_capabilities(effective: int, permitted: int, inheritable: int, ambient: int) -> None:
    """After the user id has changed: the sets that execve goes out from."""
    syscalls.capset(effective, permitted, inheritable)
    syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
    for number in range(last_capability() + 1):
        if ambient >> number & 1:
            syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_RAISE, number)


def drop_privileges(process: Process, confine: Callable[[], None] | None, *, keep_groups: bool = False) -> None:
    """Become ``process.uid`` with its groups and capabilities; ``confine`` installs the seccomp filter, if any.

    ``keep_groups`` leaves the caller's further groups, which the container cannot name (crun's word for it).
    Without no_new_privileges that takes CAP_SYS_ADMIN, so that it happens here, before the capabilities
    go (it must then allow capset and prctl); with it the caller does it as the last thing of all.
    Raises OSError or LaunchError.
    """
    apply_bounding(mask_of(process.bounding))
    _set_ids(process, keep_groups=keep_groups)
    effective, permitted = mask_of(process.effective), mask_of(process.permitted)
    inheritable, ambient = mask_of(process.inheritable), mask_of(process.ambient)
    if process.apparmor_profile:
        apply_apparmor(process.apparmor_profile)
    if process.no_new_privileges:
        no_new_privileges()
    elif confine is not None:
        _raise_administration()
        confine()
    apply_capabilities(effective, permitted, inheritable, ambient)


def _set_ids(process: Process, *, keep_groups: bool) -> None:
    try:
        if not keep_groups:
            _set_groups(process)
        os.setresgid(process.gid, process.gid, process.gid)
        os.setresuid(process.uid, process.uid, process.uid)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise _lacking(process) from error


def _lacking(process: Process) -> LaunchError:
    groups = ", ".join(map(str, sorted({process.gid, *process.groups})))
    return LaunchError(
        f"the container's id map lacks user {process.uid} or one of the groups {groups}",
        f"--userns auto:size=N, --uidmap or linux.uidMappings map more; an administrator gives more: {HINT_RANGES}",
    )


def _set_groups(process: Process) -> None:
    try:
        os.setgroups(process.groups)
    except PermissionError:
        # setgroups is denied in a namespace of one id: the caller's groups stay, and no others can be had.
        if set(process.groups) - {process.gid}:
            raise _lacking(process) from None


def _raise_administration() -> None:
    """Make CAP_SYS_ADMIN effective again, which a change to another user id has cleared."""
    everything = (1 << (last_capability() + 1)) - 1
    syscalls.capset(everything, everything, 0)

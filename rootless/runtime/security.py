"""What a container's program may do, applied by the container's init: limits, ids, capabilities, AppArmor, seccomp.

The names and rpod's defaults stand first, for whoever writes a spec (``engine/security_options.py``); then what
init does with them, in the order that the kernel wants (``drop_privileges``).
"""

from __future__ import annotations

import _socket
import errno
import os

from rootless.errors import LaunchError, LimitError, UsageError, os_reason
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
# asm-generic/resource.h: the number is the position; the same on every architecture that rpod runs on.
_LIMITS = "cpu fsize data stack core rss nproc nofile memlock as locks sigpending msgqueue nice rtprio rttime"
LIMITS = tuple(_LIMITS.split())
UNLIMITED = (1 << 64) - 1  # the OCI runtime-spec's RLIM_INFINITY
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


def known_capabilities() -> tuple[str, ...]:
    """Every capability of the running kernel, by number."""
    return CAPABILITIES[: last_capability() + 1]


def capability(name: str) -> str:
    """The full name of a capability, typed in any case, with or without CAP_. UsageError if there is none."""
    full = name.upper()
    if not full.startswith("CAP_"):
        full = f"CAP_{full}"
    if full not in CAPABILITIES:
        raise UsageError(f"unknown capability {name!r}", "man 7 capabilities lists them")
    return full


def mask_of(names: list[str]) -> int:
    """The bit mask of capability names; names that the running kernel lacks are left out."""
    numbers = [CAPABILITIES.index(capability(name)) for name in names]
    last = last_capability()
    return sum(1 << number for number in set(numbers) if number <= last)


# ---- limits ----


def limit_number(name: str) -> int:
    """The number of a limit, named with or without RLIMIT_. UsageError if there is none of that name."""
    short = name.removeprefix("RLIMIT_").lower()
    if short not in LIMITS:
        raise UsageError(f"unknown limit {name}", f"known are {', '.join(LIMITS)}")
    return LIMITS.index(short)


def apply_rlimits(limits: list[tuple[str, int, int]]) -> None:
    """Set limits of this process. LimitError names the one that the kernel refuses."""
    for name, soft, hard in limits:
        try:
            syscalls.prlimit(limit_number(name), (min(soft, UNLIMITED), min(hard, UNLIMITED)))
        except OSError as error:
            raise LimitError(
                f"the limit {name} cannot be set to {soft}:{hard}: {os_reason(error)}", "ulimit -aH"
            ) from error


# ---- privileges ----


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
    """Become ``process.uid`` with its groups and capabilities.

    ``confine`` installs the seccomp filter. It is called here only where ``process.no_new_privileges`` is not set:
    the kernel then wants CAP_SYS_ADMIN, so it comes before the capabilities go, and the filter has to allow capset
    and prctl. With no_new_privileges the caller installs the filter itself, as the last thing before execve.
    ``keep_groups`` leaves the caller's supplementary groups, which have no number in the container
    (crun's ``run.oci.keep_original_groups``). Raises OSError or LaunchError.
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

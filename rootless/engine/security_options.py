"""The options that say what a container's program may do: --cap-add, --cap-drop, --security-opt, --ulimit.

Each becomes the words of a spec, checked; ``runtime/security.py`` has the names, the defaults, and what init
does with them.
"""

from __future__ import annotations

import os

from rootless.errors import LimitError, UnsupportedError, UsageError
from rootless.kernel import files, syscalls
from rootless.kernel.numbers import decimal
from rootless.runtime import security

_CPUS = "/sys/devices/system/cpu"
_MOST_FILES = 1 << 20  # the kernel's fs.nr_open: above it a limit on open files cannot be set


# ---- --cap-add, --cap-drop ----


def capabilities(add: list[str], drop: list[str], *, privileged: bool) -> list[str]:
    """The bounding set that --cap-add, --cap-drop and --privileged make of the default one, by number.

    ALL stands for every capability; with it in one list, the other one's names are exceptions.
    """
    known = security.known_capabilities()
    added = [name for text in add for name in text.split(",")]
    dropped = [name for text in drop for name in text.split(",")]
    all_added, all_dropped = _without_all(added), _without_all(dropped)
    if all_added and all_dropped:
        raise UsageError("--cap-add ALL and --cap-drop ALL exclude each other")
    more = {security.capability(name) for name in added}
    less = {security.capability(name) for name in dropped}
    if both := sorted(more & less):
        raise UsageError(f"capability {both[0]} is both added and dropped")
    start = known if privileged or all_added else () if all_dropped else security.DEFAULT_CAPABILITIES
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
        return [path for path in (*security.MASKED_PATHS, *_thermal_paths()) if not self._unmasked(path)] + self.mask

    def readonly_paths(self) -> list[str]:
        """The paths to show read-only."""
        return [path for path in security.READONLY_PATHS if not self._unmasked(path)]

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


_VALUED = ("seccomp", "apparmor", "mask", "unmask", "proc-opts", "systempaths", "label")


def parse_security_opts(values: list[str]) -> SecurityOptions:
    """``--security-opt`` values, ``NAME=VALUE`` (Docker's old ``NAME:VALUE`` too). Raises UsageError."""
    options = SecurityOptions()
    for text in values:
        separator = "=" if "=" in text else ":"
        name, given, value = text.partition(separator)
        if name == "no-new-privileges":
            options.no_new_privileges = _boolean(text, value if given else "true")
        elif not value and name in _VALUED:
            raise UsageError(f"--security-opt {text}: a value is missing", f"{name}=VALUE")
        else:
            _take_option(options, text, name, value)
    return options


def _take_option(options: SecurityOptions, text: str, name: str, value: str) -> None:
    if name == "seccomp":
        options.seccomp = value if value == "unconfined" else os.path.abspath(value)
    elif name == "apparmor":
        options.apparmor = "" if value == "unconfined" else value
        _check_apparmor(options.apparmor)
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


def _check_apparmor(profile: str) -> None:
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


def seccomp_for(choice: str, capabilities: list[str]) -> dict[str, object]:
    """``linux.seccomp`` for SecurityOptions.seccomp and a bounding set; {} is unconfined."""
    if choice == "unconfined":
        return {}
    if choice:
        from rootless.runtime import seccomp

        return seccomp.load_profile(choice, frozenset(capabilities))
    from rootless.runtime import seccomp_profile

    return seccomp_profile.default(frozenset(capabilities))


# ---- --ulimit ----


def rlimits(values: list[str]) -> list[tuple[str, int, int]]:
    """``--ulimit NAME=SOFT[:HARD]`` values as (RLIMIT_NAME, soft, hard); -1 is unlimited.

    ``host`` leaves the caller's limits alone; without it the limits on open files and on
    processes are the caller's hard ones. Raises LimitError for more than the caller may have.
    """
    found: dict[str, tuple[int, int]] = {}
    if "host" not in values:
        for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC"):
            hard = _allowed(name)
            found[name] = (min(hard, _MOST_FILES), min(hard, _MOST_FILES))
    for text in values:
        if text != "host":
            name, soft, hard = _parse_limit(text)
            found[name] = (soft, hard)
    return [(name, soft, hard) for name, (soft, hard) in found.items()]


def _allowed(name: str) -> int:
    return syscalls.prlimit(security.limit_number(name))[1]


def _parse_limit(text: str) -> tuple[str, int, int]:
    name, _, value = text.partition("=")
    full = "RLIMIT_" + name.upper().removeprefix("RLIMIT_")
    allowed = _allowed(full)
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
        return security.UNLIMITED
    number = decimal(value, security.UNLIMITED)
    if number is None:
        raise UsageError(f"--ulimit {text}: {value!r} is not a number", "NAME=SOFT[:HARD], -1 is unlimited")
    return number

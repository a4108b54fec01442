"""Probes: the kernel, its cgroups, the user's session, and rpod's own helpers."""

from __future__ import annotations

import os
import socket

import rootless
from rootless import paths
from rootless.engine import systemctl
from rootless.engine.doctor import ids
from rootless.engine.doctor.model import Verdict
from rootless.errors import RpodError, os_reason
from rootless.kernel import cgroup2, files, syscalls
from rootless.runtime import cgroup

HELPERS = ("rpod-monitor", "rpod-init")
OLDEST_KERNEL = (5, 12)  # mount_setattr, the newest call that a launch needs
CONTROLLERS = ("cpu", "cpuset", "io", "memory", "pids")
_AT_FDCWD = -100
_PT_INTERP = 3


def kernel() -> Verdict:
    """The system calls that a launch depends on, made for real."""
    release = os.uname().release
    try:
        os.close(syscalls.openat2(_AT_FDCWD, "/", os.O_PATH | os.O_DIRECTORY, syscalls.RESOLVE_IN_ROOT))
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return Verdict(f"Linux {release}: {os_reason(error)}", "kernel-old")
    numbers = release.replace("-", ".").split(".")[:2]
    if all(n.isdecimal() for n in numbers) and tuple(map(int, numbers)) < OLDEST_KERNEL:
        return Verdict(f"Linux {release}", "kernel-old")
    if not ids.status_field("Seccomp"):
        return Verdict(f"Linux {release} without seccomp", "kernel-seccomp")
    return Verdict(f"Linux {release} {os.uname().machine}")


def helpers() -> Verdict:
    """The compiled helpers: there, executable, static, for this machine."""
    folder = f"{os.path.dirname(rootless.__file__)}/_bin"
    for name in HELPERS:
        path = f"{folder}/{name}"
        if not os.access(path, os.X_OK):
            return Verdict(f"{path} is missing or not executable", "helpers-missing")
        if reason := _not_static(path):
            return Verdict(f"{path}: {reason}", "helpers-missing")
    return Verdict(f"{' and '.join(HELPERS)} in {folder}")


def _not_static(path: str) -> str:
    """Why ``path`` is not a static program for this machine, "" if it is one (ELF-64, elf(5))."""
    data = files.read_file(path)
    with open("/proc/self/exe", "rb") as own_file:
        own = own_file.read(20)
    if data[:4] != b"\x7fELF" or data[4:6] != own[4:6] or data[18:20] != own[18:20]:
        return "not a program for this machine"
    offset = int.from_bytes(data[32:40], "little")
    size, count = int.from_bytes(data[54:56], "little"), int.from_bytes(data[56:58], "little")
    kinds = [int.from_bytes(data[at : at + 4], "little") for at in range(offset, offset + size * count, size or 1)]
    return "not linked statically" if _PT_INTERP in kinds else ""


def cgroup_version() -> Verdict:
    """A pure cgroup v2 hierarchy."""
    if cgroup2.unified():
        return Verdict(f"cgroup v2 at {cgroup2.MOUNT}")
    return Verdict(f"{cgroup2.MOUNT} shows cgroup v1 or a mixture", "cgroup-v1")


def delegation() -> Verdict:
    """A cgroup of the user's own to make children in, and the controllers that it has."""
    manager = cgroup.manager("auto")
    if manager == "systemd":
        base = f"{cgroup2.MOUNT}/user.slice/user-{os.geteuid()}.slice/user@{os.geteuid()}.service"
    else:
        base = cgroup2.own_path()
        child = f"{base}/rpod-doctor-{os.getpid()}"
        try:
            os.mkdir(child)
            os.rmdir(child)
        except OSError as error:
            # Where systemd runs, it is asked; it was not, so it does not run for this user.
            cause = "manager-missing" if systemctl.booted() else "delegation-none"
            return Verdict(f"no child can be made in {base}: {os_reason(error)}", cause)
    available = cgroup2.controllers(base)
    missing = [name for name in CONTROLLERS if name not in available]
    if missing:
        cause = "controllers-systemd" if systemctl.booted() else "controllers-none"
        return Verdict(f"{manager}; not delegated: {', '.join(missing)}", cause)
    return Verdict(f"{manager}, with {', '.join(CONTROLLERS)}")


def bus_path() -> str:
    """The Unix socket of the user's D-Bus session, "" if there is none (D-Bus specification, Server Addresses)."""
    for address in os.environ.get("DBUS_SESSION_BUS_ADDRESS", "").split(";"):
        transport, _, rest = address.partition(":")
        options = dict(item.partition("=")[::2] for item in rest.split(","))
        if transport == "unix" and options.get("path"):
            return options["path"]
        if transport == "unix" and options.get("abstract"):
            return "\0" + options["abstract"]
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime}/bus" if runtime and os.path.exists(f"{runtime}/bus") else ""


def session_bus() -> Verdict:
    """The user's D-Bus, connected to."""
    path = bus_path()
    if not path:
        if not systemctl.booted():
            return Verdict("none, and none is needed: systemd does not run here")
        return Verdict("no bus for this user", "bus-missing")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        try:
            client.connect(path)
        except OSError as error:
            return Verdict(f"{path.lstrip(chr(0))}: {os_reason(error)}", "bus-missing")
    return Verdict(path.replace("\0", "@"))


def runtime_directory() -> Verdict:
    """XDG_RUNTIME_DIR: set, the user's, closed to others (XDG Base Directory specification)."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    usual = f"/run/user/{os.geteuid()}"
    try:
        used = paths.runtime()
    except RpodError as error:
        return Verdict(error.message, "runtime-unusable")
    if base and used == f"{base}/rpod":
        return Verdict(base)
    why = "XDG_RUNTIME_DIR is not set" if not base else f"{base} is not a directory of this user with mode 0700"
    if used == f"{usual}/rpod":
        return Verdict(f"{why}; {usual} serves", "runtime-unset")
    return Verdict(f"{why}; {used} stands in", "runtime-systemd" if systemctl.booted() else "runtime-none")


def user_manager() -> Verdict:
    """The user's own systemd, asked for its version."""
    if not systemctl.booted():
        return Verdict("systemd is not this machine's init: containers are not started at boot")
    if not systemctl.available():
        return Verdict("systemd does not run for this user", "manager-missing")
    version = systemctl.call("show", "--property=Version", "--value")
    if version.code:
        return Verdict(f"systemctl --user: {version.text}", "manager-missing")
    return Verdict(f"systemd {version.text}")


def selinux() -> Verdict:
    """SELinux: whether it confines this user, who then may make no user namespaces."""
    enforce = ids.kernel_setting("/sys/fs/selinux/enforce")
    if not enforce:
        return Verdict("not in use")
    with open("/proc/self/attr/current", encoding="ascii", errors="replace") as file:
        label = file.read().strip("\0\n")
    confined = enforce == "1" and label.partition(":")[0] in ("user_u", "guest_u", "xguest_u", "staff_u")
    return Verdict(
        f"{'enforcing' if enforce == '1' else 'permissive'}, {label}", "selinux-confined" if confined else ""
    )


def lingering() -> Verdict:
    """Whether the user's processes outlive the last logout."""
    if not systemctl.booted():
        return Verdict("not needed: systemd does not end sessions here")
    if systemctl.lingers():
        return Verdict("on")
    return Verdict("off", "linger-off")

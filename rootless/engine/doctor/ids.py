"""Probes: who runs rpod, which ids the user has, and what a user namespace of his can do."""

from __future__ import annotations

import contextlib
import os
import stat

from rootless import paths
from rootless.engine.doctor.model import Verdict
from rootless.errors import RpodError
from rootless.kernel import files, spawn, syscalls, userns

WANTED_IDS = 65536
_NAMESPACES = {
    "mnt": syscalls.CLONE_NEWNS,
    "pid": syscalls.CLONE_NEWPID,
    "net": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
_LAYERS_LOOKED_AT = 200
_FIRST_FREE = 100000
_USERNS_SYSCTLS = (  # the file, the value that forbids, the cause; the more specific ones first
    ("/proc/sys/user/max_user_namespaces", "0", "userns-limit"),
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "userns-sysctl"),
    ("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1", "userns-apparmor"),
)


def kernel_setting(path: str) -> str:
    """The content of a file in /proc/sys, or "" where the kernel does not have it."""
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def status_field(name: str) -> str:
    """A field of this process's /proc/self/status, or ""."""
    for line in files.read_file("/proc/self/status").decode().splitlines():
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return ""


def account() -> Verdict:
    """Whether this is an ordinary user."""
    if os.geteuid() == 0 and len(files.read_file("/proc/self/uid_map").split()) == 3:
        outside, size = files.read_file("/proc/self/uid_map").split()[1:]
        if (outside, size) == (b"0", b"4294967295"):
            return Verdict("this is root", "account-root")
    return Verdict(f"{userns.user_name()} ({os.geteuid()})")


def all_ranges(path: str) -> list[tuple[str, int, int]]:
    """Every (owner, first, size) of a subid(5) file."""
    found = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return []
    for line in lines:
        fields = line.split(":")
        if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():
            found.append((fields[0], int(fields[1]), int(fields[2])))
    return found


def free_range() -> str:
    """``FIRST-LAST``: ids that no line of /etc/subuid and /etc/subgid gives to anybody yet."""
    ends = [first + size for path in ("/etc/subuid", "/etc/subgid") for _, first, size in all_ranges(path)]
    first = max([_FIRST_FREE, *ends])
    return f"{first}-{first + WANTED_IDS - 1}"


def _shared(path: str, mine: list[tuple[int, int]]) -> str:
    """The other owner of an id in ``mine``, or ""."""
    owners = (userns.user_name(), str(os.geteuid()))
    for owner, first, size in all_ranges(path):
        if owner not in owners and any(first < low + count and low < first + size for low, count in mine):
            return owner
    return ""


def subordinate_ids() -> Verdict:
    """The user's ranges in /etc/subuid and /etc/subgid (or getsubids): there, large enough, his alone."""
    ranges = userns.read_ranges()
    for kind, path, mine in (("user", "/etc/subuid", ranges.uids), ("group", "/etc/subgid", ranges.gids)):
        total = sum(size for _, size in mine)
        if not total:
            return Verdict(f"no subordinate {kind} ids in {path}", "ranges-missing")
        if total < WANTED_IDS:
            return Verdict(f"only {total} subordinate {kind} ids in {path}", "ranges-small")
        if other := _shared(path, mine):
            return Verdict(f"{path} gives ids of this user to {other}, too", "ranges-shared", {"path": path})
    first = ranges.uids[0][0]
    return Verdict(f"{sum(size for _, size in ranges.uids)} ids from {first}")


def _privileged(path: str, capability: int) -> bool:
    """Whether a program gains ``capability`` (its number) when it starts: set-user-id root, or by its file."""
    info = os.stat(path)
    if info.st_mode & stat.S_ISUID and info.st_uid == 0:
        return True
    try:
        value = os.getxattr(path, "security.capability")
    except OSError:
        return False
    return bool(int.from_bytes(value[4:8], "little") >> capability & 1)  # struct vfs_cap_data, permitted


def id_map_tools() -> Verdict:
    """The tools newuidmap and newgidmap: installed, and allowed to do what they are for."""
    found = []
    for name, capability in (("newuidmap", 7), ("newgidmap", 6)):  # CAP_SETUID, CAP_SETGID
        path = spawn.which(name)
        if path is None:
            return Verdict(f"{name} is not installed", "tools-missing")
        if os.statvfs(path).f_flag & os.ST_NOSUID:
            return Verdict(f"{path} is on a file system mounted nosuid", "tools-nosuid", {"tool": path})
        if not _privileged(path, capability):
            return Verdict(f"{path} is neither set-user-id root nor has it capabilities", "tools-mode", {"tool": path})
        found.append(path)
    if status_field("NoNewPrivs") == "1":
        return Verdict("this process was started with no_new_privs", "no-new-privs")
    return Verdict(", ".join(found))


def single_map() -> userns.IdMap:
    """A map of the user's own id alone: needs no tools and no ranges."""
    return userns.IdMap([userns.Extent(0, os.geteuid(), 1)], [userns.Extent(0, os.getegid(), 1)])


def user_namespace() -> Verdict:
    """A user namespace, and a mount in it: some kernels give the one without the power for the other."""

    def work() -> str:
        syscalls.mount("tmpfs", "/tmp", "tmpfs")
        return status_field("CapEff")

    try:
        capabilities = int(str(userns.call_inside(work, single_map())), 16)
    except RpodError as error:
        profile = apparmor_profile()
        return Verdict(error.message, _userns_cause(profile), {"profile": profile})
    return Verdict(f"{capabilities.bit_count()} capabilities inside")


def apparmor_profile() -> str:
    """The AppArmor profile that confines this process, "" if none does (apparmor(7))."""
    try:
        with open("/proc/self/attr/apparmor/current", encoding="ascii", errors="replace") as file:
            label = file.read().strip("\0\n")
    except OSError:
        return ""  # the kernel has no AppArmor, or it is off
    name, _, mode = label.rpartition(" ")
    return name if mode == "(enforce)" else ""


def _userns_cause(profile: str) -> str:
    if not os.path.exists("/proc/self/ns/user"):
        return "userns-kernel"
    for path, forbids, cause in _USERNS_SYSCTLS:
        if kernel_setting(path) == forbids:
            return cause
    if profile:
        return "userns-profile"
    if not _root_is_a_mount():
        return "userns-chroot"
    return "userns-seccomp" if status_field("Seccomp") == "2" else "userns-unknown"


def namespaces() -> Verdict:
    """One of every kind that a container has, made in a user namespace."""
    flags = 0
    for kind, flag in _NAMESPACES.items():
        flags |= flag
        try:
            _, status = os.waitpid(userns.fork_inside(lambda: None, single_map(), flags), 0)
        except RpodError as error:
            limit = kernel_setting(f"/proc/sys/user/max_{kind}_namespaces")
            cause = "namespaces-limit" if limit == "0" else "namespaces-kernel"
            return Verdict(f"no {kind} namespace: {error.message}", cause, {"kind": kind})
        if status:
            return Verdict(f"no {kind} namespace", "namespaces-kernel", {"kind": kind})
    return Verdict(", ".join(_NAMESPACES))


def stored_ids() -> Verdict:
    """Whether the owners of what is stored are among the user's ids: a range that was moved makes them strangers."""
    ranges = userns.read_ranges()
    layers = f"{paths.data()}/layers"
    try:
        names = sorted(os.listdir(layers))[:_LAYERS_LOOKED_AT]
    except OSError:
        return Verdict("nothing is stored yet")
    for name in names:
        with contextlib.suppress(OSError), os.scandir(f"{layers}/{name}/fs") as entries:
            for entry in entries:
                uid = entry.stat(follow_symlinks=False).st_uid
                if uid != os.geteuid() and not any(first <= uid < first + size for first, size in ranges.uids):
                    return Verdict(f"{entry.path} belongs to id {uid}, which is not yours now", "ids-moved")
    return Verdict(f"{len(names)} layers belong to this user's ids")


def _root_is_a_mount() -> bool:
    """False after a chroot into a directory: the kernel refuses user namespaces there (current_chrooted)."""
    lines = files.read_file("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines()
    return any(line.split(" ")[4] == "/" for line in lines)


def id_maps() -> Verdict:
    """The user's whole range mapped into a namespace, and files given to ids of it."""
    maps = userns.default_map(userns.read_ranges())
    if maps.single:
        return Verdict("only the user's own id can be mapped", "ranges-missing")
    last = sum(extent.size for extent in maps.uids) - 1, sum(extent.size for extent in maps.gids) - 1

    def work() -> bool:
        syscalls.mount("tmpfs", "/tmp", "tmpfs")
        os.close(os.open("/tmp/file", os.O_CREAT | os.O_WRONLY))
        os.chown("/tmp/file", *last)
        info = os.stat("/tmp/file")
        return (info.st_uid, info.st_gid) == last

    try:
        kept = userns.call_inside(work, maps)
    except RpodError as error:
        return Verdict(error.message, "maps-refused")
    return Verdict(f"ids 0 to {last[0]}") if kept else Verdict("a file did not keep its owner", "maps-refused")

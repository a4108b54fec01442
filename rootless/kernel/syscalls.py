"""System calls that the standard library does not have: call, check, raise.

Each wrapper raises OSError with the kernel's errno and the name it was called with.
Flags keep the kernel's names (include/uapi/linux).
"""

from __future__ import annotations

import os
import sys

from rootless.kernel import libc
from rootless.kernel.libc import Pair, check, word, words

CLONE_PARENT = 0x00008000
CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY = 1
MS_REMOUNT = 32
MS_BIND = 4096
MS_MOVE = 8192
MS_REC = 16384
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_KEEPCAPS = 8
PR_SET_SECCOMP = 22
PR_CAPBSET_READ = 23
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

OPEN_TREE_CLONE = 1
OPEN_TREE_CLOEXEC = os.O_CLOEXEC
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_EMPTY_PATH = 0x40
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8
MOUNT_ATTR_NOATIME = 0x10
MOUNT_ATTR_STRICTATIME = 0x20
MOUNT_ATTR_NODIRATIME = 0x80
MOUNT_ATTR_ATIME_MASK = 0x70
MOUNT_ATTR_IDMAP = 0x100000
MOUNT_ATTR_NOSYMFOLLOW = 0x200000
FSCONFIG_SET_FLAG = 0
FSCONFIG_SET_STRING = 1
FSCONFIG_CMD_CREATE = 6

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SIGCHLD = 17
_CAPABILITY_VERSION_3 = 0x20080522
_CLONE_INTO_CGROUP = 0x200000000
# The new mount calls, openat2 and clone3 have one number on every architecture (asm-generic).
_CLONE3 = 435
_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_CLOSE_RANGE, _OPENAT2, _MOUNT_SETATTR = 436, 437, 442
_CLOSE_RANGE_CLOEXEC = 4
_UNDER_LINUX32 = {"i686": "x86_64", "armv8l": "aarch64"}  # what personality(2) makes of the machine in uname(2)


def _machine() -> str:
    """The machine whose system calls this interpreter makes, whatever personality it was started with."""
    said = os.uname().machine
    return _UNDER_LINUX32.get(said, said) if sys.maxsize > 1 << 32 else said


MACHINE = _machine()
_ARCH = {  # pivot_root, keyctl
    "x86_64": (155, 250),
    "aarch64": (41, 219),
    "riscv64": (41, 219),
}


_syscall = libc.system_call()
_mount = libc.function("mount")
_umount2 = libc.function("umount2")
_unshare = libc.function("unshare")
_setns = libc.function("setns")
_prctl = libc.function("prctl")
_capset = libc.function("capset")


def _bytes(path: str | bytes | None) -> bytes | None:
    return path.encode("utf-8", "surrogateescape") if isinstance(path, str) else path


def _numbers() -> tuple[int, int]:
    try:
        return _ARCH[MACHINE]
    except KeyError:
        raise OSError(38, f"rpod does not know the system calls of {MACHINE}") from None


def clone(flags: int, cgroup_fd: int = -1) -> int:
    """fork(2) into the new namespaces of ``flags``; 0 in the child, the child's pid in the parent.

    With ``cgroup_fd`` the child is born in that cgroup (clone3(2), CLONE_INTO_CGROUP): moving it
    there later would wait for an RCU grace period, 10 ms. Python's own fork hooks run around the
    call, so that both sides are ordinary interpreters.
    """
    if cgroup_fd >= 0:
        flags |= _CLONE_INTO_CGROUP
    # struct clone_args: flags pidfd child_tid parent_tid exit_signal stack stack_size tls set_tid set_tid_size cgroup
    exit_signal = 0 if flags & CLONE_PARENT else _SIGCHLD
    arguments = words(flags, 0, 0, 0, exit_signal, 0, 0, 0, 0, 0, max(cgroup_fd, 0))
    libc.function("PyOS_BeforeFork")()
    pid = _syscall(_CLONE3, arguments, word(len(arguments)))
    if pid == 0:
        libc.function("PyOS_AfterFork_Child")()
        return 0
    error = libc.error("clone3")
    libc.function("PyOS_AfterFork_Parent")()
    if pid < 0:
        raise error
    return pid


def unshare(flags: int) -> None:
    """unshare(2)."""
    check(_unshare(flags), "unshare")


def setns(fd: int, flags: int = 0) -> None:
    """setns(2): ``fd`` is a namespace file or, with several flags, a pidfd."""
    check(_setns(fd, flags), "setns")


def mount(source: str | None, target: str, fstype: str | None = None, flags: int = 0, data: str | None = None) -> None:
    """mount(2)."""
    check(_mount(_bytes(source), _bytes(target), _bytes(fstype), word(flags), _bytes(data)), target)


def umount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    check(_umount2(_bytes(target), flags), target)


def pivot_root(new_root: str, put_old: str) -> None:
    """pivot_root(2)."""
    check(_syscall(_numbers()[0], _bytes(new_root), _bytes(put_old)), new_root)


def new_session_keyring() -> None:
    """keyctl(KEYCTL_JOIN_SESSION_KEYRING): the caller's keys stay with the caller."""
    check(_syscall(_numbers()[1], 1, None), "keyctl")


def prctl(option: int, arg2: int = 0, arg3: int = 0) -> int:
    """prctl(2) with integer arguments."""
    return check(_prctl(option, word(arg2), word(arg3), word(0), word(0)), "prctl")


def prlimit(resource: int, new: tuple[int, int] | None = None) -> tuple[int, int]:
    """prlimit(2) of this process: the soft and hard limit as they were; ``new`` ones are set. 2**64-1 is unlimited.

    The module ``resource`` is a library that every command would have to load: 0.3 ms.
    """
    before = Pair()
    given = None if new is None else words(*new)
    check(libc.function("prlimit")(0, resource, given, before))
    return before[0], before[1]


def install_seccomp(program: bytes) -> None:
    """Install a BPF filter: ``program`` is an array of 8-byte struct sock_filter."""
    filters = libc.Address(program)
    # struct sock_fprog: a 16-bit count, padding up to the pointer.
    fprog = words(len(program) // 8) + filters.packed
    check(_prctl(PR_SET_SECCOMP, word(SECCOMP_MODE_FILTER), fprog), "seccomp")


def capset(effective: int, permitted: int, inheritable: int) -> None:
    """capset(2) for this process; each argument is a bit mask of capability numbers."""
    header = _CAPABILITY_VERSION_3.to_bytes(4, "little") + bytes(4)
    masks = [mask & 0xFFFFFFFF for mask in (effective, permitted, inheritable)]
    masks += [mask >> 32 for mask in (effective, permitted, inheritable)]
    check(_capset(header, b"".join(mask.to_bytes(4, "little") for mask in masks)), "capset")


def openat2(dirfd: int, path: str, flags: int, resolve: int, mode: int = 0) -> int:
    """openat2(2): a descriptor that never leaves what ``resolve`` (RESOLVE_*) allows."""
    how = words(flags | os.O_CLOEXEC, mode, resolve)
    return check(_syscall(_OPENAT2, dirfd, _bytes(path), how, word(len(how))), path)


def open_tree(dirfd: int, path: str, flags: int) -> int:
    """open_tree(2): with OPEN_TREE_CLONE a detached copy of a mount."""
    return check(_syscall(_OPEN_TREE, dirfd, _bytes(path), flags | OPEN_TREE_CLOEXEC), path)


def move_mount(from_fd: int, to_fd: int, to_path: str = "") -> None:
    """move_mount(2) of the mount ``from_fd`` to ``to_path`` under ``to_fd`` ("" is ``to_fd`` itself)."""
    flags = MOVE_MOUNT_F_EMPTY_PATH | (0 if to_path else MOVE_MOUNT_T_EMPTY_PATH)
    check(_syscall(_MOVE_MOUNT, from_fd, b"", to_fd, _bytes(to_path), flags), to_path or "move_mount")


def mount_setattr(
    fd: int, set_: int, clear: int = 0, *, propagation: int = 0, user_namespace: int = 0, recursive: bool = False
) -> None:
    """mount_setattr(2) on the mount at ``fd``: MOUNT_ATTR_* bits to set and clear, MS_* propagation.

    ``user_namespace`` is the descriptor that MOUNT_ATTR_IDMAP needs.
    """
    attr = words(set_, clear, propagation, user_namespace)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    check(_syscall(_MOUNT_SETATTR, fd, b"", flags, attr, word(len(attr))), "mount_setattr")


def syncfs(fd: int) -> None:
    """syncfs(2): everything written so far to the file system of ``fd`` is on the disk."""
    check(libc.function("syncfs")(fd), "syncfs")


def close_on_exec_from(first: int) -> None:
    """Mark every descriptor from ``first`` on to be closed by the next exec."""
    check(_syscall(_CLOSE_RANGE, first, 0xFFFFFFFF, _CLOSE_RANGE_CLOEXEC), "close_range")


def fsmount(fstype: str, options: list[tuple[str, str]], attr: int = 0) -> int:
    """A detached mount of a new ``fstype`` made with ``options``; returns its descriptor.

    An option with the value "" is a flag. ``attr`` are MOUNT_ATTR_* bits.
    """
    fd = check(_syscall(_FSOPEN, _bytes(fstype), 1), fstype)
    try:
        for key, value in options:
            command, text = (FSCONFIG_SET_STRING, _bytes(value)) if value else (FSCONFIG_SET_FLAG, None)
            check(_syscall(_FSCONFIG, fd, command, _bytes(key), text, 0), f"{key}={value}")
        check(_syscall(_FSCONFIG, fd, FSCONFIG_CMD_CREATE, None, None, 0), fstype)
        return check(_syscall(_FSMOUNT, fd, 1, attr), fstype)
    finally:
        os.close(fd)

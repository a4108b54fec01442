"""System calls that few containers need; the rest, and how they are written, is in ``syscalls``."""

from __future__ import annotations

from rootless.kernel import libc
from rootless.kernel.libc import Address, check, word, words
from rootless.kernel.syscalls import MACHINE

# seccomp(2), sched_setattr(2), ioprio_set(2)
_ARCH = {"x86_64": (317, 314, 251), "aarch64": (277, 274, 30), "riscv64": (277, 274, 30)}
_SECCOMP_SET_MODE_FILTER = 1
SECCOMP_FLAGS = {  # linux/seccomp.h
    "SECCOMP_FILTER_FLAG_TSYNC": 1,
    "SECCOMP_FILTER_FLAG_LOG": 2,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 4,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": 32,
}
_NEW_LISTENER = 8
_TSYNC, _TSYNC_ESRCH = 1, 16

_syscall = libc.system_call()


def _number(index: int) -> int:
    try:
        return _ARCH[MACHINE][index]
    except KeyError:
        raise OSError(38, f"rpod does not know the system calls of {MACHINE}") from None


def seccomp(program: bytes, flags: int, *, listener: bool) -> int:
    """Install a filter with SECCOMP_FLAGS; with ``listener`` returns the descriptor of its notifications.

    ``program`` is an array of 8-byte struct sock_filter.
    """
    filters = Address(program)
    if listener:
        # Linux 5.7: with TSYNC the result would be a thread's id, unless ESRCH takes its place.
        flags |= _NEW_LISTENER | (_TSYNC_ESRCH if flags & _TSYNC else 0)
    fprog = words(len(program) // 8) + filters.packed
    return check(_syscall(_number(0), _SECCOMP_SET_MODE_FILTER, flags, fprog), "seccomp")


def sched_setattr(policy: int, flags: int, nice: int, priority: int, times_ns: tuple[int, int, int]) -> None:
    """sched_setattr(2) for this process; ``times_ns`` are runtime, deadline and period of SCHED_DEADLINE."""
    # struct sched_attr: u32 size, policy; u64 flags; s32 nice; u32 priority; u64 runtime, deadline, period
    head = (48).to_bytes(4, "little") + policy.to_bytes(4, "little") + flags.to_bytes(8, "little")
    middle = nice.to_bytes(4, "little", signed=True) + priority.to_bytes(4, "little")
    check(_syscall(_number(1), 0, head + middle + words(*times_ns), 0), "sched_setattr")


def ioprio_set(class_: int, priority: int) -> None:
    """ioprio_set(2) for this process."""
    check(_syscall(_number(2), 1, 0, class_ << 13 | priority), "ioprio_set")


def personality(persona: int) -> None:
    """personality(2)."""
    check(libc.function("personality")(word(persona)), "personality")


def setdomainname(name: str) -> None:
    """setdomainname(2) in this process's UTS namespace."""
    data = name.encode()
    check(libc.function("setdomainname")(data, word(len(data))), "setdomainname")

"""The kernel's cgroup v2 files (cgroup-v2.rst): where this process is, and what is done to a cgroup as a whole."""

from __future__ import annotations

import errno
import os
import select
import time

from rootless.errors import LimitError
from rootless.kernel import files

MOUNT = "/sys/fs/cgroup"
_FREEZE_WAIT_S = 10.0
_DEATH_WAIT_S = 10.0  # on a busy machine what was killed needs its turn to die


def unified() -> bool:
    """Whether the machine shows a pure cgroup v2 hierarchy."""
    return os.path.exists(f"{MOUNT}/cgroup.controllers")


def own_path() -> str:
    """The directory of this process's cgroup, "" without cgroup v2."""
    if not unified():
        return ""
    for line in files.read_file("/proc/self/cgroup").decode().splitlines():
        if line.startswith("0::"):
            return MOUNT + line[3:].rstrip("/")
    return ""


def controllers(path: str) -> list[str]:
    """The controllers that are delegated to the cgroup directory ``path``."""
    try:
        return files.read_file(f"{path}/cgroup.controllers").decode().split()
    except OSError:
        return []


def processes(path: str) -> list[int]:
    """The pids of a cgroup's processes, and of those below it."""
    found: list[int] = []
    for folder, _, _ in os.walk(path):
        try:
            found += [int(pid) for pid in files.read_file(f"{folder}/cgroup.procs").split()]
        except OSError:
            continue  # it was removed in between
    return sorted(found)


def kill(path: str) -> None:
    """Kill everything in a cgroup (cgroup.kill, Linux 5.14; else one by one)."""
    try:
        files.write_plain(f"{path}/cgroup.kill", "1")
    except FileNotFoundError:
        try:
            pids = files.read_file(f"{path}/cgroup.procs").split()
        except OSError:
            return
        for pid in pids:
            os.kill(int(pid), 9)
    except OSError:
        pass  # it went away in between


def remove(path: str) -> None:
    """Remove a container's cgroup with the ones made below it; what is still busy is killed first."""
    if not path:
        return
    deadline = time.monotonic() + _DEATH_WAIT_S
    while time.monotonic() < deadline:
        try:
            _remove_tree(path)
            return
        except (FileNotFoundError, PermissionError):
            return  # gone, or not ours to remove
        except OSError:
            kill(path)
            time.sleep(0.01)


def _remove_tree(path: str) -> None:
    try:
        os.rmdir(path)  # without a descriptor: they may have run out
        return
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            _remove_tree(entry.path)
    os.rmdir(path)


def freeze(path: str, frozen: bool) -> None:
    """Freeze or thaw a cgroup, and wait until all of it is (cgroup-v2.rst, "cgroup.freeze").

    Raises LimitError where there is no cgroup; OSError(ETIMEDOUT), with the cgroup thawed again, where
    a process hangs in the kernel.
    """
    if not path:
        raise LimitError("it has no cgroup of its own, so it cannot be frozen", "rpod doctor delegation")
    files.write_plain(f"{path}/cgroup.freeze", "1" if frozen else "0")
    if not _await_event(path, b"frozen 1" if frozen else b"frozen 0"):
        files.write_plain(f"{path}/cgroup.freeze", "0")
        raise TimeoutError(errno.ETIMEDOUT, "a process hangs in the kernel and does not stop", path)


def _await_event(path: str, line: bytes) -> bool:
    """Wait for a line of cgroup.events; the kernel reports a change as POLLPRI. False after _FREEZE_WAIT_S."""
    fd = os.open(f"{path}/cgroup.events", os.O_RDONLY)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLPRI)
        deadline = time.monotonic() + _FREEZE_WAIT_S
        while line not in os.pread(fd, 4096, 0):
            rest_s = deadline - time.monotonic()
            if rest_s <= 0:
                return False
            poll.poll(rest_s * 1000)
        return True
    finally:
        os.close(fd)

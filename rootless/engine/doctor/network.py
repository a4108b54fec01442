"""Probes: the programs that connect a container's network namespace with the world."""

from __future__ import annotations

import contextlib
import os
import select

from rootless.engine.doctor import ids, storage
from rootless.engine.doctor.model import Verdict
from rootless.errors import RpodError
from rootless.kernel import spawn, syscalls, userns

_WAIT_S = 5.0


def slirp4netns() -> Verdict:
    """slirp4netns, started on a namespace of its own until its tap device is up."""
    program = spawn.which("slirp4netns")
    if program is None:
        return Verdict("slirp4netns is not installed", "slirp-missing")
    if trouble := storage.open_device("/dev/net/tun", "tun-device-missing", "tun-device-closed"):
        return trouble
    hold, release = os.pipe()

    def work() -> None:
        os.close(release)
        os.read(hold, 1)  # until the parent lets go, or dies

    try:
        pid = userns.fork_inside(work, ids.single_map(), syscalls.CLONE_NEWNS | syscalls.CLONE_NEWNET)
    except RpodError as error:
        os.close(release)
        return Verdict(error.message, "slirp-refused")
    finally:
        os.close(hold)
    try:
        words = _start_slirp(program, pid)
    finally:
        os.close(release)
        os.waitpid(pid, 0)
    if words is not None:
        return Verdict(words, "slirp-refused")
    return Verdict(storage.version_of(program))


def _start_slirp(program: str, pid: int) -> str | None:
    """None when slirp4netns reports ready on the namespaces of ``pid``, else its last words."""
    ready, ready_end = os.pipe()
    output, output_end = os.pipe()
    argv = [program, "--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox"]
    argv += ["--enable-seccomp", "--ready-fd=3", str(pid), "tap0"]
    child = spawn.start(argv, fds={1: output_end, 2: output_end, 3: ready_end})
    os.close(ready_end)
    os.close(output_end)
    try:
        readable, _, _ = select.select([ready], [], [], _WAIT_S)
        if readable and os.read(ready, 1) == b"1":
            return None
        _stop(child)
        lines = os.read(output, 4096).decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "slirp4netns did not become ready"
    finally:
        _stop(child)
        os.close(ready)
        os.close(output)


def _stop(pid: int) -> None:
    """Kill and reap a child of ours; harmless the second time."""
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def pasta() -> Verdict:
    """pasta, running a command in a namespace that it made and configured."""
    program = spawn.which("pasta")
    if program is None:
        return Verdict("pasta is not installed", "pasta-missing")
    if trouble := storage.open_device("/dev/net/tun", "tun-device-missing", "tun-device-closed"):
        return trouble
    output, output_end = os.pipe()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    argv = [program, "--config-net", "--quiet", "--", spawn.which("true") or "/bin/true"]
    child = spawn.start(argv, fds={0: null, 1: output_end, 2: output_end})
    os.close(null)
    os.close(output_end)
    try:
        code = _wait_bounded(child)
        if code == 0:
            return Verdict(storage.version_of(program))
        os.set_blocking(output, False)
        with contextlib.suppress(BlockingIOError):
            lines = os.read(output, 4096).decode("utf-8", "replace").strip().splitlines()
            return Verdict(lines[-1] if lines else f"pasta ended with {code}", "pasta-refused")
        return Verdict(f"pasta ended with {code}", "pasta-refused")
    finally:
        os.close(output)


def _wait_bounded(pid: int) -> int:
    """A child's exit code; 124 after _WAIT_S seconds, when it is killed."""
    watch = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        if not poller.poll(_WAIT_S * 1000):
            _stop(pid)
            return 124
        return spawn.wait(pid)
    finally:
        os.close(watch)

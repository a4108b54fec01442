"""Probes: the programs that connect a container's network namespace with the world."""

from __future__ import annotations

import os
import select

from rootless.engine.doctor import ids, storage
from rootless.engine.doctor.model import Verdict
from rootless.errors import RpodError
from rootless.kernel import spawn, syscalls, userns
from rootless.network.driver import end_child, wait_readable, words_file, words_of

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
    words = words_file()
    argv = [program, "--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox"]
    argv += ["--enable-seccomp", "--ready-fd=3", str(pid), "tap0"]
    child = spawn.start(argv, fds={1: words, 2: words, 3: ready_end})
    os.close(ready_end)
    try:
        return None if wait_readable(ready, child, "slirp4netns") else words_of(words)
    finally:
        end_child(child)
        os.close(ready)
        os.close(words)


def pasta() -> Verdict:
    """pasta, running a command in a namespace that it made and configured."""
    program = spawn.which("pasta")
    if program is None:
        return Verdict("pasta is not installed", "pasta-missing")
    if trouble := storage.open_device("/dev/net/tun", "tun-device-missing", "tun-device-closed"):
        return trouble
    words = words_file()
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    argv = [program, "--config-net", "--quiet", "--", spawn.which("true") or "/bin/true"]
    child = spawn.start(argv, fds={0: null, 1: words, 2: words})
    os.close(null)
    try:
        code = _wait_bounded(child)
        if code:
            return Verdict(f"pasta ended with {code}: {words_of(words)}", "pasta-refused")
        return Verdict(storage.version_of(program))
    finally:
        os.close(words)


def _wait_bounded(pid: int) -> int:
    """A child's exit code; 124 after _WAIT_S seconds, when it is killed."""
    watch = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(watch, select.POLLIN)
        if not poller.poll(_WAIT_S * 1000):
            end_child(pid)
            return 124
        return spawn.wait(pid)
    finally:
        os.close(watch)

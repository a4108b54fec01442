"""What an exec in a container needs from outside of it: the sealed static init, and the seccomp filter."""

from __future__ import annotations

import fcntl
import os

import rootless
from rootless.errors import LaunchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Spec

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Program:
    """``fd`` is the sealed static init, ``filter`` the BPF program, b"" for none."""

    __slots__ = ("fd", "filter")

    def __init__(self, fd: int, filter_: bytes) -> None:
        self.fd = fd
        self.filter = filter_


def prepare(spec: Spec) -> Program:
    """What the exec of ``spec``'s program needs; to be had before the root changes."""
    from rootless.runtime import seccomp

    return Program(_seal_init(), seccomp.program_for(spec.seccomp) if spec.seccomp else b"")


def helper(name: str) -> str:
    """The path of one of rpod's static programs. LaunchError if the installation lacks it."""
    path = f"{os.path.dirname(rootless.__file__)}/_bin/{name}"
    if not os.access(path, os.X_OK):
        raise LaunchError(f"{path} is missing: rpod's C helpers were not built", "pip install --force-reinstall rpod")
    return path


def _seal_init() -> int:
    """A sealed copy of the static init in memory: what /proc/self/exe shows can harm nobody (CVE-2019-5736)."""
    source = os.open(helper("rpod-init"), os.O_RDONLY)
    try:
        fd = os.memfd_create("rpod-init", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        size = os.fstat(source).st_size
        sent = 0
        while sent < size:
            sent += os.sendfile(fd, source, sent, size - sent)
    finally:
        os.close(source)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
    return fd

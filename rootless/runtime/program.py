"""What an exec in a container needs from outside of it: the sealed static init, and the seccomp filter."""

from __future__ import annotations

import fcntl
import os

import rootless
from rootless.errors import LaunchError
from rootless.runtime import security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.notify import Installer
    from rootless.spec import Spec

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Program:
    """``fd`` is the sealed static init, ``filter`` the BPF program, b"" for none."""

    __slots__ = ("_installer", "fd", "filter")

    def __init__(self, fd: int, filter_: bytes, installer: Installer | None = None) -> None:
        self.fd = fd
        self.filter = filter_
        self._installer = installer

    def confine(self) -> None:
        """Put the filter over this process (irrevocable). LaunchError where the kernel refuses."""
        (self._installer or security.install)(self.filter)

    @property
    def notifies(self) -> bool:
        """Whether the filter has an agent to ``tell``."""
        return self._installer is not None

    def tell(self, pid: int, state: dict[str, object]) -> None:
        """What the filter's agent is told: the process as the host sees it, and the container's state."""
        if self._installer is not None:
            self._installer.pid, self._installer.state = pid, state


def prepare(spec: Spec) -> Program:
    """What the exec of ``spec``'s program needs; to be had before the root changes."""
    if not spec.seccomp:
        return Program(_seal_init(), b"")
    from rootless.runtime import seccomp

    filter_ = seccomp.program_for(spec.seccomp)
    if spec.seccomp.get("flags") or spec.seccomp.get("listenerPath"):
        from rootless.runtime import notify

        return Program(_seal_init(), filter_, notify.Installer(spec.seccomp))
    return Program(_seal_init(), filter_)


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

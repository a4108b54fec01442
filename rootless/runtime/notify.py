"""Seccomp filters with flags, and those whose agent decides over calls (SECCOMP_RET_USER_NOTIF).

The agent listens at ``linux.seccomp.listenerPath``. It is connected to while the host's files are
in sight, and gets the notifications' descriptor with the container process state (runtime-spec,
config-linux.md, "The Container Process State") once the filter is in place.
"""

from __future__ import annotations

import _socket
import os

from rootless.errors import LaunchError, os_reason
from rootless.kernel import fastjson, syscalls_rare, unix

_STATE_VERSION = "1.0.2"


class Installer:
    """Installs a filter as ``linux.seccomp`` wants it. ``state`` is the container's, ``pid`` the process's."""

    __slots__ = ("_flags", "_metadata", "_path", "_sock", "pid", "state")

    def __init__(self, profile: dict[str, object]) -> None:
        """``profile`` is checked JSON. LaunchError when nobody listens."""
        flags = profile.get("flags") or []
        assert isinstance(flags, list)
        self._flags = sum(syscalls_rare.SECCOMP_FLAGS[flag] for flag in set(flags))
        self._path = str(profile.get("listenerPath") or "")
        self._metadata = str(profile.get("listenerMetadata") or "")
        self.state: dict[str, object] = {}
        self.pid = 0
        self._sock: _socket.socket | None = None
        if self._path:
            try:
                self._sock = unix.connect(self._path, unix.STREAM)
            except OSError as error:
                raise LaunchError(
                    f"config.json: linux.seccomp.listenerPath: nobody listens at {self._path}: {os_reason(error)}"
                ) from error

    def __call__(self, program: bytes) -> None:
        """Install ``program`` in this process. Raises LaunchError."""
        try:
            fd = syscalls_rare.seccomp(program, self._flags, listener=self._sock is not None)
            if self._sock is not None:
                self._send(self._sock, fd)
        except OSError as error:
            raise LaunchError(f"the seccomp filter cannot be installed: {os_reason(error)}") from error

    def _send(self, sock: _socket.socket, fd: int) -> None:
        state = {
            "ociVersion": _STATE_VERSION,
            "fds": ["seccompFd"],
            "pid": self.pid,
            "metadata": self._metadata,
            "state": {**self.state, "pid": self.state.get("pid") or self.pid},
        }
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, "little"))]
        sock.sendmsg([fastjson.dumps(state).encode()], rights, _socket.MSG_NOSIGNAL)
        sock.close()
        os.close(fd)

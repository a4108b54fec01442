"""The hooks of config.json: programs that run at six moments of a container's life.

Source: opencontainers/runtime-spec, config.md, "POSIX-platform Hooks". The state is given on
standard input as a file in memory: whoever does not read it breaks nothing.
"""

from __future__ import annotations

import os
import select

from rootless.errors import LaunchError, os_reason
from rootless.kernel import fastjson, spawn

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
_NOT_STARTED = 127


class Hook:
    """One program: ``timeout_s`` of 0 waits for ever."""

    __slots__ = ("args", "env", "kind", "path", "timeout_s")

    def __init__(self, kind: str, value: dict[str, object]) -> None:
        """``value`` is the checked JSON of one element."""
        self.kind = kind
        self.path = str(value["path"])
        self.args = _strings(value, "args") or [self.path]
        self.env = dict(entry.partition("=")[::2] for entry in _strings(value, "env"))
        timeout = value.get("timeout") or 0
        assert isinstance(timeout, int)
        self.timeout_s = timeout

    def run(self, state: bytes, folder: str) -> None:
        """Run it in ``folder`` with ``state`` on its standard input. LaunchError when it fails or takes too long."""
        fd = os.memfd_create("state", os.MFD_CLOEXEC)
        os.write(fd, state)
        os.lseek(fd, 0, os.SEEK_SET)
        pid = os.fork()
        if pid == 0:
            self._exec(fd, folder)
        os.close(fd)
        code = self._wait(pid)
        if code:
            raise LaunchError(f"the {self.kind} hook {self.path} {self._ending(code)}", "its own words are above")

    def _exec(self, stdin: int, folder: str) -> None:
        try:
            os.dup2(stdin, 0)
            os.chdir(folder)
            os.execve(self.path, self.args, self.env)
        except OSError as error:
            os.write(2, f"{self.path}: {os_reason(error)}\n".encode())
        finally:
            os._exit(_NOT_STARTED)

    def _wait(self, pid: int) -> int:
        """Its exit code as a shell says it; -1 after the timeout."""
        if self.timeout_s:
            pidfd = os.pidfd_open(pid)
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            in_time = bool(poll.poll(self.timeout_s * 1000))
            os.close(pidfd)
            if not in_time:
                os.kill(pid, 9)
                spawn.wait(pid)
                return -1
        return spawn.wait(pid)

    def _ending(self, code: int) -> str:
        if code < 0:
            return f"did not end within {self.timeout_s} s"
        return "cannot be started" if code == _NOT_STARTED else f"ended with {code}"


class Hooks:
    """All hooks of a container, and the state that they are told."""

    __slots__ = ("_hooks", "folder", "state")

    def __init__(self, value: dict[str, object], state: dict[str, object]) -> None:
        """``value`` is the checked ``hooks``; ``state`` the container's, whose pid and status change."""
        self._hooks = {kind: [Hook(kind, item) for item in _list(value, kind)] for kind in KINDS}
        self.state = state
        self.folder = str(state["bundle"])

    def has(self, *kinds: str) -> bool:
        """Whether there is a hook of any of ``kinds``."""
        return any(self._hooks[kind] for kind in kinds)

    def run(self, kind: str, status: str, *, inside: bool = False) -> None:
        """Run all of one kind in their order. LaunchError at the first that fails.

        ``inside``: paths are the container's, and the bundle's directory is out of sight.
        """
        state = fastjson.dumps({**self.state, "status": status}).encode()
        for hook in self._hooks[kind]:
            hook.run(state, "/" if inside else self.folder)


def _list(value: dict[str, object], key: str) -> list[dict[str, object]]:
    found = value.get(key) or []
    assert isinstance(found, list)
    return found


def _strings(value: dict[str, object], key: str) -> list[str]:
    return [str(item) for item in _list(value, key)]

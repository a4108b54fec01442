"""``exec``: a second program in a running container."""

from __future__ import annotations

import os

from rootless.engine import facts, values
from rootless.engine.session import CHUNK_BYTES, DETACHED, Peer, Session, write_all
from rootless.errors import UsageError
from rootless.kernel import process, spawn, tty
from rootless.runtime import join, limits, security
from rootless.runtime.streams import Streams
from rootless.state import events
from rootless.state.container import Container, not_running, paused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.options import ExecOptions
    from rootless.spec import Spec


def exec_(container: Container, options: ExecOptions) -> int:
    """Run a program in ``container``; returns its exit code, 0 at once with ``detach``."""
    plan = prepare(container, options)
    streams = _streams(options)
    joined = join.start_program(plan, streams)
    os.close(plan.init_pidfd)
    events.of_container(container.record, "exec")
    if options.detach:
        return 0
    if joined.master >= 0:
        streams.outside = [joined.master, joined.master, -1]
    code = Session(
        Program(joined.pid, streams.outside),
        stdin=options.interactive,
        tty=options.tty,
        detach_keys=options.detach_keys,
        sig_proxy=not options.tty,
    ).run()
    if code == DETACHED:
        return 0
    events.of_container(container.record, "exec_died", exit_code=code)
    return code


def prepare(container: Container, options: ExecOptions) -> join.JoinPlan:
    """What joining the running ``container`` with the program of ``options`` needs. Raises StateError, UsageError."""
    if not options.command:
        raise UsageError("a command is missing", f"rpod exec {container.name} COMMAND")
    values.check_descriptors(range(3, 3 + options.preserve_fds), "--preserve-fds")
    state = container.state()
    if state.status == "paused":
        raise paused(container)
    if state.run is None or not state.running:
        raise not_running(container)
    pidfd = container.init_pidfd()
    spec = facts.read_spec(container)
    kinds = [*spec.namespaces, *(kind for kind in container.record.join if kind not in spec.namespaces)]
    _become(spec, options)
    plan = join.JoinPlan(spec, pidfd, kinds)
    plan.user = options.user or container.record.user
    plan.groups = [] if options.user else container.record.groups
    plan.shifted = facts.is_shifted(container.record)
    plan.cgroup = state.run.cgroup
    plan.limited = bool(set(limits.wanted(plan.spec.resources)) - facts.optional_limits(container.record, plan.spec))
    if personality := container.record.rare.get("personality"):
        from rootless.runtime.attributes import Attributes

        plan.attributes = Attributes({}, {"domain": personality}, second=False)
    plan.preserve_fds = options.preserve_fds
    plan.die_with_caller = not options.detach
    return plan


class Program(Peer):
    """A child of ours inside the container, with pipes or a terminal between."""

    def __init__(self, pid: int, outside: list[int]) -> None:
        self._pid = pid
        self._pidfd = os.pidfd_open(pid)
        self.sink, stdout, stderr = outside
        self._targets = {fd: target for fd, target in ((stdout, 1), (stderr, 2)) if fd >= 0}
        self._terminal = self.sink if self.sink == stdout else -1
        self.sources = [*self._targets, self._pidfd]
        for fd in outside:
            if fd >= 0:
                os.set_blocking(fd, False)

    def on_readable(self, fd: int) -> int | None:
        """Pass output on; after the end everything that is still in the pipes."""
        if fd != self._pidfd:
            self._copy(fd)
            return None
        for source in self._targets:
            while source in self.sources and self._copy(source):
                pass
        return spawn.wait(self._pid)

    def _copy(self, fd: int) -> bool:
        """Pass one piece on; False when there is none now, or never again."""
        try:
            data = os.read(fd, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            data = b""  # EIO: the terminal's other side is closed
        if not data:
            self.sources.remove(fd)
        write_all(self._targets[fd], data)
        return bool(data)

    def push(self, data: bytes) -> bytes:
        """Input, as much as the pipe takes."""
        if self.sink < 0:
            return b""
        try:
            return data[os.write(self.sink, data) :]
        except BlockingIOError:
            return data
        except OSError:
            return b""  # the program does not read any more

    def end_input(self) -> bool:
        """Close the pipe; a terminal gets the end-of-file key."""
        if self._terminal >= 0:
            return not self.push(b"\x04")
        if self.sink >= 0:
            os.close(self.sink)
            self.sink = -1
        return True

    def resize(self, rows: int, columns: int) -> None:
        """Set the terminal's size."""
        tty.set_window_size(self._terminal, rows, columns)

    def signal(self, number: int) -> None:
        """Send the program a signal."""
        process.send(self._pidfd, number)


def _streams(options: ExecOptions) -> Streams:
    if options.tty:
        return Streams.terminal()
    if options.detach:
        null = os.open("/dev/null", os.O_RDWR)
        return Streams([null, os.dup(null), os.dup(null)], [])
    return Streams.pipes(stdin=options.interactive)


def _become(spec: Spec, options: ExecOptions) -> None:
    """Put the program of ``options`` in the place of the container's own."""
    program = spec.process
    program.args = options.command
    program.terminal = options.tty
    program.cwd = options.workdir or program.cwd
    if not program.cwd.startswith("/"):
        raise UsageError(f"--workdir {options.workdir}: it must be an absolute path")
    before = [*program.env, *(["TERM=xterm"] if options.tty else [])]
    program.env = values.environment(before, values.typed_environment(options.env_file, options.env), host=False)
    if options.privileged:
        everything = list(security.known_capabilities())
        program.bounding = program.effective = program.permitted = everything
        spec.seccomp = {}

"""The launcher: from a plan to a running program under its monitor.

``launch`` forks it out of the command. It starts init in new namespaces, gives it ids, a
cgroup and a network, and becomes the monitor by execve: children and descriptors stay. Until then an
error undoes what was made, in reverse order, and travels to the command as a report.
"""

from __future__ import annotations

import os
import time

from rootless import log, paths
from rootless.errors import LaunchError, NetworkError, RpodError
from rootless.kernel import cgroup2, fastjson, process, syscalls, unix, userns
from rootless.runtime import birth, cgroup, messages, monitor, program
from rootless.runtime.streams import Streams
from rootless.state.record import RunRecord
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable

    from rootless.network.driver import Started
    from rootless.runtime.plan import LaunchPlan

_BACKLOG = 16


class Launched:
    """A successful launch, as the command sees it: the monitor's pid and the program's."""

    __slots__ = ("monitor_pid", "pid")

    def __init__(self, monitor_pid: int, pid: int) -> None:
        self.monitor_pid = monitor_pid
        self.pid = pid


def launch(plan: LaunchPlan, record: Callable[[RunRecord], None]) -> Launched:
    """Start the container of ``plan``; returns when its program runs.

    ``record`` is called in the launcher before the program starts, with what is then true.
    The launcher owns ``plan.alive_fd`` and ``plan.client_fd`` from here on. Raises the
    launcher's RpodError; nothing is left of the attempt then.
    """
    report_in, report_out = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(report_in)
        _Launcher(plan, record, report_out).main()
        os._exit(125)
    os.close(report_out)
    try:
        if plan.meanwhile is not None:
            plan.meanwhile()
        with os.fdopen(report_in, "rb") as pipe:
            data = pipe.read()
    except KeyboardInterrupt:
        os.kill(pid, 9)  # init notices by itself, or dies with the monitor that the launcher has become
        os.waitpid(pid, 0)
        raise
    if not data:
        os.waitpid(pid, 0)
        raise LaunchError("the launcher was killed", "look at dmesg, or try again")
    answer = fastjson.loads(data)
    assert isinstance(answer, dict)
    if "message" in answer:
        os.waitpid(pid, 0)
        messages.raise_reported(answer)
    return Launched(pid, int(answer["pid"]))


class _Launcher:
    """The process between the command and the monitor."""

    def __init__(self, plan: LaunchPlan, record: Callable[[RunRecord], None], report_fd: int) -> None:
        self.plan = plan
        self.record = record
        self.report_fd = report_fd
        self.undo: list[Callable[[], object]] = []
        self.helpers: list[int] = []
        self.lifelines: list[int] = []  # of those that are held, the pipes that the network's helper ends by
        self.held: list[int] = []
        self.cgroup = cgroup.Cgroup("")
        self.cgroup_fd = -1
        self.init_pid = 0
        self.streams = Streams([], [])

    def main(self) -> None:
        """Launch, or report why not."""
        try:
            self._launch()
            return
        except BaseException as error:
            report = messages.error_values(messages.described(error, "the container cannot be started"))
        for step in reversed(self.undo):
            try:
                step()
            except (OSError, RpodError):
                continue  # the other steps must still be undone
        self._report(report)

    def _report(self, report: dict[str, object]) -> None:
        try:
            os.write(self.report_fd, fastjson.dumps(report).encode())
        except OSError:
            pass  # the command was killed; the container goes on, or is gone already
        os.close(self.report_fd)

    def _launch(self) -> None:
        plan = self.plan
        self._leave_the_caller()
        self._make_cgroup()
        self.streams = self._make_streams()
        # slirp4netns and fuse-overlayfs must reach the namespaces first; init closes itself then.
        roots = self._fuse_roots()
        hidden = plan.network is None and not roots
        if plan.shifted:
            from rootless.runtime import outer

            plan.outer_fd = outer.open_for(plan)
        if plan.gate_path:
            plan.gate, plan.parent_stays = unix.listen(plan.gate_path, 1), True
            plan.launchers_own = [self.report_fd]
        newborn = birth.start_init(plan, self.streams, self.cgroup_fd, hidden=hidden)
        self.undo.append(newborn.kill if plan.foreign is None else newborn.dismiss)
        self.init_pid, channel = newborn.pid, newborn.channel
        writing = None if plan.maps is None or plan.shifted else userns.MapWriting(self.init_pid, plan.maps)
        if writing is not None and plan.unmounted_later and plan.foreign is None:
            self.held.append(os.open(f"/proc/{self.init_pid}/ns/mnt", os.O_RDONLY))
        listener = unix.listen(plan.attach_path, _BACKLOG)
        if writing is not None:
            writing.finish()
        network = self._start_network() if plan.foreign is None else None
        if network is not None and self._init_closes_itself():
            # The helper finds the namespaces through init's /proc entries.
            network.finish()
            network = None
        user_namespace = self._open_user_namespace() if roots else -1
        channel.send("mapped")
        for root in roots:
            channel.send("root", fd=self._mount_fuse(root, user_namespace))
        if roots:
            os.close(user_namespace)
        if plan.foreign is None:
            self._connect(network, newborn)  # while init sets up
        newborn.await_ready(self._on_message)
        if plan.foreign is not None:
            self._connect(self._start_network(), newborn)  # of the process that the other runtime has made
        self.streams.close_inside()
        argv, environment, kept = self._monitor_command(listener)
        if plan.gate is None:
            self._await_exec(channel)
        if plan.events is not None:
            plan.events.launched(started=plan.gate is None, attached=plan.client_fd >= 0)
        self._report({"pid": self.init_pid})
        _become_monitor(argv, environment, kept)

    def _make_cgroup(self) -> None:
        plan = self.plan
        self.cgroup = cgroup.create(
            plan.ident,
            plan.spec.resources,
            parent=plan.cgroup_parent,
            wanted_manager=plan.cgroup_manager,
            optional=plan.optional_limits,
            announce=self._record_cgroup,
            stop_timeout_s=plan.stop_timeout_s,
        )
        self.undo.append(lambda: cgroup2.remove(self.cgroup.path))
        for words in self.cgroup.lacking:
            log.warn(words)
        if plan.foreign is not None:
            plan.foreign.cgroup = self.cgroup.path  # it moves the container there itself
        else:
            self.cgroup_fd = self.cgroup.open()

    def _make_streams(self) -> Streams:
        if self.plan.spec.process.terminal:
            return Streams.terminal()
        return Streams.inherited() if self.plan.log.passthrough else Streams.pipes(stdin=self.plan.open_stdin)

    def _init_closes_itself(self) -> bool:
        """Whether init is about to close its /proc entries to us: it changes its id, or forbids tracing."""
        maps = self.plan.maps
        return maps is None or userns.Extent(0, os.geteuid(), 1) not in maps.uids

    def _leave_the_caller(self) -> None:
        os.setsid()
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        # What the caller leaked must reach neither the program nor its monitor; init hands on what it shall.
        syscalls.close_on_exec_from(3)

    def _start_network(self) -> Started | None:
        network = self.plan.network
        if network is None:
            return None
        from rootless.network.driver import Connection  # loaded already, with the driver

        plan = self.plan
        started = network.driver.start(
            Connection(self.init_pid, plan.run_dir, network.ports, network.mtu, network.options, plan.outer_fd)
        )
        self.helpers += started.helpers
        self.lifelines = list(started.held)
        self.held += started.held
        self.undo.append(started.stop)
        return started

    def _connect(self, network: Started | None, newborn: birth.Newborn) -> None:
        """Write down what there is, wait for the network, and leave word that the program may begin."""
        self._write_record()
        if network is not None:
            self._finish(network, newborn)
        if self.plan.gate is None:
            newborn.channel.send("go")  # it is found there when all is ready

    @staticmethod
    def _finish(network: Started, newborn: birth.Newborn) -> None:
        try:
            network.finish()
        except NetworkError:
            newborn.raise_its_error()
            raise

    def _open_user_namespace(self) -> int:
        """Where fuse-overlayfs works: the container's user namespace, or the outer one of a shifted container.

        Opened before init changes its id and closes its /proc entries.
        """
        if self.plan.shifted:
            return self.plan.outer_fd
        path = self.plan.spec.namespaces.get("user", "")
        pid = self.plan.joins.get("user", self.init_pid)
        return os.open(path or f"/proc/{pid}/ns/user", os.O_RDONLY)

    def _fuse_roots(self) -> list[drivers.RootPlan]:
        """What fuse-overlayfs is to mount, in the order in which init asks for it."""
        plan = self.plan
        roots = [plan.root] if plan.root.driver == drivers.FUSE else []
        if others := plan.fuse_mounts():
            from rootless.runtime import overlays

            roots += [overlays.plan_of(mount) for mount in others]
        return roots

    def _mount_fuse(self, root: drivers.RootPlan, user_namespace: int) -> int:
        """Mount with fuse-overlayfs; returns the detached mount, which init puts in its place."""
        from rootless.runtime import fuse

        mounted = fuse.mount(root, user_namespace)
        self.helpers.append(mounted.pid)
        self.undo.append(lambda: _kill_and_reap(mounted.pid))
        return mounted.tree

    def _on_message(self, message: messages.Message) -> None:
        if message.kind == "tty":
            self.streams.master = message.fd
        elif message.kind == "created":
            pid = message.values["pid"]
            assert isinstance(pid, int)
            self.init_pid = pid

    def _record_cgroup(self, path: str) -> None:
        """Before the cgroup is made: whoever comes after a launcher that was killed finds it here."""
        self.record(RunRecord(boot_id=paths.boot_id(), cgroup=path))

    def _write_record(self) -> None:
        network = self.plan.network
        self.record(
            RunRecord(
                boot_id=paths.boot_id(),
                pid=self.init_pid,
                start_ticks=process.start_ticks(self.init_pid),
                monitor_pid=os.getpid(),
                monitor_ticks=process.start_ticks(os.getpid()),
                started_ns=0 if self.plan.gate else time.time_ns(),
                cgroup=self.cgroup.path,
                helpers=[[pid, process.start_ticks(pid)] for pid in self.helpers],
                ports=[port.to_json() for port in network.ports] if network else [],
                names_ns=self.plan.names_ns,
            )
        )

    def _await_exec(self, channel: messages.Channel) -> None:
        """End of file means that execve closed the socket: the program runs."""
        message = channel.receive()
        if message.kind == "errno":
            number = message.values["errno"]
            assert isinstance(number, int)
            from rootless.runtime import init

            raise init.explain_exec(self.plan.spec.process.args[0], number)

    def _monitor_command(self, listener: _socket.socket) -> tuple[list[str], dict[str, str], list[int]]:
        """What the monitor is exec'ed with: its arguments, environment and descriptors."""
        plan = self.plan
        argv = [program.helper("rpod-monitor"), "--pid", str(self.init_pid), "--listen", str(listener.fileno())]
        kept = [listener.fileno(), plan.alive_fd, *self.held]
        for option, fd in self._stream_options():
            argv += [option, str(fd)]
            kept.append(fd)
        for pid in self.helpers:
            argv += ["--helper", str(pid)]
        for fd in self.held:
            argv += ["--hold", str(fd)]
        if self.cgroup.path:
            argv += ["--cgroup", self.cgroup.path]
        if plan.notify:
            kept.append(plan.notify[0])
        argv += ["--lock", str(plan.alive_fd), *monitor.arguments(plan, self.lifelines)]
        return argv, dict(os.environ) | (plan.events.environment() if plan.events else {}), kept

    def _stream_options(self) -> list[tuple[str, int]]:
        options: list[tuple[str, int]] = []
        if self.streams.master >= 0:
            options.append(("--tty", self.streams.master))
        else:
            options += zip(("--stdin", "--stdout", "--stderr"), self.streams.outside, strict=True)
        options.append(("--client", self.plan.client_fd))
        return [(option, fd) for option, fd in options if fd >= 0]


def _become_monitor(argv: list[str], environment: dict[str, str], kept: list[int]) -> None:
    null = os.open("/dev/null", os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    for fd in kept:
        os.set_inheritable(fd, True)
    os.chdir("/")
    os.execve(argv[0], argv, environment)


def _kill_and_reap(pid: int) -> None:
    try:
        os.kill(pid, 15)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass

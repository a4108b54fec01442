"""A second program in a running container: the way of ``exec``, a smaller launcher.

A child joins the container's namespaces at once through init's pidfd, and clones the
program's process there as a child of the command. That process is not dumpable until its
exec: nothing inside can trace it or reach the engine through its /proc entries.
"""

from __future__ import annotations

import os

from rootless.errors import RpodError
from rootless.kernel import spawn, syscalls, userns
from rootless.runtime import cgroup, init, messages, mounts, program, security, terminal, users

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from rootless.runtime.attributes import Attributes
    from rootless.runtime.streams import Streams
    from rootless.spec import Spec

_FLAGS = {
    "mount": syscalls.CLONE_NEWNS,
    "pid": syscalls.CLONE_NEWPID,
    "network": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "user": syscalls.CLONE_NEWUSER,
    "cgroup": syscalls.CLONE_NEWCGROUP,
    "time": syscalls.CLONE_NEWTIME,
}


class JoinPlan:
    """One exec: the program as a spec, whose namespaces it joins, and what it is to the caller."""

    __slots__ = (
        "attributes",
        "cgroup",
        "die_with_caller",
        "groups",
        "init_pidfd",
        "limited",
        "namespaces",
        "on_terminal",
        "preserve_fds",
        "shifted",
        "spec",
        "state",
        "user",
    )

    def __init__(self, spec: Spec, init_pidfd: int, namespaces: list[str]) -> None:
        self.spec = spec
        self.init_pidfd = init_pidfd
        self.namespaces = namespaces  # the types that are not the host's
        self.user: str | None = ""  # looked up inside; None leaves the ids of spec.process
        self.attributes: Attributes | None = None
        self.state: dict[str, object] = {}  # the container's, for a seccomp agent
        self.on_terminal: Callable[[int], None] | None = None  # takes the master over, before the program runs
        self.groups: list[str] = []
        self.cgroup = ""
        self.limited = False  # whether the user gave limits, so that running outside the cgroup is no way out
        self.preserve_fds = 0
        self.die_with_caller = True
        self.shifted = False  # as InitPlan.shifted


def enter(init_pidfd: int, namespaces: list[str]) -> None:
    """Join the namespaces of a process, for this process and (pid) its children."""
    syscalls.setns(init_pidfd, sum(_FLAGS[kind] for kind in namespaces))


def _born(plan: JoinPlan, body: Callable[[], None]) -> NoReturn:
    """Join the cgroup namespace as well, which the kernel lets us do only now that we are in its cgroup."""
    try:
        if "cgroup" in plan.namespaces:
            enter(plan.init_pidfd, ["cgroup"])
        body()
    finally:
        os._exit(1)


def start_inside(plan: JoinPlan, body: Callable[[], None]) -> int:
    """Run ``body`` in a new process inside the container; returns its pid, a child of ours."""

    def join_and_clone(answer_fd: int) -> int:
        if plan.spec.process.oom_score_adj is not None:
            init.set_oom_score(plan.spec.process.oom_score_adj)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        fd = cgroup.reach(plan.cgroup, limited=plan.limited).open()
        enter(plan.init_pidfd, [kind for kind in plan.namespaces if kind != "cgroup"])
        pid = syscalls.clone(syscalls.CLONE_PARENT, fd)
        if pid == 0:
            os.close(answer_fd)
            _born(plan, body)
        return pid

    return spawn.by_middle(join_and_clone, "the container cannot be entered")


class Joined:
    """A program that was started: its pid, and the terminal's master (-1 without one)."""

    __slots__ = ("master", "pid")

    def __init__(self, pid: int, master: int) -> None:
        self.pid = pid
        self.master = master


def start_program(plan: JoinPlan, streams: Streams) -> Joined:
    """Start the program of ``plan`` inside. Returns when it has been exec'ed; raises what went wrong."""
    ours, theirs = messages.pair()
    prepared = program.prepare(plan.spec)
    if plan.shifted:
        from rootless.runtime import outer

        outer.open_streams(streams)

    def body() -> None:
        ours.close()
        for fd in streams.outside:
            if fd >= 0:
                os.close(fd)
        _be_program(plan, theirs, streams, prepared)

    pid = start_inside(plan, body)
    if prepared.notifies:
        ours.send("pid", pid=pid)
    theirs.close()
    os.close(prepared.fd)
    streams.close_inside()
    master = -1
    try:
        while (message := ours.receive()).kind:
            if message.kind == "errno":
                number = message.values["errno"]
                assert isinstance(number, int)
                raise init.explain_exec(plan.spec.process.args[0], number)
            master = message.fd
            if plan.on_terminal is not None:
                plan.on_terminal(master)
                master = -1
                ours.send("go")
    except RpodError:
        ours.close()
        spawn.wait(pid)
        raise
    ours.close()
    return Joined(pid, master)


def _be_program(plan: JoinPlan, channel: messages.Channel, streams: Streams, prepared: program.Program) -> None:
    process = plan.spec.process
    try:
        init.forget_modules()
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        os.setsid()
        syscalls.new_session_keyring()
        userns.become_root(keep_groups=plan.spec.keep_groups)
        root = mounts.Root.at("/")
        if prepared.notifies:
            pid = channel.receive().values["pid"]
            assert isinstance(pid, int)
            prepared.tell(pid, plan.state)
        if plan.user is not None:
            init.take_user(plan.spec, users.look_up(root, plan.user, plan.groups))
        if plan.attributes is not None:
            plan.attributes.apply()
        if process.terminal:
            master, slave = terminal.make_terminal(root, streams)
            channel.send("tty", fd=master)
            os.close(master)
            if plan.on_terminal is not None and channel.receive().kind != "go":
                os._exit(1)
            streams.inside = [slave, slave, slave]
        security.apply_rlimits(process.rlimits)
        terminal.use_streams(streams.inside, process.uid, terminal=process.terminal)
        init.hand_on(range(3, 3 + plan.preserve_fds))
        init.run_program(plan.spec, channel.fileno(), prepared, init=False, die_with_parent=plan.die_with_caller)
    except BaseException as error:
        channel.send_error(error, "the program cannot be started")
    os._exit(1)

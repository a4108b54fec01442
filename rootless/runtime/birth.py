"""Init's birth: the clone that both launchers share, the engine's and the OCI front's.

Init is a child of its launcher, born in new namespaces and in its cgroup, or out of the
namespaces of others that it joins. It waits for its id maps and tells over a channel how far it is.
"""

from __future__ import annotations

import os
import select

from rootless.errors import LaunchError
from rootless.kernel import spawn, syscalls
from rootless.runtime import messages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.runtime.plan import InitPlan
    from rootless.runtime.streams import Streams

# The user namespace comes first: only there does this user hold the right to join the others.
_JOINED = {
    "user": syscalls.CLONE_NEWUSER,
    "network": syscalls.CLONE_NEWNET,
    "ipc": syscalls.CLONE_NEWIPC,
    "uts": syscalls.CLONE_NEWUTS,
    "pid": syscalls.CLONE_NEWPID,
    "cgroup": syscalls.CLONE_NEWCGROUP,
}
_FILES = {"network": "net"}  # where the name in /proc/PID/ns is another


class Newborn:
    """Init as its launcher knows it: its pid, and the channel to it."""

    __slots__ = ("channel", "pid")

    def __init__(self, pid: int, channel: messages.Channel) -> None:
        self.pid = pid
        self.channel = channel

    def raise_its_error(self) -> None:
        """Raise what init has said already, if it failed: whoever meets its end otherwise sees only a consequence."""
        poll = select.poll()
        poll.register(self.channel.fileno(), select.POLLIN)
        if poll.poll(0):
            self.channel.receive()

    def await_ready(self, on_message: Callable[[messages.Message], None]) -> None:
        """Return when init is set up; whatever else it says goes to ``on_message``. Raises its error."""
        while (message := self.channel.receive()).kind != "ready":
            if not message.kind:
                raise LaunchError(f"the container's init ended early ({messages.exit_status(self.pid)})")
            on_message(message)

    def dismiss(self) -> None:
        """Let it undo what it did, and wait for its end: it is another runtime's stage."""
        self.channel.close()
        try:
            os.waitpid(self.pid, 0)
        except ChildProcessError:
            pass  # it has failed itself, and was waited for

    def kill(self) -> None:
        """End it, with all that it has started in its pid namespace."""
        try:
            os.kill(self.pid, 9)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def start_init(plan: InitPlan, streams: Streams, cgroup_fd: int, *, hidden: bool) -> Newborn:
    """Clone init, which waits for "mapped". ``hidden``: nobody has to reach its namespaces through /proc.

    Raises LaunchError, OSError.
    """
    ours, theirs = messages.pair()
    if plan.shifted or plan.joins or any(plan.spec.namespaces.values()):
        pid = _clone_joined(plan, cgroup_fd, hidden, lambda: _be_init(plan, streams, ours, theirs))
    else:
        pid = syscalls.clone(plan.flags(), cgroup_fd)
        if pid == 0:
            _be_init(plan, streams, ours, theirs)
    theirs.close()
    return Newborn(pid, ours)


def load_init() -> None:
    """Import what init otherwise imports in its own process, from where it would not get into the code cache."""
    from rootless.runtime import init, seccomp  # noqa: F401


def _be_init(plan: InitPlan, streams: Streams, ours: messages.Channel, theirs: messages.Channel) -> None:
    try:
        ours.close()
        for fd in streams.outside:
            if fd >= 0:
                os.close(fd)
        if plan.foreign is not None:
            from rootless.runtime import foreign

            foreign.main(plan, theirs, streams)
        from rootless.runtime import init  # here: the id maps are being written meanwhile

        init.main(plan, theirs, streams)
    finally:
        os._exit(1)  # what fails here must never go on as the launcher, with its steps to undo


def _clone_joined(plan: InitPlan, cgroup_fd: int, hidden: bool, body: Callable[[], None]) -> int:
    """Clone init out of a child that joined other namespaces: another container's, or the one above its own.

    CLONE_PARENT makes init the launcher's child all the same.
    """
    from rootless.runtime import init  # before: where it joins, rpod itself may be in a closed home

    def join_and_clone(answer_fd: int) -> int:
        if plan.spec.process.oom_score_adj is not None:
            init.set_oom_score(plan.spec.process.oom_score_adj)
        if hidden:
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        if plan.shifted:
            from rootless.runtime import outer

            outer.enter(plan)
        _join(plan)
        pid = syscalls.clone(plan.flags() | syscalls.CLONE_PARENT, cgroup_fd)
        if pid == 0:
            os.close(answer_fd)
            body()
        if plan.shifted and plan.maps is not None:
            outer.write_maps(pid, plan)
        return pid

    return spawn.by_middle(join_and_clone, "a namespace cannot be joined")


def _join(plan: InitPlan) -> None:
    targets = [
        (kind, os.open(path or f"/proc/{plan.joins[kind]}/ns/{_FILES.get(kind, kind)}", os.O_RDONLY))
        for kind in _JOINED
        if (path := plan.spec.namespaces.get(kind, "")) or kind in plan.joins
    ]
    for kind, fd in targets:
        syscalls.setns(fd, _JOINED[kind])
        os.close(fd)

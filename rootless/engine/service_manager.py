"""What systemd gives a service and is told by it: socket activation and sd_notify(3), for a container.

MAINPID is the monitor, the one process that lives exactly as long as the container. The program's own
messages go through the monitor (``helpers/notify.c``).
"""

from __future__ import annotations

import _socket
import os

from rootless import log
from rootless.errors import LaunchError, UnsupportedError, os_reason
from rootless.kernel import syscalls, unix, userns
from rootless.runtime import cgroup, launch
from rootless.spec import Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    from rootless.runtime.launch import Launched
    from rootless.runtime.plan import LaunchPlan
    from rootless.state.container import Container
    from rootless.state.record import RunRecord

    _T = TypeVar("_T")

_ASK_EVERY_S = 20
_INSIDE = "/run/notify/notify.sock"


def prepare(container: Container, plan: LaunchPlan) -> None:
    """Hand on what the environment says that systemd has given. Raises LaunchError, UnsupportedError."""
    _sockets(plan)
    manager = os.environ.get("NOTIFY_SOCKET", "")
    if manager and container.record.sdnotify == "container":
        path = f"{container.run_directory}/notify"
        try:
            sock = unix.bind(path, unix.DATAGRAM)
            os.chmod(path, 0o666)
        except OSError as error:
            raise LaunchError(f"the socket for NOTIFY_SOCKET cannot be made: {os_reason(error)}") from error
        plan.notify = (sock.detach(), manager)
        plan.spec.mounts.append(Mount(_INSIDE, "bind", path, ["bind", "rprivate"]))
        plan.spec.process.env.append(f"NOTIFY_SOCKET={_INSIDE}")


def _sockets(plan: LaunchPlan) -> None:
    """LISTEN_FDS (sd_listen_fds(3)): the sockets that systemd opened become the program's."""
    count = unix.activation_sockets()
    if os.environ.get("LISTEN_PID") != str(os.getpid()) or not count:
        return
    if plan.preserve_fds:
        log.warn("--preserve-fds is given: the sockets of LISTEN_FDS are not handed on")
        return
    if plan.spec.namespaces.get("pid") != "":
        raise UnsupportedError("socket activation needs a pid namespace of the container's own", "leave --pid out")
    plan.preserve_fds = count
    names = os.environ.get("LISTEN_FDNAMES")
    # The program must find its own pid there: that of the first child where --init is process 1.
    plan.spec.process.env += [
        f"LISTEN_FDS={count}",
        f"LISTEN_PID={2 if plan.init else 1}",
        *([f"LISTEN_FDNAMES={names}"] if names else []),
    ]


def launch_service(plan: LaunchPlan, record: Callable[[RunRecord], None], mode: str) -> Launched:
    """``launch.launch``, and tell systemd of it: the main process, unless this command stays itself, and readiness."""
    replaces = plan.client_fd < 0 and mode != "ignore" and "NOTIFY_SOCKET" in os.environ
    # A program at its gate would keep the pipe of the process in between open.
    launched = _launch_orphan(plan, record) if replaces and not plan.gate_path else launch.launch(plan, record)
    lines = [f"MAINPID={launched.monitor_pid}"] if replaces else []
    if mode == "conmon":
        lines.append("READY=1")
    if lines:
        tell(*lines)
    return launched


def _launch_orphan(plan: LaunchPlan, record: Callable[[RunRecord], None]) -> Launched:
    """``launch.launch`` by a process that ends, so that the monitor becomes a child of systemd's, a subreaper.

    systemd waits only for a main process that is its child when it is told of it; it says so in the journal.
    """
    # In a restart by policy this process is the last monitor, and it would get the orphan.
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 0)

    def fork(body: Callable[[], None]) -> int:
        pid = os.fork()
        if pid == 0:
            try:
                body()
            finally:
                os._exit(0)
        return pid

    def work() -> list[int]:
        if plan.cgroup_manager == "split":
            cgroup.split_own()  # the launcher moves itself and its parent, which this command is not now
        launched = launch.launch(plan, record)
        return [launched.monitor_pid, launched.pid]

    found = userns.call_forked(fork, work)
    assert isinstance(found, list)
    return launch.Launched(*found)


def tell(*lines: str) -> None:
    """Send lines to the service manager; without one, nothing."""
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path:
        return
    address = f"\0{path[1:]}" if path.startswith("@") else path
    sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        sock.sendto("\n".join(lines).encode(), address)
    except OSError as error:
        log.warn(f"NOTIFY_SOCKET {path}: {os_reason(error)}")
    finally:
        sock.close()


def with_patience(work: Callable[[], _T]) -> _T:
    """Do ``work`` (a pull), and as long as it takes let systemd not give up on the start: its patience is 90 s."""
    import threading

    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            tell(f"EXTEND_TIMEOUT_USEC={2 * _ASK_EVERY_S * 1_000_000}")
            done.wait(_ASK_EVERY_S)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        return work()
    finally:
        done.set()
        asking.join()

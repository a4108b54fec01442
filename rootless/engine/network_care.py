"""The network of a running container, looked after: what its monitor runs when something has happened to it.

A laptop wakes up elsewhere, with another address and another resolver; slirp4netns is killed for want of
memory. The monitor (``helpers/mend.c``) notices; here it is found out what to do.
"""

from __future__ import annotations

import os

from rootless import log
from rootless.engine import facts, names
from rootless.errors import os_reason
from rootless.kernel import files, nested, process, syscalls, userns
from rootless.network.driver import Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.plan import NetworkPlan
    from rootless.state.container import Container
    from rootless.state.record import RunRecord


def mend(container: Container, lifelines: list[int]) -> list[int]:
    """Replace the network's helper if it is dead, and bring resolv.conf and hosts up to date.

    ``lifelines`` are the monitor's descriptors by which a helper learns that the monitor has ended. Returns the
    pids of helpers that were started. Raises NetworkError.
    """
    with container.lock():
        state = container.state()
        if not state.running or state.run is None or not names.cared_for(container.record):
            return []
        plan = names.network(container.record)
        started = _replace_helper(container, state.run, plan, lifelines)
        if _refresh_names(container, state.run, plan) or started:
            container.save_run(state.run)
        return started


def _replace_helper(container: Container, run: RunRecord, plan: NetworkPlan | None, lifelines: list[int]) -> list[int]:
    """A new helper for one that is dead; the namespaces, and what the program listens on, are still there."""
    if plan is None or not run.helpers or process.start_ticks(run.helpers[0][0]) == run.helpers[0][1]:
        return []  # the network's helper is the first one: it was started first
    # A helper that is started inside another namespace comes by way of a process that ends at once.
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    outer = _outer_namespace(run.pid) if facts.is_shifted(container.record) else -1
    # Opened anew, the monitor's end for writing is one for reading.
    lifeline = os.open(f"/proc/{os.getppid()}/fd/{lifelines[0]}", os.O_RDONLY) if lifelines else -1
    wanted = Connection(run.pid, container.run_directory, plan.ports, plan.mtu, plan.options, outer, lifeline)
    network = plan.driver.start(wanted)
    network.finish()
    run.helpers[0] = [network.helpers[0], process.start_ticks(network.helpers[0])]
    return network.helpers


def _outer_namespace(pid: int) -> int:
    fd = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    try:
        return nested.parent(fd)
    finally:
        os.close(fd)


def _refresh_names(container: Container, run: RunRecord, plan: NetworkPlan | None) -> bool:
    """Write what is true now, but nothing over what somebody in the container has written; whether there was any."""
    changed = False
    for name, text in names.of_network(container.record, plan).items():
        path = f"{container.directory}/{name}"
        try:
            if os.stat(path).st_mtime_ns != run.names_ns.get(name) or files.read_file(path) == text.encode():
                continue
            run.names_ns[name] = _rewrite(path, text)
            changed = True
        except OSError as error:
            log.warn(f"{name} of {container.name} is not up to date: {os_reason(error)}")
    return changed


def _rewrite(path: str, text: str) -> int:
    """Change a file that is mounted in the container, and so keeps its inode; its time of change."""

    def write() -> int:
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
        try:
            files.write_all(fd, text.encode(), path)
            return os.fstat(fd).st_mtime_ns
        finally:
            os.close(fd)

    try:
        return write()
    except PermissionError:  # it was given to a shifted container's root
        return int(str(userns.call_inside(write)))

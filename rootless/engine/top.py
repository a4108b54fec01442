"""``top``: the processes of a container, with ps's and podman's descriptors."""

from __future__ import annotations

import os

from rootless.engine import facts, top_columns
from rootless.engine.top_columns import Names, Process
from rootless.kernel import userns
from rootless.state.container import Container, not_running


def top(container: Container, descriptors: list[str]) -> list[list[str]]:
    """A table, the header first. Raises UsageError for an unknown descriptor or argument of ps."""
    if not container.state().running:
        raise not_running(container)
    columns = top_columns.chosen(descriptors)
    processes = _processes(container)
    table = _names(container, processes)
    return [[header for header, _ in columns], *([show(p, table) for _, show in columns] for p in processes)]


def _processes(container: Container) -> list[Process]:
    """All processes in the pid namespace of the container's init."""
    run = container.run_record()
    if run is None:
        raise not_running(container)
    maps = facts.id_map(container.record, userns.read_ranges())
    try:
        namespace = os.readlink(f"/proc/{run.pid}/ns/pid")
    except OSError:
        raise not_running(container) from None
    found = []
    for entry in os.listdir("/proc"):
        if not entry.isdecimal():
            continue
        try:
            if os.readlink(f"/proc/{entry}/ns/pid") == namespace:
                found.append(Process(int(entry), maps))
        except OSError:
            continue  # another user's, or gone
    return sorted(found, key=lambda p: p.inner_pid())


def _names(container: Container, processes: list[Process]) -> Names:
    """User and group names by the container's own files."""
    from rootless.engine import enter
    from rootless.runtime import mounts, users

    def read(root_fd: int) -> object:
        root = mounts.Root(root_fd)
        return [users.id_names(root, "/etc/passwd"), users.id_names(root, "/etc/group")]

    answer = enter.inside(container, read)
    assert isinstance(answer, list)
    user_names, group_names = ({int(key): str(name) for key, name in pairs} for pairs in answer)
    return Names(processes, user_names, group_names)

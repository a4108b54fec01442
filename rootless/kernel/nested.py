"""A user namespace below another one: for a container whose ids do not contain the user's own.

::

    the host's
    └─ the outer namespace      the default map: 0 is the user, who owns the store; 1, 2, … subordinate ids
       └─ the inner namespace   any of these ids

Whoever is root in the outer one holds every capability over the inner one and may write its
maps (user_namespaces(7)). A map of the inner one is text here, ``INSIDE:OUTER:SIZE:…``.
"""

from __future__ import annotations

import os

from rootless.kernel import files, spawn, syscalls, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_NS_GET_PARENT = 0xB702  # ioctl_ns(2)


def holds_self(maps: userns.IdMap) -> bool:
    """Whether the user's own ids, uid and gid, are in ``maps``: if not, its root cannot enter what is the user's."""
    return all(
        any(extent.outside <= own < extent.outside + extent.size for extent in extents)
        for extents, own in ((maps.uids, os.geteuid()), (maps.gids, os.getegid()))
    )


def make(maps: userns.IdMap) -> int:
    """A new user namespace with ``maps``: a descriptor that keeps it alive. Raises LaunchError."""
    heard, end = os.pipe()

    def wait() -> None:
        os.close(end)
        os.read(heard, 1)

    pid = userns.fork_inside(wait, maps, 0)
    try:
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY)
    finally:
        os.close(heard)
        os.close(end)
        os.waitpid(pid, 0)


def parent(fd: int) -> int:
    """A descriptor of the user namespace above the one at ``fd``. Raises OSError."""
    import fcntl

    return fcntl.ioctl(fd, _NS_GET_PARENT)


def map_of(path: str) -> userns.IdMap:
    """The map, in the host's ids, of the user namespace at ``path``, which we may join. Raises OSError."""
    namespace = os.open(path, os.O_RDONLY)
    heard, end = os.pipe()
    said, say = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(end)
            syscalls.setns(namespace, syscalls.CLONE_NEWUSER)
            os.write(say, b"0")
            os.read(heard, 1)
        except OSError as error:
            os.write(say, str(error.errno).encode())
        finally:
            os._exit(0)
    os.close(namespace)
    os.close(say)
    os.close(heard)
    try:
        number = int(os.read(said, 16) or b"3")
        if number:
            raise OSError(number, os.strerror(number), path)
        return userns.IdMap(_read_map(pid, "uid_map"), _read_map(pid, "gid_map"))
    finally:
        os.close(end)
        os.close(said)
        os.waitpid(pid, 0)


def _read_map(pid: int, name: str) -> list[userns.Extent]:
    with open(f"/proc/{pid}/{name}", encoding="ascii") as file:
        return [userns.Extent(*map(int, line.split())) for line in file]


def write_maps(pid: int, uids: str, gids: str) -> None:
    """Give ``pid``, in a new user namespace below ours, its maps. We are root here. Raises OSError."""
    for name, text in (("uid_map", uids), ("gid_map", gids)):
        files.write_plain(f"/proc/{pid}/{name}", _lines(text))


def _lines(text: str) -> str:
    fields = text.split(":")
    return "".join(f"{' '.join(fields[at : at + 3])}\n" for at in range(0, len(fields), 3))


def root_ids(uids: str, gids: str) -> tuple[int, int]:
    """The outer ids of the inner root; -1 where 0 is not mapped."""
    return _root(uids), _root(gids)


def _root(text: str) -> int:
    fields = text.split(":")
    return next((int(fields[at + 1]) for at in range(0, len(fields), 3) if fields[at] == "0"), -1)


def fork_inside(work: Callable[[], object], uids: str, gids: str) -> int:
    """Fork a child that calls ``work`` as root of a new user namespace below ours; see userns.fork_inside."""
    return userns.fork_mapped(work, lambda pid: write_maps(pid, uids, gids), 0)


def start(namespace: int, argv: list[str], fds: dict[int, int]) -> int:
    """Start ``argv`` as root of a user namespace (a descriptor); returns its pid, a child of the caller.

    The caller must be a child subreaper (prctl(2)): the process that joins the namespace ends at once.
    """

    def join_and_start(_: int) -> int:
        syscalls.setns(namespace, syscalls.CLONE_NEWUSER)
        return spawn.start(argv, fds=fds)

    return spawn.by_middle(join_and_start, f"{argv[0]} cannot be started")

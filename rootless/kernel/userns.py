"""User namespaces for an ordinary user: ranges, map files, and work done inside one.

The *default map* shows the user as 0 and the user's subordinate ids as 1, 2, …: every
layer and every container's upper directory is stored under it.
"""

from __future__ import annotations

import os

from rootless import log
from rootless.errors import LaunchError, RpodError, os_reason
from rootless.kernel import fastjson, files, spawn, syscalls
from rootless.kernel.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ID = 0xFFFFFFFE
_STEPS_SHOWN = 20  # of the way to an exception
HINT_RANGES = "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $USER"
HINT_TOOLS = "install newuidmap and newgidmap: sudo apt-get install uidmap (dnf: shadow-utils)"


class Extent:
    """One line of a map: ``size`` ids from ``inside`` on are the host's from ``outside`` on."""

    __slots__ = ("inside", "outside", "size")

    def __init__(self, inside: int, outside: int, size: int) -> None:
        self.inside = inside
        self.outside = outside
        self.size = size

    def __repr__(self) -> str:
        return f"{self.inside}:{self.outside}:{self.size}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Extent) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash(repr(self))


class IdMap:
    """The uid and gid maps of a user namespace."""

    __slots__ = ("gids", "uids")

    def __init__(self, uids: list[Extent], gids: list[Extent]) -> None:
        self.uids = uids
        self.gids = gids

    @property
    def single(self) -> bool:
        """Whether only one user id and one group id are mapped (no subordinate ids)."""
        return sum(e.size for e in self.uids) == 1 and sum(e.size for e in self.gids) == 1


class Ranges:
    """Subordinate ids as (first, size) pairs, uid and gid."""

    __slots__ = ("gids", "uids")

    def __init__(self, uids: list[tuple[int, int]], gids: list[tuple[int, int]]) -> None:
        self.uids = uids
        self.gids = gids


_ranges: dict[int, Ranges] = {}  # by effective user id, which is another one inside a namespace


def _parse_ranges(path: str, owners: tuple[str, str]) -> list[tuple[int, int]]:
    """The ranges of one subid(5) file; lines with impossible numbers are skipped."""
    found: list[tuple[int, int]] = []
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return found
    for line in lines:
        owner, _, rest = line.partition(":")
        first, _, size = rest.partition(":")
        start, count = decimal(first, MAX_ID), decimal(size, MAX_ID)
        if owner in owners and start and count and start + count - 1 <= MAX_ID:
            found.append((start, count))
    return _without_overlap(found)


def _without_overlap(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The ranges without those that overlap an earlier one: the kernel refuses such a map."""
    kept: list[tuple[int, int]] = []
    for start, count in ranges:
        if all(start + count <= other or other + size <= start for other, size in kept):
            kept.append((start, count))
    return kept


def _ask_getsubids(owner: str, flag: list[str]) -> list[tuple[int, int]]:
    """Ranges that do not stand in files (sssd and the like), where getsubids(1) is installed."""
    path = spawn.which("getsubids")
    if path is None:
        return []
    found = []
    for line in spawn.run([path, *flag, owner]).text.splitlines():
        fields = line.split()  # "0: alice 100000 65536"
        if len(fields) != 4:
            continue
        start, count = decimal(fields[2], MAX_ID), decimal(fields[3], MAX_ID)
        if start and count:
            found.append((start, count))
    return found


def user_name() -> str:
    """The login name of the effective user id, or the id itself if it has none."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def read_ranges() -> Ranges:
    """The user's subordinate ids, read once a process. Empty lists where there are none."""
    user = os.geteuid()
    if user not in _ranges:
        owner = user_name()
        owners = (owner, str(user))
        uids = _parse_ranges("/etc/subuid", owners) or _ask_getsubids(owner, [])
        gids = _parse_ranges("/etc/subgid", owners) or _ask_getsubids(owner, ["-g"])
        _ranges[user] = Ranges(uids, gids)
    return _ranges[user]


def ranges_of(uid_owner: str, gid_owner: str) -> Ranges:
    """The subordinate ids that stand under these names. Whether the user may map them is another question."""
    return Ranges(_parse_ranges("/etc/subuid", (uid_owner, "")), _parse_ranges("/etc/subgid", (gid_owner, "")))


def _extents(own: int, ranges: list[tuple[int, int]]) -> list[Extent]:
    extents = [Extent(0, own, 1)]
    inside = 1
    for start, size in ranges:
        extents.append(Extent(inside, start, size))
        inside += size
    return extents


def default_map(ranges: Ranges) -> IdMap:
    """The map under which everything is stored: 0 is the user, 1 and up the subordinate ids."""
    if not ranges.uids or not ranges.gids:
        return IdMap([Extent(0, os.geteuid(), 1)], [Extent(0, os.getegid(), 1)])
    return IdMap(_extents(os.geteuid(), ranges.uids), _extents(os.getegid(), ranges.gids))


class MapWriting:
    """The id maps of process ``pid``, in a new user namespace of ours, being written.

    One id is written directly, with setgroups denied as the kernel wants it; more go through
    newuidmap and newgidmap, which run at the same time, beside the caller until ``finish``.
    Both raise LaunchError with the way out.
    """

    def __init__(self, pid: int, maps: IdMap) -> None:
        self._started: list[tuple[str, int, int]] = []  # program, its pid, what it says
        if os.geteuid() == 0:  # of a user namespace that we live in: its ids are ours to give
            _write_whole(pid, maps)
            return
        if maps.single:
            _write_single(pid, maps)
            return
        for name, extents in (("newuidmap", maps.uids), ("newgidmap", maps.gids)):
            path = spawn.which(name)
            if path is None:
                raise LaunchError(f"{name} is not installed: the user's subordinate ids cannot be mapped", HINT_TOOLS)
            argv = [path, str(pid)]
            for extent in extents:
                argv += [str(extent.inside), str(extent.outside), str(extent.size)]
            read_end, write_end = os.pipe()
            self._started.append((name, spawn.start(argv, fds={1: write_end, 2: write_end}), read_end))
            os.close(write_end)

    def finish(self) -> None:
        """Return when the maps are in force."""
        failures = []
        for name, child, read_end in self._started:
            words = os.read(read_end, 4096).decode("utf-8", "replace").strip()
            os.close(read_end)
            if spawn.wait(child):
                failures.append(f"{name} failed: {words or 'without a word'}")
        if failures:
            raise LaunchError(failures[0].splitlines()[0], "rpod doctor id-maps")


def _write_whole(pid: int, maps: IdMap) -> None:
    try:
        for name, extents in (("uid_map", maps.uids), ("gid_map", maps.gids)):
            lines = [f"{extent.inside} {extent.outside} {extent.size}\n" for extent in extents]
            files.write_plain(f"/proc/{pid}/{name}", "".join(lines))
    except OSError as error:
        raise LaunchError(f"the id maps cannot be written: {os_reason(error)}", "cat /proc/self/uid_map") from error


def _write_single(pid: int, maps: IdMap) -> None:
    try:
        for name, line in (
            ("uid_map", f"{maps.uids[0].inside} {os.geteuid()} 1"),
            ("setgroups", "deny"),
            ("gid_map", f"{maps.gids[0].inside} {os.getegid()} 1"),
        ):
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY)
            try:
                os.write(fd, line.encode())
            finally:
                os.close(fd)
    except OSError as error:
        raise LaunchError(f"cannot map the user's id: {os_reason(error)}", "rpod doctor id-maps") from error


def become_root(*, keep_groups: bool = False) -> None:
    """In a mapped user namespace: be id 0 there, with all its capabilities and, but for ``keep_groups``, no groups."""
    os.setresgid(0, 0, 0)
    try:
        if not keep_groups:
            os.setgroups([])
    except PermissionError:
        pass  # setgroups is denied where there is a single id; there is no group to drop then
    os.setresuid(0, 0, 0)


def fork_inside(work: Callable[[], object], maps: IdMap | None = None, flags: int = syscalls.CLONE_NEWNS) -> int:
    """Fork a child that calls ``work`` as root of a new user namespace (and of ``flags``, all but pid).

    Returns its pid at once after the maps are written. The child exits with 0, or with 1
    when ``work`` raised. Raises LaunchError when the namespace cannot be made. This is the C
    library's fork, not a raw clone: the caller may have threads that hold its locks.
    """
    wanted = maps or default_map(read_ranges())
    return fork_mapped(work, lambda pid: MapWriting(pid, wanted).finish(), flags)


def fork_mapped(work: Callable[[], object], write: Callable[[int], None], flags: int) -> int:
    """``fork_inside``, where ``write`` gives the child (its pid) the maps."""
    said, say = os.pipe()
    heard, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(said)
            os.close(go)
            _unshare_and_say(syscalls.CLONE_NEWUSER | flags, say)
            if os.read(heard, 1) == b"1":
                os.close(heard)
                become_root()
                work()
                code = 0
        finally:
            os._exit(code)
    os.close(say)
    os.close(heard)
    try:
        answer = os.read(said, 256).decode()
        if answer != "1":
            reason = answer or "the child was killed"
            raise LaunchError(f"cannot make a user namespace: {reason}", "rpod doctor user-namespace")
        write(pid)
        os.write(go, b"1")
    except BaseException:
        os.close(go)
        go = -1
        os.waitpid(pid, 0)
        raise
    finally:
        os.close(said)
        if go >= 0:
            os.close(go)
    return pid


def _unshare_and_say(flags: int, say: int) -> None:
    """Enter new namespaces and say "1", or the kernel's reason."""
    try:
        syscalls.unshare(flags)
        os.write(say, b"1")
    except OSError as error:
        os.write(say, os_reason(error).encode())
    finally:
        os.close(say)


def as_id(text: str) -> int | None:
    """The user or group id that ``text`` is in decimal; None for what is none, however long it is."""
    return decimal(text, MAX_ID)


def call_inside(work: Callable[[], object], maps: IdMap | None = None) -> object:
    """Call ``work`` as root of a new user and mount namespace and return its (JSON) result.

    An RpodError or OSError that it raises is raised here again, as an RpodError.
    """
    return call_forked(lambda body: fork_inside(body, maps), work)


def call_forked(fork: Callable[[Callable[[], None]], int], work: Callable[[], object]) -> object:
    """Call ``work`` in the process that ``fork`` makes (it returns our child's pid); its result or error is ours."""
    read_end, write_end = os.pipe()

    def report() -> None:
        os.close(read_end)
        try:
            answer: dict[str, object] = {"result": work()}
        except RpodError as error:
            answer = {"error": error.message, "hint": error.hint, "code": error.code}
        except OSError as error:
            answer = {"error": os_reason(error), "hint": "", "code": 125}
        except Exception as error:  # what ends a process silently can never be found
            answer = {"error": _as_bug(error), "hint": "rpod --log-level debug … shows where", "code": 125}
        with os.fdopen(write_end, "wb") as pipe:
            pipe.write(fastjson.dumps(answer).encode())

    try:
        pid = fork(report)
    except BaseException:
        os.close(read_end)
        os.close(write_end)
        raise
    os.close(write_end)
    with os.fdopen(read_end, "rb") as pipe:
        data = pipe.read()
    code = spawn.wait(pid)
    if not data:
        raise LaunchError(f"work inside the user namespace ended with {code}")
    answer = fastjson.loads(data)
    assert isinstance(answer, dict)
    if "error" in answer:
        raise RpodError(str(answer["error"]), str(answer["hint"]), int(answer["code"]))
    return answer["result"]


def _as_bug(error: Exception) -> str:
    """What to say of an exception that nobody expects, with no import: the root may be an image's by now."""
    where, step = [], error.__traceback__
    while step is not None:
        where.append(f"{step.tb_frame.f_code.co_filename}:{step.tb_lineno}")
        step = step.tb_next
    log.debug("\n".join(where[-_STEPS_SHOWN:]))
    return f"this is a bug in rpod: {type(error).__name__}: {error}"


def remove_tree_inside(path: str) -> None:
    """Remove a tree that holds files of subordinate ids; tried as the plain user first."""
    try:
        files.remove_tree(path)
    except PermissionError:
        call_inside(lambda: files.remove_tree(path))

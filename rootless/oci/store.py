"""The state directory of rpod-runtime: one directory a container, mode 0700.

::

    ROOT/ID/config.json   the checked config.json of the bundle as it was at create, with the limits of update
    ROOT/ID/state.json    what create made: pid and start time of init, cgroup, bundle
    ROOT/ID/gate          the socket where init waits for start; gone once it was started
    ROOT/ID/lock          held by one command at a time
"""

from __future__ import annotations

import os
import time

from rootless import paths
from rootless.errors import ConflictError, NotFoundError, StateError, UsageError, os_reason
from rootless.kernel import files, process, times

OCI_VERSION = "1.2.0"
_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+-.")
_ID_MAX = 255


def default_root() -> str:
    """Where containers are kept without --root."""
    return f"{paths.runtime()}-runtime"  # in /tmp, too, each user has a name of his own


def check_id(ident: str) -> str:
    """The id itself. UsageError for one that could not be a directory's name."""
    if not ident or ident in (".", "..") or len(ident) > _ID_MAX or not set(ident) <= _ALLOWED:
        raise UsageError(f"invalid container id {ident[:80]!r}", "letters, digits and _ + - . (at most 255)")
    return ident


class State:
    """What ``create`` made."""

    __slots__ = (
        "annotations",
        "bundle",
        "cgroup",
        "created_ns",
        "joined_cgroup",
        "namespaces",
        "pid",
        "rootfs",
        "start_ticks",
        "terminal",
    )

    def __init__(self) -> None:
        self.pid = 0
        self.start_ticks = 0
        self.bundle = ""
        self.rootfs = ""
        self.cgroup = ""  # made for the container
        self.joined_cgroup = ""  # was there before, and others may be in it
        self.created_ns = 0
        self.terminal = False
        self.annotations: dict[str, str] = {}
        self.namespaces: list[str] = []  # the types that are not the caller's own

    def to_json(self) -> dict[str, object]:
        """As it is stored."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def from_json(cls, value: object) -> State:
        """What was stored."""
        self = cls()
        if not isinstance(value, dict):
            raise ValueError("no object")
        for name in cls.__slots__:
            setattr(self, name, value[name])
        return self


class Container:
    """One container of this runtime."""

    __slots__ = ("directory", "ident", "state")

    def __init__(self, root: str, ident: str) -> None:
        self.ident = ident
        self.directory = f"{root}/{check_id(ident)}"
        self.state = State()

    @classmethod
    def reserve(cls, root: str, ident: str) -> Container:
        """Make the directory of a new container. ConflictError where there is one."""
        self = cls(root, ident)
        try:
            files.make_private(root)
            os.mkdir(self.directory, 0o700)
        except FileExistsError:
            raise ConflictError(f"container with id {ident!r} exists already", f"rpod-runtime delete {ident}") from None
        except OSError as error:
            raise StateError(
                f"the state directory {root} cannot be used: {os_reason(error)}", "give another --root"
            ) from error
        return self

    @classmethod
    def find(cls, root: str, ident: str) -> Container:
        """The container called ``ident``. NotFoundError without one, or while it is being made."""
        self = cls(root, ident)
        try:
            self.state = State.from_json(files.read_json(f"{self.directory}/state.json"))
        except FileNotFoundError:
            raise NotFoundError(f"container {ident!r} does not exist", "rpod-runtime list") from None
        except (OSError, KeyError, ValueError) as error:
            raise StateError(
                f"{self.directory}/state.json cannot be read: {error}", f"rpod-runtime delete --force {ident}"
            ) from error
        return self

    @property
    def gate(self) -> str:
        """The socket where init waits for start."""
        return f"{self.directory}/gate"

    def unique_name(self) -> str:
        """A name that no container under another --root has at the same time."""
        return f"{self.ident}-{os.stat(self.directory).st_ino}"

    def lock(self) -> files.Lock:
        """Wait until no other command works on this container."""
        held = files.Lock.acquire(f"{self.directory}/lock")
        assert held is not None
        return held

    def save(self, document: dict[str, object]) -> None:
        """Write state and config.json; from here on the container can be found."""
        self.state.created_ns = time.time_ns()
        self.state.start_ticks = process.start_ticks(self.state.pid) if self.state.pid else 0
        self.keep(document)
        files.write_json(f"{self.directory}/state.json", self.state.to_json(), sync=False)

    def keep(self, document: dict[str, object]) -> None:
        """Write config.json. Raises OSError."""
        files.write_json(f"{self.directory}/config.json", document, sync=False)

    def pidfd(self) -> int:
        """A pidfd of init; -1 when it has ended."""
        return process.open_pidfd(self.state.pid, self.state.start_ticks)

    def alive(self) -> bool:
        """Whether init lives."""
        ticks = process.start_ticks(self.state.pid)
        return ticks != 0 and ticks == self.state.start_ticks

    def status(self) -> str:
        """creating, created, running, paused or stopped (runtime.md, "State")."""
        if not self.state.pid:
            return "creating"
        if not self.alive():
            return "stopped"
        if os.path.exists(self.gate):
            return "created"
        try:
            frozen = bool(self.state.cgroup) and files.read_file(f"{self.state.cgroup}/cgroup.freeze") == b"1\n"
        except OSError:
            frozen = False
        return "paused" if frozen else "running"

    def demand(self, verb: str, *allowed: str) -> str:
        """The status. StateError when the verb makes no sense in it."""
        status = self.status()
        if status not in allowed:
            raise StateError(
                f"cannot {verb} container {self.ident!r}: it is {status}", f"allowed when {' or '.join(allowed)}"
            )
        return status

    def report(self) -> dict[str, object]:
        """The state as ``state`` prints it, with runc's additions (runtime.md, "State")."""
        status = self.status()
        return {
            "ociVersion": OCI_VERSION,
            "id": self.ident,
            "pid": self.state.pid if status not in ("creating", "stopped") else 0,
            "status": status,
            "bundle": self.state.bundle,
            "rootfs": self.state.rootfs,
            "created": utc(self.state.created_ns),
            "annotations": self.state.annotations,
            "owner": "",
        }

    def hook_state(self) -> dict[str, object]:
        """The state that hooks and seccomp agents are told, without what changes."""
        return {
            "ociVersion": OCI_VERSION,
            "id": self.ident,
            "status": "creating",
            "pid": self.state.pid,
            "bundle": self.state.bundle,
            "annotations": self.state.annotations,
        }

    def remove(self) -> None:
        """Remove the directory."""
        files.remove_tree(self.directory)


def utc(time_ns: int) -> str:
    """RFC 3339 in UTC with nanoseconds, as Go writes times."""
    seconds, fraction = divmod(time_ns, times.NS)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{fraction:09d}Z"


def everything(root: str) -> list[Container]:
    """All containers, by id; what is just being made or removed is left out."""
    try:
        names = sorted(os.listdir(root))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        try:
            found.append(Container.find(root, name))
        except (NotFoundError, UsageError, StateError):
            continue
    return found

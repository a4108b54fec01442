"""What a command left behind: processes, mounts, cgroups, sockets, directories, before and after.

A process counts as rpod's when it lives in this test's cgroup or carries the home of the
test's rpod; a namespace lives as long as a process or a mount holds it, so these two stand for it.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rootless.kernel import cgroup2, process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.shell import Rpod

WAIT_S = 10.0
# What Debian's Podman keeps for a user from its first command on, for good; so does its pause process stay.
_PEERS = ("libpod_", "podman-run-", "storage-run-", "containers-user-", "buildah")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def own_cgroup() -> str:
    """The directory below which everything that this test starts has its cgroups; "" without cgroup v2."""
    own = cgroup2.own_path()
    outer = os.path.dirname(own)
    return outer if outer.startswith(f"{cgroup2.MOUNT}/") and os.access(f"{outer}/cgroup.procs", os.W_OK) else own


class Scan:
    """Everything that can be left behind, as lines; ``places`` are the directories that name it as ours."""

    def __init__(self, *places: Path) -> None:
        self._places = places
        self._cgroup = own_cgroup()

    def lines(self) -> Iterator[str]:
        """What is there now."""
        yield from self._processes()
        yield from self._mounts()
        yield from self._cgroups()
        yield from self._files()

    def _processes(self) -> Iterator[str]:
        relative = self._cgroup.removeprefix(cgroup2.MOUNT)
        marks = [os.fsencode(f"={place}/") for place in self._places]
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal():
                continue
            ticks = process.start_ticks(int(entry.name))
            group = _read(entry / "cgroup").decode().strip().removeprefix("0::")
            ours = bool(relative) and (group + "/").startswith(relative + "/")
            if ticks and (ours or any(mark in _read(entry / "environ") for mark in marks)):
                words = _read(entry / "cmdline").replace(b"\0", b" ").decode("utf-8", "replace")
                yield f"process {entry.name} {ticks}: {words}"

    def _mounts(self) -> Iterator[str]:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            if any(str(place) in line for place in self._places):
                yield f"mount {line}"

    def _cgroups(self) -> Iterator[str]:
        for path in Path(self._cgroup or "/nonexistent").rglob("rpod-*"):
            yield f"cgroup {path}"

    def _files(self) -> Iterator[str]:
        for path in Path("/tmp").glob("rpod-run-*"):  # where rpod goes without XDG_RUNTIME_DIR
            if _is_own(path):
                yield f"temporary {path}"


class SessionScan(Scan):
    """What a whole run of the tests may leave: nothing but pytest's own directories."""

    def lines(self) -> Iterator[str]:
        """The sockets of the places, too, and everything new that is this user's where temporary files are."""
        yield from (line for line in super().lines() if not line.endswith((": podman ", ": catatonit -P ")))
        for line in Path("/proc/net/unix").read_text().splitlines():
            path = line.split(maxsplit=7)[7:]
            if path and any(path[0].startswith(f"{place}/") for place in self._places):
                yield f"socket {path[0]}"

    def _files(self) -> Iterator[str]:
        for folder in {tempfile.gettempdir(), "/dev/shm", "/dev/mqueue", "/run/netns"}:
            for path in _listed(Path(folder)):
                if _is_own(path) and path not in self._places and not path.name.startswith(_PEERS):
                    yield f"temporary {path}"


def _identity(line: str) -> str:
    """A process is the same one when it executes another program: a launcher becomes a monitor."""
    return line.partition(": ")[0] if line.startswith("process ") else line


def _is_own(path: Path) -> bool:
    try:
        return path.lstat().st_uid == os.geteuid()
    except FileNotFoundError:
        return False


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


class Leaks(Scan):
    """A moment before; ``found()`` says what is there now and was not then."""

    def __init__(self, rpod: Rpod) -> None:
        super().__init__(rpod.home, rpod.runtime)
        self._rpod = rpod
        self._before = set(map(_identity, self.lines()))

    def _files(self) -> Iterator[str]:
        yield from super()._files()
        data, runtime = self._rpod.data, self._rpod.runtime / "rpod"
        yield from (f"file {path}" for path in data.glob("probe-*"))
        folders = [data / name for name in ("containers", "names", "staging", "volumes")]
        for folder in (*folders, runtime / "containers"):
            yield from (f"file {path}" for path in folder.glob("*"))

    def found(self) -> list[str]:
        """What is new and still there."""
        return sorted(line for line in self.lines() if _identity(line) not in self._before)

    def assert_none(self, *also: str, timeout_s: float = WAIT_S) -> None:
        """Fail if something stays for ``timeout_s``; ``also`` are beginnings of lines that are fine."""
        wait_until_gone(lambda: [line for line in self.found() if not line.startswith(also or ("\0",))], timeout_s)


def wait_until_gone(found: Callable[[], list[str]], timeout_s: float = WAIT_S) -> None:
    """Fail with what ``found`` finds if there is something for ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while left := found():
        assert time.monotonic() < deadline, "\n".join(["left behind:", *left])
        time.sleep(0.05)


class Canary:
    """A tree of files that no container may change, add to, or show."""

    SECRET = "the canary sings"

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sub").mkdir(parents=True)
        for name in ("file", "passwd", "sub/file"):
            (root / name).write_text(f"{self.SECRET} {name}\n")
        (root / "link").symlink_to("file")
        self._before = self._state()

    def _state(self) -> dict[str, object]:
        found: dict[str, object] = {}
        for path in sorted([self.root, *self.root.rglob("*")]):
            info = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path)] = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_ino, content)
        return found

    def assert_untouched(self) -> None:
        assert self._state() == self._before

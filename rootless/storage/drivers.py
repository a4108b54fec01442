"""Root file system drivers: the kernel's overlay, and fuse-overlayfs.

Both mount the same layers. Which one serves is decided by ``choose``: a probe mounts an
overlay for real in a user namespace, and its answer is remembered per file system and
kernel.
"""

from __future__ import annotations

import os

from rootless import paths
from rootless.errors import RpodError, StorageError, os_reason
from rootless.kernel import fastjson, files, spawn, syscalls, userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

OVERLAY = "overlay"
FUSE = "fuse-overlayfs"
NAMES = (OVERLAY, FUSE)
DIRECTORY = "directory"  # no driver to choose: the one directory in ``layers`` is the root as it is
_FUSE_WAIT_S = 10.0
# The kernel copies at most one page of mount options.
_MOUNT_DATA_MAX = 4095


class RootPlan:
    """How a container's root is put together: the layers' trees (base first) and the writable part.

    ``directory`` is the container's own: ``diff``, ``work`` and ``merged`` are in it.
    ``uids`` and ``gids`` shift the stored ids (fuse-overlayfs only, else empty): the map of
    the container's user namespace when it is not the default one. ``volatile`` leaves out every
    sync of what the container writes, above all the one at its end: for one that is removed then.
    Without an ``upper`` directory it is read-only.
    """

    __slots__ = ("directory", "driver", "gids", "layers", "merged", "uids", "upper", "volatile", "work")

    def __init__(self, driver: str, layers: list[str], directory: str, uids: str = "", gids: str = "") -> None:
        self.driver = driver
        self.layers = layers or [f"{directory}/merged"]  # of an image without any: the empty mount point
        self.directory = directory
        self.merged = layers[0] if driver == DIRECTORY and layers else f"{directory}/merged"  # the mount point
        self.upper = f"{directory}/diff"
        self.work = f"{directory}/work"
        self.uids = uids
        self.gids = gids
        self.volatile = False

    def to_options(self) -> list[str]:
        """As the options of a mount in config.json."""
        options = [f"lowerdir={':'.join(_quote(layer) for layer in reversed(self.layers))}"]
        if self.upper:
            options += [f"upperdir={self.upper}", f"workdir={self.work}"]
        if self.uids:
            options += [f"uidmapping={self.uids}", f"gidmapping={self.gids}"]
        return [*options, "userxattr"] if self.driver == OVERLAY else options

    @classmethod
    def from_options(cls, driver: str, options: Mapping[str, str]) -> RootPlan:
        """What ``to_options`` wrote. It is mounted over its own base, where only the caller's namespace sees it."""
        layers = _unquoted(options.get("lowerdir", ""))
        plan = cls(driver, layers[::-1], "", options.get("uidmapping", ""), options.get("gidmapping", ""))
        plan.upper, plan.work = options.get("upperdir", ""), options.get("workdir", "")
        plan.merged = layers[-1]
        return plan

    def make_directories(self) -> None:
        """Make diff, work and merged, where they are missing."""
        for name in ("diff", "work", "merged"):
            try:
                os.mkdir(f"{self.directory}/{name}", 0o755 if name == "diff" else 0o700)
            except FileExistsError:
                pass


def mount_overlay(plan: RootPlan) -> None:
    """Mount the kernel's overlay at ``plan.merged``. Runs as root of the user namespace.

    The layers are named by descriptor numbers relative to /proc/self/fd: one page of mount
    options then holds all the 500 layers that overlayfs can stack, however long their paths.
    """
    fds = [os.open(layer, os.O_PATH | os.O_DIRECTORY) for layer in reversed(plan.layers)]
    options = f"lowerdir={':'.join(str(fd) for fd in fds)},userxattr"
    if plan.upper:
        upper = os.open(plan.upper, os.O_PATH | os.O_DIRECTORY)
        work = os.open(plan.work, os.O_PATH | os.O_DIRECTORY)
        fds += [upper, work]
        options += f",upperdir={upper},workdir={work}{',volatile' * plan.volatile}"
    if len(options) > _MOUNT_DATA_MAX:
        raise StorageError(f"{len(plan.layers)} layers are more than an overlay can stack")
    here = os.open(".", os.O_PATH | os.O_DIRECTORY)
    try:
        os.chdir("/proc/self/fd")
        syscalls.mount("overlay", plan.merged, "overlay", 0, options)
    finally:
        os.fchdir(here)
        for fd in [*fds, here]:
            os.close(fd)


def fuse_argv(plan: RootPlan) -> list[str]:
    """The command that mounts ``plan`` with fuse-overlayfs and stays in the foreground."""
    program = spawn.which(FUSE)
    if program is None:
        raise StorageError(
            "fuse-overlayfs is not installed",
            "sudo apt-get install fuse-overlayfs (dnf, pacman, zypper: the same name)",
        )
    lower = ":".join(_escape(layer) for layer in reversed(plan.layers))
    options = f"lowerdir={lower}"
    if plan.upper:
        options += f",upperdir={_escape(plan.upper)},workdir={_escape(plan.work)}{',volatile' * plan.volatile}"
    if plan.uids:
        options += f",uidmapping={plan.uids},gidmapping={plan.gids}"
    return [program, "-f", "-o", options, plan.merged]


def _quote(path: str) -> str:
    """A path in a list of lower directories (overlayfs.rst, "Multiple lower layers")."""
    return path.replace("\\", "\\\\").replace(":", "\\:")


def _unquoted(text: str) -> list[str]:
    """The paths of such a list."""
    parts, escaped = [""], False
    for char in text:
        if escaped or char not in ":\\":
            parts[-1] += char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append("")
    return parts


def _escape(path: str) -> str:
    if ":" in path or "," in path:
        raise StorageError(f"fuse-overlayfs cannot use a path with ':' or ',': {path}", "set XDG_DATA_HOME")
    return path


def wait_for_mount(path: str, device_before: int, alive: Callable[[], bool] | None = None) -> None:
    """Wait until something is mounted at ``path``, whose device was ``device_before``."""
    import time

    deadline = time.monotonic() + _FUSE_WAIT_S
    while os.stat(path).st_dev == device_before:
        if (alive is not None and not alive()) or time.monotonic() > deadline:
            raise StorageError("fuse-overlayfs did not mount the root file system", "rpod doctor fuse-overlayfs")
        time.sleep(0.0005)


def shift_triples(inside: list[userns.Extent], stored: list[userns.Extent]) -> str:
    """fuse-overlayfs's mapping ``SEEN:SHOWN:SIZE:…`` between two maps of a user namespace.

    SEEN is an id as the files have it, looked at inside the container's namespace; SHOWN is
    what the image calls it, under the default map ``stored``.
    """
    triples: list[tuple[int, int, int]] = []
    for seen in inside:
        for shown in stored:
            low = max(seen.outside, shown.outside)
            high = min(seen.outside + seen.size, shown.outside + shown.size)
            if low < high:
                triples.append((seen.inside + low - seen.outside, shown.inside + low - shown.outside, high - low))
    return ":".join(f"{a}:{b}:{c}" for a, b, c in sorted(triples))


def probe_overlay(data_dir: str) -> str:
    """Try the kernel's overlay on the file system of ``data_dir``: "" if it works, else the reason.

    Mounts one in a user namespace, writes, deletes a lower file (a whiteout) and marks a
    directory opaque, because each of these fails alone on some file system.
    """

    def attempt(directory: str) -> None:
        os.makedirs(f"{directory}/lower/dir")
        for name in ("gone", "dir/file"):
            os.close(os.open(f"{directory}/lower/{name}", os.O_CREAT | os.O_WRONLY))
        plan = RootPlan(OVERLAY, [f"{directory}/lower"], directory)
        plan.make_directories()
        mount_overlay(plan)
        os.unlink(f"{plan.merged}/gone")
        files.remove_tree(f"{plan.merged}/dir")
        os.mkdir(f"{plan.merged}/dir")
        if os.listdir(f"{plan.merged}/dir") or os.path.exists(f"{plan.merged}/gone"):
            raise StorageError("a deleted file came back")
        syscalls.umount(plan.merged, syscalls.MNT_DETACH)

    return _probe(data_dir, attempt)


def probe_fuse(data_dir: str) -> str:
    """Try fuse-overlayfs on the file system of ``data_dir``: "" if it works, else the reason."""

    def attempt(directory: str) -> None:
        os.makedirs(f"{directory}/lower")
        os.close(os.open(f"{directory}/lower/gone", os.O_CREAT | os.O_WRONLY))
        plan = RootPlan(FUSE, [f"{directory}/lower"], directory)
        plan.make_directories()
        device = os.stat(plan.merged).st_dev
        null = os.open("/dev/null", os.O_RDWR)
        argv = fuse_argv(plan)
        pid = spawn.start(argv, fds={0: null, 1: null, 2: null})
        try:
            wait_for_mount(plan.merged, device, lambda: os.waitpid(pid, os.WNOHANG)[0] == 0)
            os.unlink(f"{plan.merged}/gone")
            os.mkdir(f"{plan.merged}/new")
        finally:
            try:
                os.kill(pid, 15)
                os.waitpid(pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass

    return _probe(data_dir, attempt)


def _probe(data_dir: str, attempt: Callable[[str], None]) -> str:
    directory = f"{data_dir}/probe-{os.getpid()}"
    try:
        files.make_private(directory)
        userns.call_inside(lambda: attempt(directory))
    except RpodError as error:
        return error.message
    except OSError as error:
        return os_reason(error)
    finally:
        userns.remove_tree_inside(directory)
    return ""


def _remembered(data_dir: str) -> str:
    """What ``probe_overlay`` says, asked once per file system and kernel."""
    key = f"{os.uname().release}:{os.stat(data_dir).st_dev}"
    path = f"{paths.cache()}/overlay-probe.json"
    try:
        memory = files.read_json(path)
        if isinstance(memory, dict) and memory.get("key") == key:
            return str(memory["reason"])
    except (OSError, fastjson.JSONError, KeyError):
        pass
    reason = probe_overlay(data_dir)
    files.make_private(paths.cache())
    files.write_json(path, {"key": key, "reason": reason}, sync=False)
    return reason


def choose(wanted: str, data_dir: str) -> str:
    """The driver that serves on ``data_dir``: ``wanted``, or for "auto" overlay where it works."""
    if wanted in NAMES:
        return wanted
    if wanted != "auto":
        raise StorageError(f"unknown storage driver {wanted!r}", f"use one of: auto, {', '.join(NAMES)}")
    return FUSE if _remembered(data_dir) else OVERLAY

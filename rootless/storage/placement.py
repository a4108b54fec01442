"""Where the store is when the home's file system (NFS, FAT, some FUSE) cannot keep what images need.

Decided once, before anything is stored: what images need is tried, and where it fails the store is put
below /var/tmp. The data directory then holds the file ``elsewhere``, which says where (``paths.data``). The new
place is made 0700, and is used only as long as it is a directory of this user, and no link.
"""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.errors import RpodError, os_reason
from rootless.kernel import files, userns

_SPACIOUS = "/var/tmp"
# Known to do all of it; others are tried.
_PROVEN = ("ext4", "xfs", "btrfs", "tmpfs", "zfs", "f2fs", "overlay")


def choose() -> None:
    """Decide for a data directory that is not there yet. What fails here fails again with its own words."""
    own = paths.data_home()
    try:
        above = own
        while not os.path.exists(above):
            above = os.path.dirname(above)
        kind, _ = filesystem_of(above)
        if kind in _PROVEN:
            return
        files.make_private(own)
        if reason := try_filesystem(own):
            _place(own, f"{kind}: {reason}")
    except (OSError, RpodError) as error:
        log.debug(f"the file system of {own} is not tried: {error}")


def _place(own: str, reason: str) -> None:
    other = f"{_SPACIOUS}/rpod-{os.geteuid()}"
    try:
        files.make_private(other)
        still = try_filesystem(other)
    except OSError as error:
        still = os_reason(error)
    if still:
        log.warn(f"{own} cannot keep images ({reason}), nor can {other} ({still}): rpod doctor")
        return
    files.write_atomic(f"{own}/{paths.ELSEWHERE}", f"{other}\n".encode())
    paths.forget_places()
    log.warn(
        f"{own} cannot keep images ({reason}): from now on everything is stored in {other}; if old files are removed "
        "there by time (systemd-tmpfiles), have it excepted, or choose another place with XDG_DATA_HOME"
    )


def filesystem_of(path: str) -> tuple[str, str]:
    """(type, mount point) of the file system that holds ``path``, as /proc/self/mountinfo (proc(5)) has it."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    real = os.path.realpath(path)
    best = ("unknown", "/")
    for line in files.read_file("/proc/self/mountinfo").decode("utf-8", "surrogateescape").splitlines():
        left, _, right = line.partition(" - ")
        fields = left.split()
        mount_point = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        inside = real == mount_point or real.startswith(mount_point.rstrip("/") + "/")
        if inside and (fields[2] == wanted or len(mount_point) >= len(best[1])):
            best = (right.split()[0], mount_point)
    return best


def try_filesystem(data: str) -> str:
    """Do what images and containers do with files; "" or the first thing that fails, in words."""
    directory = f"{data}/probe-files-{os.getpid()}"
    ids = 0 if userns.default_map(userns.read_ranges()).single else 1
    step = ""

    def work() -> str:
        nonlocal step
        step = "make a file"
        os.mkdir(directory, 0o700)
        os.close(os.open(f"{directory}/file", os.O_CREAT | os.O_WRONLY))
        try:
            step = "give a file to a subordinate id"
            os.chown(f"{directory}/file", ids, ids)
            step = "set a mode with set-user-id"
            os.chmod(f"{directory}/file", 0o4755)
            step = "set an extended attribute"
            os.setxattr(f"{directory}/file", "user.rpod", b"y")
            step = "make a link"
            os.symlink("file", f"{directory}/symlink")
            os.link(f"{directory}/file", f"{directory}/hardlink")
            step = "make a FIFO"
            os.mkfifo(f"{directory}/fifo")
            step = "lock a file"
            lock = files.Lock.acquire(f"{directory}/lock", wait=False)
            if lock is None:
                return f"cannot {step}: it is held"
            lock.release()
        except OSError as error:
            return f"cannot {step}: {os.strerror(error.errno or 0).lower()}"
        return ""

    try:
        return str(userns.call_inside(work))
    finally:
        userns.remove_tree_inside(directory)

"""Probes: the file system that images are kept on, and the drivers that stack their layers."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from rootless import paths
from rootless.engine.doctor.model import Verdict
from rootless.errors import RpodError, os_reason
from rootless.kernel import files, spawn
from rootless.storage import drivers, placement

if TYPE_CHECKING:
    from collections.abc import Iterator

FREE_BYTES = 1 << 30
FREE_INODES = 20000


@contextlib.contextmanager
def data_directory() -> Iterator[str]:
    """Yield rpod's data directory; it and its parents are removed again if they were made here and stayed empty."""
    path = paths.data()
    made = []
    parent = path
    while not os.path.lexists(parent):
        made.append(parent)
        parent = os.path.dirname(parent)
    try:
        files.make_private(path)
        yield path
    finally:
        for directory in made:
            with contextlib.suppress(OSError):
                os.rmdir(directory)


def data_filesystem() -> Verdict:
    """Files of subordinate ids, extended attributes, locks and links where images are kept."""
    try:
        with data_directory() as data:
            kind, mount_point = placement.filesystem_of(data)
            reason = placement.try_filesystem(data)
    except (OSError, RpodError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else error.message
        return Verdict(f"{paths.data()} cannot be used: {reason}", "data-unusable")
    where = f"{data} on {kind} ({mount_point})"
    return Verdict(f"{where}: {reason}", "data-filesystem") if reason else Verdict(where)


def disk() -> Verdict:
    """Free space and inodes where images are kept."""
    path = paths.data()
    while not os.path.exists(path):
        path = os.path.dirname(path)
    info = os.statvfs(path)
    free = info.f_bavail * info.f_frsize
    # A file system without a fixed number of inodes (btrfs) says 0 of 0.
    inodes = info.f_favail if info.f_files else None
    found = f"{free / 1e9:.1f} GB" + ("" if inodes is None else f" and {inodes} inodes") + f" free at {path}"
    if free < FREE_BYTES or (inodes is not None and inodes < FREE_INODES):
        return Verdict(found, "disk-full")
    return Verdict(found)


def overlay() -> Verdict:
    """The kernel's overlay, mounted in a user namespace on the data directory's file system."""
    try:
        with data_directory() as data:
            reason = drivers.probe_overlay(data)
            kind, _ = placement.filesystem_of(data)
    except (OSError, RpodError) as error:
        return Verdict(os_reason(error) if isinstance(error, OSError) else error.message, "data-unusable")
    if reason:
        return Verdict(f"not on {kind}: {reason}", "overlay-refused")
    return Verdict(f"works on {kind}")


def open_device(path: str, missing: str, closed: str) -> Verdict | None:
    """None if ``path`` can be opened, else the verdict with the cause ``missing`` or ``closed``."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError:
        return Verdict(f"{path} does not exist", missing)
    except PermissionError:
        return Verdict(f"{path} is closed to this user", closed)
    except OSError as error:
        return Verdict(os_reason(error), missing)  # ENODEV, ENXIO: the node is there, its module is not
    return None


def fuse_overlayfs() -> Verdict:
    """fuse-overlayfs, mounted for real."""
    program = spawn.which(drivers.FUSE)
    if program is None:
        return Verdict("fuse-overlayfs is not installed", "fuse-missing")
    if trouble := open_device("/dev/fuse", "fuse-device-missing", "fuse-device-closed"):
        return trouble
    try:
        with data_directory() as data:
            reason = drivers.probe_fuse(data)
    except (OSError, RpodError) as error:
        return Verdict(os_reason(error) if isinstance(error, OSError) else error.message, "data-unusable")
    if reason:
        return Verdict(reason, "fuse-refused")
    return Verdict(version_of(program))


def version_of(program: str) -> str:
    """The line of ``program --version`` that names the program and a number, or its path."""
    name = os.path.basename(program)
    for line in spawn.run([program, "--version"]).text.splitlines():
        if name in line and any(c.isdigit() for c in line):
            return line.strip()
    return program

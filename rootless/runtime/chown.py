"""``U``: everything in a mount becomes the user's who runs the program. No link is followed, no other mount changed."""

from __future__ import annotations

import os
import stat

from rootless.errors import LaunchError, os_reason
from rootless.kernel import syscalls as sc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.mounts import Root

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def change_mounts(root: Root, destinations: list[str], uid: int, gid: int) -> None:
    """Change what is mounted at ``destinations``. Raises LaunchError."""
    for destination in destinations:
        try:
            target = root.open(destination)
            # A copy of this one mount: what is mounted below is not in it, and it can be written.
            tree = sc.open_tree(target, "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH)
            os.close(target)
            sc.mount_setattr(tree, 0, sc.MOUNT_ATTR_RDONLY)
            change_tree(tree, uid, gid)
            os.close(tree)
        except OSError as error:
            raise LaunchError(
                f"U: the owner of {destination} cannot be changed: {os_reason(error)}",
                "its files must belong to ids of the container: rpod unshare ls -ln shows them",
            ) from error


def change_tree(fd: int, uid: int, gid: int) -> None:
    """Change the entry at the O_PATH descriptor ``fd``, and what is below it."""
    if not stat.S_ISDIR(os.fstat(fd).st_mode):
        os.chown(f"/proc/self/fd/{fd}", uid, gid)
        return
    # A descriptor and the names that are left for every level, so that no depth overflows the stack.
    top = os.open(".", _DIRECTORY, dir_fd=fd)
    os.fchown(top, uid, gid)
    levels = [(top, os.listdir(top))]
    while levels:
        directory, names = levels[-1]
        if not names:
            os.close(directory)
            levels.pop()
            continue
        name = names.pop()
        info = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if (uid if uid >= 0 else info.st_uid, gid if gid >= 0 else info.st_gid) != (info.st_uid, info.st_gid):
            os.chown(name, uid, gid, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            inner = os.open(name, _DIRECTORY, dir_fd=directory)
            levels.append((inner, os.listdir(inner)))

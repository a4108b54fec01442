"""A container's mounts: targets are found safely, mounts are made and put there.

Every mount is made detached (fsmount, open_tree), gets its attributes while nobody can see
it, and is moved onto a descriptor that openat2 found inside the container's root. No path
is resolved twice, so a link that another container swaps meanwhile leads nowhere.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.errors import LaunchError, UnsupportedError, os_reason
from rootless.kernel import syscalls as sc
from rootless.runtime.mount_flags import Options, below

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.spec import Mount

# Where the namespace that a new one belongs to is shared, the kernel lets nobody mount it: the host's is shown.
_SHOWN_INSTEAD = {"sysfs": "/sys", "mqueue": "/dev/mqueue", "cgroup2": "/sys/fs/cgroup"}
_FURNISHED = "/dev"
_OWN_PLACES = ("proc", "sysfs", "devpts", "mqueue", "cgroup2")


class Root:
    """The container's root while it is being built, seen through one descriptor."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def at(cls, path: str) -> Root:
        """The root at ``path``."""
        return cls(os.open(path, os.O_PATH | os.O_DIRECTORY))

    def open(self, path: str, flags: int = os.O_PATH, *, links: bool = True) -> int:
        """A descriptor of ``path`` inside the root; a link can never lead out of it."""
        resolve = sc.RESOLVE_IN_ROOT | (0 if links else sc.RESOLVE_NO_SYMLINKS)
        return sc.openat2(self.fd, path.lstrip("/") or ".", flags, resolve)

    def make(self, path: str, *, directory: bool, mode: int = 0o755) -> int:
        """The same, after making what is missing: directories on the way, then a directory or empty file."""
        parts = [part for part in path.split("/") if part not in ("", ".")]
        fd = self.open("/")
        for index, part in enumerate(parts):
            last = index == len(parts) - 1
            so_far = "/".join(parts[: index + 1])
            try:
                following = self.open(so_far)
            except FileNotFoundError:
                self._create(fd, part, directory=directory or not last, mode=mode if last else 0o755)
                following = self.open(so_far)
            os.close(fd)
            fd = following
        return fd

    @staticmethod
    def _create(parent: int, name: str, *, directory: bool, mode: int) -> None:
        if name == "..":
            raise LaunchError("a mount's target goes up through a directory that does not exist")
        try:
            if directory:
                os.mkdir(name, mode, dir_fd=parent)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644, dir_fd=parent))
        except FileExistsError:
            raise LaunchError(f"the mount target {name!r} is a link that leads nowhere") from None


def is_directory(fd: int) -> bool:
    """Whether a descriptor is a directory's."""
    return stat.S_ISDIR(os.fstat(fd).st_mode)


def bind(source: int, options: Options) -> int:
    """A detached copy of the mount or file at descriptor ``source``, with its attributes set."""
    tree = sc.open_tree(
        source, "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH | (sc.AT_RECURSIVE if options.recursive else 0)
    )
    set_attributes(tree, options, propagation=options.propagation or sc.MS_PRIVATE)
    if options.idmap:
        _map_ids(tree)
    return tree


def _map_ids(tree: int) -> None:
    """Show a detached mount under the ids of this user namespace (mount_setattr(2), ID-mapped mounts)."""
    namespace = os.open("/proc/self/ns/user", os.O_RDONLY)
    try:
        sc.mount_setattr(tree, sc.MOUNT_ATTR_IDMAP, user_namespace=namespace)
    except OSError as error:
        raise LaunchError(
            f"idmap: the kernel does not shift the ids of this file system: {os_reason(error)}",
            "--userns keep-id shows your files as yours, and U makes them the container's",
        ) from error
    finally:
        os.close(namespace)


def set_attributes(tree: int, options: Options, *, propagation: int) -> None:
    """Give a detached mount what ``options`` ask for; a bind keeps what locked flags of its source demand."""
    try:
        for set_, clear, recursive in (
            (options.set_below, options.clear_below, True),
            (options.set, options.clear & ~sc.MOUNT_ATTR_RDONLY, False),  # writable unless the source is locked
        ):
            if set_ or clear:
                sc.mount_setattr(tree, set_, clear, recursive=recursive)
    except OSError as error:
        if error.errno != errno.EPERM:
            raise
        raise LaunchError("the source's file system does not allow these mount options to this user") from error
    if propagation:
        recursive = options.recursive or options.propagation_recursive
        sc.mount_setattr(tree, 0, propagation=propagation, recursive=recursive)


def place(tree: int, target: int) -> None:
    """Put a detached mount onto the descriptor ``target``; both are closed."""
    try:
        sc.move_mount(tree, target)
    finally:
        os.close(tree)
        os.close(target)


def new(fstype: str, source: str, options: Options) -> int:
    """A detached mount of a new file system of ``fstype``, shown with ``source`` in the mount table."""
    tree = sc.fsmount(fstype, [("source", source or fstype), *options.data], options.set)
    set_below = options.set_below or options.clear_below
    if set_below or options.propagation:
        set_attributes(tree, options, propagation=options.propagation)
    if options.idmap:
        _map_ids(tree)
    return tree


def bind_host(mount: Mount, root: Root) -> None:
    """Bind a host path into the container, making the target like the source."""
    source = os.open(mount.source, os.O_PATH)
    if mount.subpath:
        source = _beneath(source, mount)
    try:
        tree = bind(source, Options(mount.options))
        place(tree, root.make(mount.destination, directory=is_directory(source)))
    finally:
        os.close(source)


def place_tree(tree: int, mount: Mount, root: Root) -> None:
    """Put a detached overlay, or ``mount.subpath`` of it, in its place with the attributes of ``mount``."""
    options = Options(mount.options)
    if mount.subpath:
        tree = _part(tree, mount, root)
    set_attributes(tree, options, propagation=options.propagation or sc.MS_PRIVATE)
    if options.idmap:
        _map_ids(tree)
    place(tree, root.make(mount.destination, directory=is_directory(tree)))


def _part(tree: int, mount: Mount, root: Root) -> int:
    """A detached copy of ``mount.subpath`` of a tree, which lies over the root for that moment.

    Out of a detached mount the kernel copies only the whole (Linux 6.15 and newer: any part).
    """
    sc.move_mount(tree, root.fd)
    whole = f"/proc/self/fd/{tree}"
    try:
        inner = _beneath(os.dup(tree), mount)
        part = sc.open_tree(inner, "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH)
        os.close(inner)
    finally:
        sc.umount(whole, sc.MNT_DETACH)
    os.close(tree)
    return part


def _beneath(source: int, mount: Mount) -> int:
    """``mount.subpath`` of ``source``, which is closed. What lies there may be a container's: no link leads out."""
    try:
        resolve = sc.RESOLVE_BENEATH | sc.RESOLVE_NO_MAGICLINKS
        return sc.openat2(source, mount.subpath, os.O_PATH, resolve)
    except OSError as error:
        reason = "it leads out of it" if error.errno == errno.EXDEV else os_reason(error)
        raise LaunchError(
            f"the subpath {mount.subpath!r} of {mount.destination} cannot be mounted: {reason}"
        ) from error
    finally:
        os.close(source)


def bind_over_itself(path: str) -> None:
    """Make the directory ``path`` a mount of its own, with what is mounted below it: pivot_root wants one."""
    source = os.open(path, os.O_PATH | os.O_DIRECTORY)
    tree = sc.open_tree(source, "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH | sc.AT_RECURSIVE)
    place(tree, source)


def perform(mount: Mount, root: Root) -> None:
    """Do one mount of the spec; volumes' copy-up and the special places are init's business."""
    try:
        options = Options(mount.options)
        if mount.type == "bind":
            if options.data:
                name = options.data[0][0]
                raise UnsupportedError(f"the mount option {name!r} of {mount.destination} says nothing about a bind")
            bind_host(mount, root)
        elif mount.type == "overlay":
            from rootless.runtime import overlays

            place_tree(overlays.make(mount), mount, root)
        else:
            _perform_new(mount, options, root)
    except OSError as error:
        raise LaunchError(
            f"cannot mount {mount.source or mount.type} at {mount.destination}: {os_reason(error)}"
        ) from error


def _perform_new(mount: Mount, options: Options, root: Root) -> None:
    fstype = "cgroup2" if mount.type == "cgroup" else mount.type
    target = root.make(mount.destination, directory=True)
    if fstype in _OWN_PLACES:
        # The runtime's own places must be plain directories: a link at /proc or /sys in an image is an attack.
        os.close(target)
        target = root.open(mount.destination, links=False)
    if fstype == "tmpfs" and mount.destination.rstrip("/") == _FURNISHED:
        options.set &= ~sc.MOUNT_ATTR_RDONLY  # ``close_late`` does it
    try:
        tree = new(fstype, mount.source, options)
    except PermissionError:
        if fstype not in _SHOWN_INSTEAD:
            raise
        tree = _show_instead(fstype, mount.options)
    if options.copy_up:
        copy_up(target, tree, options)
    place(tree, target)


def _show_instead(fstype: str, options: list[str]) -> int:
    """The host's own mount, closed as the new one would be, and all below it."""
    source = os.open(_SHOWN_INSTEAD[fstype], os.O_PATH)
    try:
        return bind(source, Options(["rbind", *(below(option) for option in options)]))
    finally:
        os.close(source)


def copy_up(target: int, tree: int, options: Options) -> None:
    """Fill a fresh tmpfs with what the image has at its place; a mode or owner that was asked for stays."""
    from rootless.storage import copyup

    asked = dict(options.data)
    source = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=target)
    destination = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=tree)
    try:
        copyup.copy_up(source, destination)
        os.chown(destination, int(asked.get("uid", -1)), int(asked.get("gid", -1)))
        if "mode" in asked:
            os.fchmod(destination, int(asked["mode"], 8))
    finally:
        os.close(source)
        os.close(destination)


def mask(root: Root, path: str) -> None:
    """Hide ``path``: an empty read-only tmpfs over a directory, /dev/null over a file. Missing is fine."""
    try:
        target = root.open(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    if is_directory(target):
        tree = sc.fsmount("tmpfs", [("size", "0"), ("nr_inodes", "1")], sc.MOUNT_ATTR_RDONLY)
    else:
        # The host's: the container's may be another's work, where its /dev is a volume (CVE-2025-31133).
        tree = _host_device("/dev/null", "c", 1, 3)
    place(tree, target)


def make_readonly(root: Root, path: str) -> None:
    """Make ``path`` and what is mounted below it read-only. Missing is fine."""
    try:
        target = root.open(path)
    except (FileNotFoundError, NotADirectoryError):
        return
    tree = sc.open_tree(target, "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH | sc.AT_RECURSIVE)
    sc.mount_setattr(tree, sc.MOUNT_ATTR_RDONLY, recursive=True)
    place(tree, target)


def close_late(root: Root, mounts: list[Mount]) -> None:
    """Make the file systems read-only that had to be furnished first: a /dev that is asked for as ``ro``."""
    for mount in mounts:
        if mount.type == "tmpfs" and mount.destination.rstrip("/") == _FURNISHED and "ro" in mount.options:
            fd = root.open(mount.destination)
            sc.mount_setattr(fd, sc.MOUNT_ATTR_RDONLY)
            os.close(fd)


def make_root_readonly() -> None:
    """Make the mount at / read-only, not what is mounted below it. After ``pivot``."""
    fd = os.open("/", os.O_PATH | os.O_DIRECTORY)
    sc.mount_setattr(fd, sc.MOUNT_ATTR_RDONLY)
    os.close(fd)


def device(root: Root, source: str, target: str, kind: str, major: int, minor: int) -> None:
    """Show a host's device node at ``target``, after checking that it is the device it should be."""
    place(_host_device(source, kind, major, minor), root.make(target, directory=False))


def _host_device(source: str, kind: str, major: int, minor: int) -> int:
    """A detached mount of a host's device node. Raises LaunchError if it is not the device it should be."""
    fd = os.open(source, os.O_PATH | os.O_NOFOLLOW)
    try:
        info = os.fstat(fd)
        is_kind = stat.S_ISBLK(info.st_mode) if kind == "b" else stat.S_ISCHR(info.st_mode)
        if not is_kind or (os.major(info.st_rdev), os.minor(info.st_rdev)) != (major, minor):
            raise LaunchError(f"{source} on the host is not the device {kind} {major}:{minor}")
        return sc.open_tree(fd, "", sc.OPEN_TREE_CLONE | sc.AT_EMPTY_PATH)
    finally:
        os.close(fd)


def pivot(root: Root, *, move: bool = False) -> None:
    """Make ``root`` the root of this mount namespace; the host's tree is gone afterwards.

    ``move``: the root is moved over / instead, for a host whose root is an initramfs, which cannot be pivoted.
    """
    os.fchdir(root.fd)
    if move:
        sc.mount(".", "/", None, sc.MS_MOVE)
        os.chroot(".")
        os.chdir("/")
        return
    sc.pivot_root(".", ".")
    # The old root now lies over the new one; what is detached below it takes its mounts along.
    sc.umount(".", sc.MNT_DETACH)
    os.chdir("/")

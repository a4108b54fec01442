"""The options of a mount, sorted by who acts on them: the mount, its propagation, the file system, rpod."""

from __future__ import annotations

from rootless.kernel import syscalls as sc

_ATTRIBUTES = {  # option -> (bits to set, bits to clear)
    "ro": (sc.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, sc.MOUNT_ATTR_RDONLY),
    "nosuid": (sc.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, sc.MOUNT_ATTR_NOSUID),
    "nodev": (sc.MOUNT_ATTR_NODEV, 0),
    "dev": (0, sc.MOUNT_ATTR_NODEV),
    "noexec": (sc.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, sc.MOUNT_ATTR_NOEXEC),
    "noatime": (sc.MOUNT_ATTR_NOATIME, sc.MOUNT_ATTR_ATIME_MASK),
    "strictatime": (sc.MOUNT_ATTR_STRICTATIME, sc.MOUNT_ATTR_ATIME_MASK),
    "relatime": (0, sc.MOUNT_ATTR_ATIME_MASK),
    "nodiratime": (sc.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, sc.MOUNT_ATTR_NODIRATIME),
    "atime": (0, sc.MOUNT_ATTR_ATIME_MASK),
    "norelatime": (sc.MOUNT_ATTR_STRICTATIME, sc.MOUNT_ATTR_ATIME_MASK),
    "nostrictatime": (0, sc.MOUNT_ATTR_ATIME_MASK),
    "nosymfollow": (sc.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, sc.MOUNT_ATTR_NOSYMFOLLOW),
}
_PROPAGATION = {
    "private": sc.MS_PRIVATE,
    "slave": sc.MS_SLAVE,
    "shared": sc.MS_SHARED,
    "unbindable": sc.MS_UNBINDABLE,
}
# What a mount is by default, and what the kernel has no more (mand: Linux 5.15).
_IGNORED = frozenset(("bind", "rbind", "defaults", "async", "loud", "nomand", "noiversion", "nolazytime"))


class Options:
    """Mount options, sorted by who acts on them: attributes, propagation, the file system, rpod."""

    __slots__ = (
        "clear",
        "clear_below",
        "copy_up",
        "data",
        "idmap",
        "propagation",
        "propagation_recursive",
        "recursive",
        "set",
        "set_below",
    )

    def __init__(self, options: list[str]) -> None:
        self.set = 0
        self.clear = 0
        self.set_below = 0  # of the options with an r: the mount and all below it
        self.clear_below = 0
        self.propagation = 0
        self.propagation_recursive = False
        self.recursive = "rbind" in options
        self.copy_up = False
        self.idmap = False
        self.data: list[tuple[str, str]] = []
        for option in options:
            self._take(option)

    def _take(self, option: str) -> None:
        if option in _ATTRIBUTES:
            bits, cleared = _ATTRIBUTES[option]
            self.set = self.set & ~cleared | bits
            self.clear = self.clear & ~bits | cleared
        elif option[:1] == "r" and option[1:] in _ATTRIBUTES:
            bits, cleared = _ATTRIBUTES[option[1:]]
            self.set_below = self.set_below & ~cleared | bits
            self.clear_below = self.clear_below & ~bits | cleared
        elif option in _PROPAGATION:
            self.propagation = _PROPAGATION[option]
        elif option[:1] == "r" and option[1:] in _PROPAGATION:
            self.propagation = _PROPAGATION[option[1:]]
            self.propagation_recursive = True
        elif option == "idmap":
            self.idmap = True
        elif option == "tmpcopyup":
            self.copy_up = True
        elif option not in _IGNORED:
            key, _, value = option.partition("=")
            self.data.append((key, value))


def known_options() -> list[str]:
    """The mount options that rpod itself acts on; others are the file system's."""
    recursive = {f"r{name}" for name in (*_ATTRIBUTES, *_PROPAGATION)}
    return sorted({*_ATTRIBUTES, *_PROPAGATION, *recursive, *_IGNORED, "idmap", "tmpcopyup"})


def below(option: str) -> str:
    """The form of an option that closes the mounts below as well: ``ro`` becomes ``rro``, ``rw`` stays."""
    return f"r{option}" if _ATTRIBUTES.get(option, (0, 0))[0] else option

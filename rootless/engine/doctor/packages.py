"""The names that distributions give to what rpod needs, for one exact command in a hint.

``contrib/quickstart`` knows the same names, because it runs before Python may be there; a
test compares the two.
"""

from __future__ import annotations

import functools

from rootless.kernel import spawn

# A package manager's command line that installs without a question.
INSTALL = {
    "apt-get": "apt-get install -y",
    "dnf": "dnf install -y",
    "zypper": "zypper --non-interactive install",
    "pacman": "pacman -S --needed --noconfirm",
    "apk": "apk add",
}

# What is needed -> what provides it, by package manager.
PACKAGES = {
    "uidmap": {
        "apt-get": "uidmap",
        "dnf": "shadow-utils",
        "zypper": "shadow",
        "pacman": "shadow",
        "apk": "shadow-uidmap",
    },
    "fuse-overlayfs": dict.fromkeys(INSTALL, "fuse-overlayfs"),
    "slirp4netns": dict.fromkeys(INSTALL, "slirp4netns"),
    "passt": dict.fromkeys(INSTALL, "passt"),
    "dbus": {
        "apt-get": "dbus-user-session",
        "dnf": "dbus-broker",
        "zypper": "dbus-1-daemon",
        "pacman": "dbus",
        "apk": "dbus",
    },
    "compiler": {
        "apt-get": "gcc libc6-dev",
        "dnf": "gcc glibc-static",
        "zypper": "gcc glibc-devel-static",
        "pacman": "gcc",
        "apk": "gcc musl-dev",
    },
}


@functools.cache
def manager() -> str:
    """This machine's package manager (a key of INSTALL); apt-get where none is known."""
    return next((name for name in INSTALL if spawn.which(name)), "apt-get")


def install_command(need: str) -> str:
    """The root command that installs ``need`` (a key of PACKAGES) here."""
    return f"{INSTALL[manager()]} {PACKAGES[need][manager()]}"

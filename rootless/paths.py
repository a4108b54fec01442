"""Where rpod keeps things: the XDG Base Directory specification, per user.

``xdg-base-dirs`` says the same and costs a ``pathlib`` import (11 ms) on every command, so
the four rules stand here and a test compares the two.

=========  ===============================  =============================================
data       $XDG_DATA_HOME/rpod              layers, images, containers, volumes: the truth
state      $XDG_STATE_HOME/rpod             events: worth keeping, not worth a backup
cache      $XDG_CACHE_HOME/rpod             may be deleted at any time
config     $XDG_CONFIG_HOME/rpod            containers.toml, over /etc/rpod/containers.toml
runtime    $XDG_RUNTIME_DIR/rpod            pids, sockets, locks: true until the next boot
=========  ===============================  =============================================
"""

from __future__ import annotations

import os

from rootless.errors import RpodError, os_reason
from rootless.kernel import files

ELSEWHERE = "elsewhere"  # a file in the data directory that says where the store is instead
_places: dict[str, str] = {}
SYSTEM_CONFIG = "/etc/rpod/containers.toml"


def home() -> str:
    """The user's home directory: $HOME, else the password database's word."""
    path = os.environ.get("HOME", "")
    if path.startswith("/"):
        return path
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        raise RpodError("this user has no home directory", "set HOME") from None


def _base(variable: str, default: str) -> str:
    """An XDG base directory. The specification says to ignore a relative path."""
    value = os.environ.get(variable, "")
    return value if value.startswith("/") else f"{home()}/{default}"


def data_home() -> str:
    """Where the data directory is by the specification."""
    return _base("XDG_DATA_HOME", ".local/share") + "/rpod"


def data() -> str:
    """Layers, images, containers and volumes; elsewhere where the home cannot keep them (``storage.placement``)."""
    own = data_home()
    place = _places.get(own)
    if place is None:
        place = _places[own] = _placed(own)
    return place


def _placed(own: str) -> str:
    try:
        place = files.read_file(f"{own}/{ELSEWHERE}", 4096).decode().rstrip("\n")
    except (FileNotFoundError, NotADirectoryError):
        return own
    except (OSError, UnicodeDecodeError) as error:
        raise RpodError(f"{own}/{ELSEWHERE} cannot be read: {error}", "remove the file") from error
    try:
        files.make_private(place)
    except OSError as error:
        raise RpodError(
            f"the store at {place} cannot be used: {os_reason(error)}",
            f"move away what is there, or remove {own}/{ELSEWHERE}: then the store begins anew",
        ) from error
    return place


def forget_places() -> None:
    """Look again where the data is."""
    _places.clear()


def state() -> str:
    """Events."""
    return _base("XDG_STATE_HOME", ".local/state") + "/rpod"


def cache() -> str:
    """What can be made again."""
    return _base("XDG_CACHE_HOME", ".cache") + "/rpod"


def config_home() -> str:
    """The user's configuration of all programs."""
    return _base("XDG_CONFIG_HOME", ".config")


def user_config() -> str:
    """The user's configuration file."""
    return f"{config_home()}/rpod/containers.toml"


def runtime() -> str:
    """What is true until the next boot. Made 0700; without XDG_RUNTIME_DIR (su, cron) a stand-in serves."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    uid = os.geteuid()
    if base.startswith("/") and _usable(base, uid):
        path = f"{base}/rpod"
    else:
        # Root of a user namespace is named as the user that he is outside: /tmp is everybody's.
        owner = _outside(uid)
        path = f"/run/user/{owner}/rpod" if _usable(f"/run/user/{owner}", uid) else f"/tmp/rpod-run-{owner}"
    try:
        files.make_private(path)
    except OSError as error:
        raise RpodError(
            f"the runtime directory cannot be used: {os_reason(error)}",
            f"set XDG_RUNTIME_DIR to a directory that only you can enter, or remove {path}",
        ) from error
    return path


def _outside(uid: int) -> int:
    """What ``uid`` is in the parent of this user namespace (user_namespaces(7))."""
    for line in files.read_file("/proc/self/uid_map").splitlines():
        inside, outside, size = map(int, line.split())
        if inside <= uid < inside + size:
            return outside + uid - inside
    return uid


def _usable(path: str, uid: int) -> bool:
    """Ours, a directory, no link, and closed to others, as the specification demands.

    But for the right to pass through: Podman gives it to the directories above its own, and what is ours in it
    is closed by itself. Another place from then on would mean that nothing runs.
    """
    try:
        info = os.lstat(path)
    except OSError:
        return False
    return info.st_uid == uid and (info.st_mode & 0o170066) == 0o040000


def boot_id() -> str:
    """The kernel's id of this boot."""
    return files.read_file("/proc/sys/kernel/random/boot_id").decode().strip()

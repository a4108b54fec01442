"""The options of the local volume driver: ``type``, ``device``, ``o`` and ``copy`` (podman-volume-create(1)).

A volume's directory, its owner and mode are rpod's own; of the file systems that ``type`` may
name an ordinary user can mount two: a tmpfs, of each container its own, and a bind of a directory.
"""

from __future__ import annotations

import os

from rootless.errors import UnsupportedError, UsageError
from rootless.kernel import userns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_KEYS = ("type", "device", "o", "copy", "nocopy")
_OWNER = ("uid", "gid", "mode")
_WORDS = frozenset("ro rw nosuid suid nodev dev noexec exec noatime relatime bind rbind private rprivate".split())
_TMPFS = ("size", "nr_inodes", "mode", "uid", "gid")
_MAX_ID = 0xFFFFFFFE


def items(options: Mapping[str, str]) -> list[str]:
    """The words of ``o``."""
    return [item for item in options.get("o", "").split(",") if item]


def check(name: str, options: Mapping[str, str]) -> dict[str, int]:
    """The owner and mode that ``options`` ask for: uid, gid, mode. Raises UsageError, UnsupportedError."""
    kind = options.get("type", "")
    if unknown := [key for key in options if key not in _KEYS]:
        raise UsageError(f"volume {name}: unknown option {unknown[0]!r}", ", ".join(_KEYS))
    if kind not in ("", "tmpfs", "bind", "none"):
        raise UnsupportedError(
            f"volume {name}: an ordinary user cannot mount a file system of type {kind!r}", "type=tmpfs or type=bind"
        )
    words = items(options)
    owner = {key: _number(name, key, value) for key, _, value in (w.partition("=") for w in words) if key in _OWNER}
    for word in words:
        key, _, value = word.partition("=")
        _check_word(name, kind, word, key, value)
    if kind in ("bind", "none"):
        _check_device(name, options, owner)
    elif options.get("device", kind) not in (kind, "tmpfs", "none", ""):
        raise UsageError(f"volume {name}: device={options['device']} needs type=bind")
    return {} if kind == "tmpfs" else owner


def _check_word(name: str, kind: str, word: str, key: str, value: str) -> None:
    if key in _OWNER or word in _WORDS or (kind == "tmpfs" and key in _TMPFS and value):
        return
    if key in ("size", "inodes"):
        raise UnsupportedError(
            f"volume {name}: {key} needs a project quota, which an ordinary user cannot set",
            "type=tmpfs,o=size=… keeps a size, in memory",
        )
    raise UsageError(f"volume {name}: unknown option {word!r} in o")


def _check_device(name: str, options: Mapping[str, str], owner: dict[str, int]) -> None:
    device = options.get("device", "")
    if not device.startswith("/"):
        raise UsageError(f"volume {name}: type={options['type']} needs device=DIRECTORY, an absolute path")
    if not os.path.isdir(device):
        raise UsageError(f"volume {name}: {device} is not a directory", f"mkdir -p {device}")
    if owner:
        raise UsageError(f"volume {name}: {next(iter(owner))} belongs to a volume's own directory, not to {device}")


def _number(name: str, key: str, text: str) -> int:
    try:
        value = int(text, 8 if key == "mode" else 10)
    except ValueError:
        value = -1
    if not 0 <= value <= (0o7777 if key == "mode" else _MAX_ID):
        raise UsageError(f"volume {name}: {key}={text} is not {'a mode' if key == 'mode' else 'an id'}")
    return value


def give(path: str, owner: Mapping[str, int]) -> None:
    """Give the directory ``path`` its owner, ids as containers see them, and mode. Raises RpodError."""

    def change() -> None:
        os.chown(path, owner.get("uid", 0), owner.get("gid", 0))
        os.chmod(path, owner.get("mode", 0o755))

    if "uid" in owner or "gid" in owner:
        userns.call_inside(change)


def for_mount(options: Mapping[str, str]) -> list[str]:
    """What every mount of the volume takes over."""
    kind = options.get("type", "")
    words = [word for word in items(options) if kind == "tmpfs" or word.partition("=")[0] not in _OWNER]
    return ["nosuid", "nodev", "rprivate", *words] if kind == "tmpfs" else words

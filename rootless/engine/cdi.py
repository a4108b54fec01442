"""``--device VENDOR/CLASS=NAME``: devices that their maker describes in a file of the Container Device Interface.

Source: github.com/cncf-tags/container-device-interface, SPEC.md. What a description changes in a
container is checked here; what an ordinary user cannot have is refused by name.
"""

from __future__ import annotations

import os
import stat

from rootless import paths
from rootless.errors import UnsupportedError, UsageError, os_reason
from rootless.kernel import fastjson, files
from rootless.spec import Device, Mount

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from rootless.spec import Spec
    from rootless.state.record import ContainerRecord

_MAX_BYTES = 4 << 20
_EDITS = ("env", "deviceNodes", "mounts", "hooks", "additionalGids")
_HOOK = "createContainer"  # the one that runs in the container's namespaces before its root is entered
_MAX_ID = 0xFFFFFFFE


def is_name(text: str) -> bool:
    """Whether ``--device TEXT`` names a described device, not a path."""
    kind, equals, name = text.partition("=")
    return bool(equals and name) and not text.startswith(("/", ".")) and kind.count("/") == 1


def folders() -> list[str]:
    """Where descriptions are; the first that knows a device decides."""
    return [f"{paths.config_home()}/cdi", "/var/run/cdi", "/etc/cdi"]


def inject(names: list[str], record: ContainerRecord, spec: Spec) -> None:
    """Change ``spec`` and ``record`` as the descriptions of ``names`` say. Raises UsageError, UnsupportedError."""
    general: list[str] = []
    for name in dict.fromkeys(names):
        path, document, device = _find(name)
        edits = [_object(device, "containerEdits", path)]
        if path not in general:  # what is said of all devices of a file is done once
            general.append(path)
            edits.insert(0, _object(document, "containerEdits", path))
        for edit in edits:
            _apply(edit, path, record, spec)


def _find(name: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """(file, its document, the device in it)."""
    kind, _, wanted = name.partition("=")
    others = False
    for folder in folders():
        found = []
        try:
            entries = sorted(os.listdir(folder))
        except OSError:
            continue
        others = others or any(entry.endswith((".yaml", ".yml")) for entry in entries)
        for path in (f"{folder}/{entry}" for entry in entries if entry.endswith(".json")):
            document = _read(path)
            if document.get("kind") == kind:
                devices = _list(document, "devices", path)
                found += [(path, document, device) for device in devices if str(device.get("name")) == wanted]
        if len(found) > 1:
            raise UsageError(f"--device {name}: {found[0][0]} and {found[1][0]} both describe it", "remove one of them")
        if found:
            return found[0]
    hint = (
        "descriptions are read as JSON: nvidia-ctk cdi generate --format=json"
        if others
        else "ls " + " ".join(folders())
    )
    raise UsageError(f"--device {name}: no such device is described", hint)


def _read(path: str) -> dict[str, Any]:
    try:
        document = fastjson.loads(files.read_file(path, _MAX_BYTES))
    except (OSError, fastjson.JSONError) as error:
        reason = os_reason(error) if isinstance(error, OSError) else f"{path}: {error}"
        raise UsageError(f"the description of devices cannot be read: {reason}") from error
    if not isinstance(document, dict) or not isinstance(document.get("cdiVersion"), str):
        raise UsageError(f"{path}: no description of devices: cdiVersion is missing")
    return document


def _object(value: dict[str, Any], key: str, path: str) -> dict[str, Any]:
    found = value.get(key) or {}
    if not isinstance(found, dict):
        raise UsageError(f"{path}: {key} must be an object")
    return found


def _list(value: dict[str, Any], key: str, path: str) -> list[dict[str, Any]]:
    found = value.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UsageError(f"{path}: {key} must be a list of objects")
    return found


def _words(value: dict[str, Any], key: str, path: str) -> list[str]:
    found = value.get(key) or []
    if not isinstance(found, list) or not all(isinstance(item, str) and "\0" not in item for item in found):
        raise UsageError(f"{path}: {key} must be a list of strings")
    return found


def _path(value: dict[str, Any], key: str, path: str) -> str:
    found = value.get(key)
    if not isinstance(found, str) or not found.startswith("/") or "\0" in found:
        raise UsageError(f"{path}: {key} must be an absolute path")
    return found


def _apply(edit: dict[str, Any], path: str, record: ContainerRecord, spec: Spec) -> None:
    if unknown := [key for key in edit if key not in _EDITS and edit[key]]:
        raise UnsupportedError(f"{path}: {unknown[0]} is not there for an ordinary user", f"{', '.join(_EDITS)} are")
    variables = dict(entry.partition("=")[::2] for entry in (*spec.process.env, *_words(edit, "env", path)))
    spec.process.env = [f"{name}={value}" for name, value in variables.items()]
    for node in _list(edit, "deviceNodes", path):
        spec.devices.append(_device(node, path))
    for mount in _list(edit, "mounts", path):
        spec.mounts.append(_mount(mount, path))
    for hook in _list(edit, "hooks", path):
        _add_hook(hook, path, record)
    for gid in edit.get("additionalGids") or []:
        if not isinstance(gid, int) or not 0 <= gid <= _MAX_ID:
            raise UsageError(f"{path}: additionalGids: {gid!r} is not a group id")
        record.groups = [*record.groups, str(gid)]


def _device(node: dict[str, Any], path: str) -> Device:
    inside = _path(node, "path", path)
    host = os.path.realpath(_path(node, "hostPath", path) if node.get("hostPath") else inside)
    permissions = node.get("permissions") or "rwm"
    if not isinstance(permissions, str) or not {"r", "w"} <= set(permissions):
        raise UnsupportedError(f"{path}: {inside}: there is no device controller without root, so only rw works")
    try:
        info = os.stat(host)
    except OSError as error:
        raise UsageError(f"{path}: {os_reason(error)}") from error
    if not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        raise UsageError(f"{path}: {host} is not a device")
    kind = "b" if stat.S_ISBLK(info.st_mode) else "c"
    return Device(inside, kind, os.major(info.st_rdev), os.minor(info.st_rdev), host)


def _mount(mount: dict[str, Any], path: str) -> Mount:
    source, inside = _path(mount, "hostPath", path), _path(mount, "containerPath", path)
    if mount.get("type") not in (None, "", "bind", "none"):
        raise UnsupportedError(f"{path}: a mount of type {mount['type']!r} is not there", "bind is")
    if not os.path.lexists(source):
        raise UsageError(f"{path}: {source} does not exist")
    options = [item for item in _words(mount, "options", path) if item not in ("bind", "rbind")]
    return Mount(inside, "bind", source, [*options, "rbind", "rprivate"])


def _add_hook(hook: dict[str, Any], path: str, record: ContainerRecord) -> None:
    name = hook.get("hookName")
    if name != _HOOK:
        raise UnsupportedError(f"{path}: a hook of the kind {name!r} is not there", f"{_HOOK} is")
    timeout = hook.get("timeout") or 0
    if not isinstance(timeout, int) or timeout < 0:
        raise UsageError(f"{path}: timeout must be a number of seconds")
    value: dict[str, object] = {"path": _path(hook, "path", path), "timeout": timeout}
    value["args"], value["env"] = _words(hook, "args", path), _words(hook, "env", path)
    hooks = record.rare.setdefault("hooks", {})
    assert isinstance(hooks, dict)
    hooks.setdefault(_HOOK, []).append(value)

"""``rpod quadlet sync``: services as plain files in the user's systemd folder, where no generator runs.

systemd knows no folder in a home for generators (systemd.generator(7)). What was written here begins with a mark, and
names the links that belong to it, so that it can be taken away when its Quadlet file has gone. A file without the mark
is somebody's own and never touched.
"""

from __future__ import annotations

import os

from rootless import paths
from rootless.errors import ConflictError
from rootless.kernel import files
from rootless.units import generate
from rootless.units.service import LINK_MARK, MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.units.service import Service

_GENERATOR_FOLDERS = (
    "/etc/systemd/user-generators",
    "/usr/local/lib/systemd/user-generators",
    "/usr/lib/systemd/user-generators",
)
_GENERATOR = "rpod-quadlet-generator"


class Changes:
    """What a synchronisation did: names of services."""

    __slots__ = ("removed", "unchanged", "written")

    def __init__(self) -> None:
        self.written: list[str] = []
        self.removed: list[str] = []
        self.unchanged: list[str] = []

    def any(self) -> bool:
        """Whether systemd must read its units anew."""
        return bool(self.written or self.removed)


def directory() -> str:
    """The user's own units."""
    return f"{paths.config_home()}/systemd/user"


def generator() -> str:
    """The path of rpod's generator, "" where an administrator has not installed it."""
    candidates = (f"{folder}/{_GENERATOR}" for folder in _GENERATOR_FOLDERS)
    return next((path for path in candidates if os.access(path, os.X_OK)), "")


def synchronise(services: list[Service]) -> Changes:
    """Make the folder's generated services those that are given.

    Raises ConflictError, with nothing changed, and OSError.
    """
    folder = directory()
    os.makedirs(folder, mode=0o755, exist_ok=True)
    wanted = {service.name: service for service in services}
    present = generated(folder)
    for service in services:
        path = f"{folder}/{service.name}"
        if os.path.lexists(path) and service.name not in present:
            raise ConflictError(
                f"{path} is there already, and rpod did not write it",
                f"rename it, or {os.path.basename(service.source)}",
            )
    changes = Changes()
    for name in sorted(present.keys() - wanted.keys()):
        _remove(folder, name, present[name])
        changes.removed.append(name)
    for name, service in sorted(wanted.items()):
        text = service.text()
        if present.get(name) == text and _links_stand(folder, service):
            changes.unchanged.append(name)
            continue
        _remove_links(folder, name, present.get(name, ""))
        files.write_atomic(f"{folder}/{name}", text.encode(), mode=0o644)
        for link in service.links:
            generate.make_link(folder, link, service.link_target(link))
        changes.written.append(name)
    return changes


def generated(folder: str) -> dict[str, str]:
    """Name -> text of the services that rpod wrote."""
    found = {}
    for name in os.listdir(folder):
        path = f"{folder}/{name}"
        if not name.endswith(".service") or os.path.islink(path) or not os.path.isfile(path):
            continue
        text = files.read_file(path).decode("utf-8", "replace")
        if text.startswith(MARK):
            found[name] = text
    return found


def _links(text: str) -> list[str]:
    return [line[len(LINK_MARK) :] for line in text.splitlines() if line.startswith(LINK_MARK)]


def _links_stand(folder: str, service: Service) -> bool:
    return all(_target(f"{folder}/{link}") == service.link_target(link) for link in service.links)


def _target(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _remove_links(folder: str, name: str, text: str) -> None:
    """The links that the mark names, as long as they still point to the service."""
    for link in _links(text):
        path = os.path.normpath(f"{folder}/{link}")
        if path.startswith(f"{folder}/") and os.path.basename(_target(path)) == name:
            os.unlink(path)
            try:
                os.rmdir(os.path.dirname(path))  # an empty default.target.wants
            except OSError:
                pass  # it holds others


def _remove(folder: str, name: str, text: str) -> None:
    _remove_links(folder, name, text)
    os.unlink(f"{folder}/{name}")

"""``rpod quadlet``: list, print, remove and synchronise Quadlet files."""

from __future__ import annotations

import os
import shutil

from rootless import log
from rootless.engine import systemctl
from rootless.errors import NotFoundError, RpodError, StateError, UsageError, os_reason
from rootless.kernel import files
from rootless.units import generate, search, sync

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.units.generate import Outcome
    from rootless.units.service import Service

_PODMANS_GENERATOR = "/usr/lib/systemd/user-generators/podman-user-generator"
LARGEST_BYTES = 16 << 20


def synchronise(*, reload: bool = True) -> tuple[sync.Changes, list[RpodError]]:
    """Write the services of all files where systemd finds them, and let it read them.

    Where an administrator installed rpod's generator, it does that: then only systemd is told. Returns what was changed
    and the mistakes in files. Raises ConflictError, RpodError.
    """
    outcomes = generate.generate()
    changes = sync.Changes()
    if not sync.generator():
        _warn_of_podman(outcomes)
        try:
            changes = sync.synchronise(generate.services(outcomes))
        except OSError as error:
            raise RpodError(f"the services cannot be written: {os_reason(error)}") from error
    if reload and (changes.any() or sync.generator()) and systemctl.available():
        systemctl.do("daemon-reload")
    return changes, [outcome.error for outcome in outcomes if outcome.error is not None]


def _warn_of_podman(outcomes: list[Outcome]) -> None:
    """Podman's generator makes services of the shared folder, too; systemd prefers ours."""
    shared = [o.name for o in outcomes if "/containers/systemd/" in o.path]
    if shared and os.access(_PODMANS_GENERATOR, os.X_OK):
        log.warn(f"Podman's generator serves {', '.join(shared)}, too: from now on rpod runs them")


def generator(directory: str) -> list[RpodError]:
    """What systemd's generator does: every service into ``directory``. Returns the mistakes in files."""
    outcomes = generate.generate()
    generate.write(directory, generate.services(outcomes))
    return [outcome.error for outcome in outcomes if outcome.error is not None]


class Row:
    """One line of ``rpod quadlet list``."""

    __slots__ = ("app", "error", "name", "path", "status", "unit")

    def __init__(self, outcome: Outcome) -> None:
        self.name = outcome.name
        self.path = outcome.path
        self.unit = outcome.service.name
        self.error = outcome.error
        self.app = application(outcome.path)
        self.status = outcome.error.message if outcome.error else "Not loaded"

    def to_json(self) -> dict[str, str]:
        """The fields that Podman's list has."""
        return {"Name": self.name, "UnitName": self.unit, "Path": self.path, "Status": self.status, "App": self.app}


def listing(filters: list[str]) -> list[Row]:
    """Every Quadlet file that passes ``filters`` (name=PATTERN, status=PATTERN; shell patterns)."""
    from fnmatch import fnmatch

    rules = []
    for text in filters:
        key, equals, pattern = text.partition("=")
        if key not in ("name", "status") or not equals:
            raise UsageError(f"--filter {text}: unknown", "name=PATTERN or status=PATTERN")
        rules.append((key, pattern))
    rows = [Row(outcome) for outcome in generate.generate()]
    if systemctl.available():
        known = systemctl.states([row.unit for row in rows])
        for row in rows:
            if row.error is None and row.unit in known:
                row.status = str(known[row.unit])
    return [row for row in rows if all(fnmatch(getattr(row, key), pattern) for key, pattern in rules)]


def application(path: str) -> str:
    """The application that a file belongs to: the folder in rpod's own one that it was installed into, or ""."""
    own = search.own_directory()
    inside = path.removeprefix(f"{own}/")
    return inside.partition("/")[0] if inside != path and "/" in inside else ""


def find(name: str) -> str:
    """The path of a Quadlet file by its name. Raises NotFoundError."""
    path = search.find().get(name)
    if path is None:
        hint = "rpod quadlet list"
        if not search.is_quadlet(name):
            hint = f"a name with its ending: {name}.container"
        raise NotFoundError(f"no such Quadlet file: {name}", hint)
    return path


def text(name: str) -> str:
    """What stands in a Quadlet file."""
    path = find(name)
    try:
        return files.read_file(path, LARGEST_BYTES).decode("utf-8", "surrogateescape")
    except OSError as error:
        raise RpodError(os_reason(error)) from error


def service(name: str) -> Service:
    """The service that a file becomes. Raises NotFoundError, UnitError."""
    find(name)
    outcome = next(outcome for outcome in generate.generate() if outcome.name == name)
    if outcome.error is not None:
        raise outcome.error
    return outcome.service


def remove(name: str, *, force: bool) -> list[str]:
    """Remove a Quadlet file, with its whole application if it belongs to one. Returns the names that were removed.

    ``force`` stops what runs, which is a StateError otherwise. Raises NotFoundError.
    """
    rows = listing([])
    row = next((row for row in rows if name == row.name), None)
    group = [other for other in rows if other.app and other.app == (row.app if row else name)] or ([row] if row else [])
    if not group:
        find(name)
        raise NotFoundError(f"no such Quadlet file: {name}", "rpod quadlet list")
    for member in group:
        if not os.access(os.path.dirname(member.path), os.W_OK):
            raise RpodError(f"{member.path} is not yours to remove", f"mask it: ln -s /dev/null {_mask(member.name)}")
        if member.status.startswith(("active/", "activating/", "reloading/")):
            if not force:
                raise StateError(f"{member.unit} runs", f"systemctl --user stop {member.unit}, or rm --force")
            systemctl.do("stop", member.unit)
    try:
        if group[0].app:
            shutil.rmtree(f"{search.own_directory()}/{group[0].app}")
        else:
            os.unlink(group[0].path)
    except OSError as error:
        raise RpodError(os_reason(error)) from error
    return [member.name for member in group]


def _mask(name: str) -> str:
    return f"{search.own_directory()}/{name}"


def removable() -> list[str]:
    """The names of the files that ``rm --all`` removes: those in the user's own folders."""
    return [row.name for row in listing([]) if os.access(os.path.dirname(row.path), os.W_OK)]

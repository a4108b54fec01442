"""``rpod auto-update``: containers that ask for it run on the newest version of their image.

A container asks with the label ``io.containers.autoupdate``, and must run in a systemd unit: restarting that is how it
gets the new image. Where the unit does not become ready with it, the name of the image goes back to the old one, and
the unit is restarted once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.engine import images, systemctl
from rootless.engine.pull import is_current, pull
from rootless.errors import NotFoundError, RpodError, UsageError
from rootless.image import reference
from rootless.image.access import Access, PullOptions
from rootless.state.containers import Containers
from rootless.storage.images import ImageStore

if TYPE_CHECKING:
    from rootless.state.container import Container
    from rootless.storage.image_record import Image

LABEL = "io.containers.autoupdate"
AUTHFILE_LABEL = "io.containers.autoupdate.authfile"
UNIT_LABEL = "PODMAN_SYSTEMD_UNIT"
_POLICIES = {"registry": "registry", "image": "registry", "local": "local"}
_WITHOUT = ("", "disabled")

# What became of a container: the word in the column UPDATED.
NO, YES, PENDING, FAILED, ROLLED_BACK = "false", "true", "pending", "failed", "rolled back"


class Task:
    """One container, its unit, and what became of it; ``errors`` are worth a line each."""

    __slots__ = ("access", "container", "errors", "image", "old", "policy", "unit", "updated")

    def __init__(self, container: Container, access: Access) -> None:
        record = container.record
        authfile = access.authfile or record.labels.get(AUTHFILE_LABEL, "")
        self.access = Access(authfile=authfile, tls_verify=access.tls_verify)
        self.container = container
        self.image = record.image
        self.policy = _POLICIES.get(record.labels[LABEL], "")
        self.unit = record.labels.get(UNIT_LABEL, "")
        self.updated = NO
        self.errors: list[RpodError] = []
        self.old: Image | None = None
        if not self.policy:
            self.fail(
                UsageError(
                    f"container {container.name}: {LABEL}={record.labels[LABEL]} is unknown",
                    "registry, local or disabled",
                )
            )
        elif not self.unit:
            self.fail(
                UsageError(
                    f"container {container.name} does not run in a systemd unit, so it cannot be updated",
                    "write a .container file: man rpod-quadlet.5",
                )
            )

    def fail(self, error: RpodError) -> None:
        """The container stays as it is, for this reason."""
        self.updated = FAILED
        self.errors.append(error)

    def to_json(self) -> dict[str, str]:
        """The fields that Podman's auto-update has."""
        container = self.container
        return {
            "Unit": self.unit,
            "Container": f"{container.id[:12]} ({container.name})",
            "ContainerName": container.name,
            "ContainerID": container.id,
            "Image": self.image,
            "Policy": self.policy,
            "Updated": self.updated,
        }


def auto_update(*, dry_run: bool, rollback: bool, access: Access) -> list[Task]:
    """Update what asks for it, or with ``dry_run`` only look. One task for each running container that asks.

    Raises StateError if systemd does not run for this user.
    """
    tasks = [Task(container, access) for container in Containers().all() if _asks(container)]
    if tasks and not dry_run:
        systemctl.require()
    for task in tasks:
        if task.updated != FAILED:
            try:
                _look(task)
            except RpodError as error:
                task.fail(error)
    if not dry_run:
        for unit in dict.fromkeys(task.unit for task in tasks if task.updated == PENDING):
            _update(unit, [task for task in tasks if task.unit == unit and task.updated == PENDING], rollback)
    return sorted(tasks, key=lambda task: (task.unit, task.container.name))


def _asks(container: Container) -> bool:
    return container.record.labels.get(LABEL, "") not in _WITHOUT and container.state().status == "running"


def _look(task: Task) -> None:
    """Whether there is another image than the one that the container runs on."""
    record = task.container.record
    task.old = ImageStore(paths.data()).by_id(record.image_id)
    if task.policy == "local":
        here = images.find(task.image)
        newer = here is not None and here.id != record.image_id
    else:
        if not reference.parse(task.image).domain:
            raise UsageError(
                f"container {task.container.name}: {task.image} does not say which registry it comes from",
                "create it with the full name of the image",
            )
        newer = task.old is None or not is_current(task.image, task.old, task.access)
    task.updated = PENDING if newer else NO


def _update(unit: str, tasks: list[Task], rollback: bool) -> None:
    """Pull the images of a unit's containers, and restart it; where an image cannot be pulled it runs on as it is."""
    restarting = False
    try:
        for task in tasks:
            if task.policy == "registry":
                pull(task.image, PullOptions(quiet=True, access=task.access))
        restarting = True
        _restart(unit)
    except RpodError as error:
        for task in tasks:
            task.fail(error)
        if rollback and restarting:
            _roll_back(unit, tasks)
    else:
        for task in tasks:
            task.updated = YES


def _restart(unit: str) -> None:
    """Restart a unit, wait until it is ready, and see that it runs. Raises RpodError."""
    systemctl.do("restart", unit)
    state = systemctl.states([unit]).get(unit)
    if state is None or state.active not in ("active", "reloading"):
        raise RpodError(f"{unit} ended right after its start", f"journalctl --user -u {unit}")


def _roll_back(unit: str, tasks: list[Task]) -> None:
    """Give the images' names back to the old ones, and restart the unit."""
    store = ImageStore(paths.data())
    try:
        for task in tasks:
            if task.old is None or not task.old.is_there():
                raise NotFoundError(f"the image before, {task.container.record.image_id}, is not there any more")
            store.tag(task.old, reference.parse(task.image).tagged)
        log.warn(f"{unit}: back to the image before")
        _restart(unit)
    except RpodError as error:
        for task in tasks:
            task.errors.append(error)
    else:
        for task in tasks:
            task.updated = ROLLED_BACK

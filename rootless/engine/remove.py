"""``rm``: a container and everything of it, in an order in which a crash leaves nothing half removed."""

from __future__ import annotations

import os

from rootless import log, paths
from rootless.engine import reconcile
from rootless.errors import ConflictError, NewerError, NotFoundError, StateError, StorageError
from rootless.kernel import files, userns
from rootless.state import events
from rootless.state.containers import Containers
from rootless.state.record import ContainerRecord
from rootless.storage import last_use

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container


def remove(
    container: Container, *, force: bool, volumes: bool, timeout_s: int | None, depend: bool = False
) -> list[str]:
    """Remove a container; a running one only with ``force``. ``volumes`` takes its anonymous ones along.

    What depends on it goes with it only with ``depend``, and first. Returns the ids of all that were removed.
    ConflictError if something depends on it, StateError if it runs.
    """
    from rootless.engine import stop
    from rootless.state import dependents

    gone = []
    for other in dependents.of(container, Containers()):
        if not depend:
            raise ConflictError(
                f"container {container.name} cannot be removed: {other.name} depends on it",
                f"rpod rm {other.name} first, or rpod rm --depend {container.name}",
            )
        gone += remove(other, force=force, volumes=volumes, timeout_s=timeout_s, depend=True)
    if container.is_alive():
        if not force and not container.state().waits:
            raise StateError(
                f"container {container.name} is {container.state().status}: it cannot be removed",
                f"rpod stop {container.name}, or rpod rm -f {container.name}",
            )
        stop.stop(container, 0 if timeout_s is None else timeout_s)
    delete(container, volumes=volumes)
    return [*gone, container.id]


def delete(container: Container, *, volumes: bool) -> None:
    """Remove a container that does not run. First the record, which makes it nameless garbage to any reader.

    A damaged record is no obstacle: then only what it alone knew (its volumes, its --cidfile) stays. Somebody who
    was faster, such as the cleanup of a --rm container, has done it all.
    """
    try:
        record = container.record
    except NewerError:
        raise
    except StorageError as error:
        log.warn(error.message)
        record = ContainerRecord(id=container.id)
    try:
        releasing = container.release_lock()
    except NotFoundError:
        return
    with releasing:  # a cleanup that is still at it has another runtime's "delete" make its directories anew
        reconcile.release(container)
        Containers().forget(container)
        try:
            _remove_directory(container)
        finally:
            files.remove_tree(container.run_directory)
    if volumes:
        _remove_volumes(record)
    last_use.note(paths.data(), record.image_id)
    if record.cidfile:
        _remove_cidfile(record.cidfile, container.id)
    if record.rare:
        from rootless.engine import rare

        rare.after_removal(record)
    events.of_container(record, "remove")


def _remove_directory(container: Container) -> None:
    try:
        files.remove_tree(container.directory)
    except PermissionError:
        userns.remove_tree_inside(container.directory)
    except OSError as error:
        raise StorageError(f"{container.directory} cannot be removed: {error.strerror}") from error


def _remove_volumes(record: ContainerRecord) -> None:
    anonymous = [mount.name for mount in record.mounts if mount.anonymous]
    if not anonymous:
        return
    from rootless.storage.volumes import VolumeStore

    store = VolumeStore(paths.data())
    used = {mount.name for other in Containers().all() for mount in other.record.mounts}
    for name in anonymous:
        if name not in used:
            store.remove(name)
            events.of_volume("remove", name)


def _remove_cidfile(path: str, ident: str) -> None:
    """Remove the --cidfile if it still holds this container's id."""
    try:
        if files.read_file(path, 128).decode() == ident:
            os.unlink(path)
    except (OSError, UnicodeDecodeError):
        pass

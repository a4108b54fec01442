"""Which containers share namespaces with another one, kept in the directory of the one that they need.

``containers/ID/dependents/OTHER`` is an empty file, so that ``rm`` finds out without reading every
record. One that a crash left behind names a container that is not there, and says nothing.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.container import Container
    from rootless.state.containers import Containers
    from rootless.state.record import ContainerRecord


def note(record: ContainerRecord, store: Containers) -> None:
    """Write down that the container of ``record`` depends on those that it joins and requires. Raises OSError."""
    for folder in _folders(record, store):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.close(os.open(f"{folder}/{record.id}", os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600))


def forget(record: ContainerRecord, store: Containers) -> None:
    """Undo ``note``, as far as it was done and the others are there."""
    for folder in _folders(record, store):
        try:
            os.unlink(f"{folder}/{record.id}")
        except FileNotFoundError:
            continue


def _folders(record: ContainerRecord, store: Containers) -> list[str]:
    needed = {*record.join.values(), *record.requires}
    return [f"{store.by_id(ident).directory}/dependents" for ident in needed]


def of(container: Container, store: Containers) -> list[Container]:
    """The containers that cannot start without this one."""
    try:
        idents = os.listdir(f"{container.directory}/dependents")
    except FileNotFoundError:
        return []
    return [other for ident in sorted(idents) if (other := store.by_id(ident)).exists()]

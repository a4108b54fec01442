"""Which containers share namespaces with another one, kept in the directory of the one that they need.

``containers/ID/dependents/OTHER`` is an empty file, so that ``rm`` finds out without reading every
record. One that a crash left behind names a container that is not there, and says nothing.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from rootless.state.container import Container
    from rootless.state.containers import Containers


def note(needed: Iterable[Container], ident: str) -> None:
    """Write down that the container ``ident`` depends on those ``needed``. Raises OSError."""
    for container in needed:
        folder = f"{container.directory}/dependents"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.close(os.open(f"{folder}/{ident}", os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW, 0o600))


def of(container: Container, store: Containers) -> list[Container]:
    """The containers that cannot start without this one."""
    try:
        idents = os.listdir(f"{container.directory}/dependents")
    except FileNotFoundError:
        return []
    return [other for ident in sorted(idents) if (other := store.by_id(ident)).exists()]

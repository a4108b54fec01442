"""Directories that a layer's archive does not name, although something lies in them, and mostly its root.

The layer's own tree must have them, and an overlay shows the uppermost layer's attributes of a directory: without
more, a ``/tmp`` of mode 1777 would be one of 0755 as soon as a layer brings ``tmp/x`` alone. So they get what
the layers below show in their place. Those may arrive later: until an image is stored, the names stand in
``layers/HEX/implied``, separated by NUL. To do it twice is harmless.
"""

from __future__ import annotations

import errno
import os

from rootless.kernel import userns
from rootless.storage.copyup import copy_attributes
from rootless.storage.merged import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from rootless.storage.layers import LayerStore

NAME = "implied"


def note(directory: int, names: Collection[bytes]) -> None:
    """Write them down for a layer with one below it; ``directory`` is the descriptor of the layer's own."""
    fd = os.open(NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=directory)
    with os.fdopen(fd, "wb") as file:
        file.write(b"\0".join(sorted(names)))


def settle(store: LayerStore, chain: list[str]) -> None:
    """Give them their attributes in the layers ``chain``, base first, which are all there.

    Raises OSError, RpodError.
    """
    for number, chain_id in enumerate(chain):
        tree = store.path(chain_id)
        path = f"{os.path.dirname(tree)}/{NAME}"
        if not os.path.exists(path) or not store.owns(chain_id):
            continue
        try:
            with open(path, "rb") as file:
                names = file.read().split(b"\0")
            inherit(tree, names, [store.path(below) for below in reversed(chain[:number])])
            os.unlink(path)
        except FileNotFoundError:
            continue  # another pull was faster


def inherit(tree: str, names: list[bytes], below: list[str]) -> None:
    """Give the directories ``names`` of ``tree`` the attributes that the trees ``below``, uppermost first, show.

    Raises OSError, RpodError.
    """
    try:
        _inherit(tree, names, below)
    except PermissionError:  # of subordinate ids
        userns.call_inside(lambda: _inherit(tree, names, below))


def _inherit(tree: str, names: list[bytes], below: list[str]) -> None:
    with Tree([tree, *below]) as stacked:
        for name in names:
            opened: list[int] = []
            try:
                opened.append(stacked.open(tree, name))
                opened.append(stacked.find(name, under=1))
                if opened[1] >= 0:
                    copy_attributes(opened[1], opened[0], os.fstat(opened[1]))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    raise  # else a later entry of the archive replaced it
            finally:
                for fd in opened:
                    if fd >= 0:
                        os.close(fd)

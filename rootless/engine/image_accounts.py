"""An image's /etc/passwd and /etc/group, read from its layers before there is a container."""

from __future__ import annotations

import os

from rootless import paths
from rootless.kernel import userns
from rootless.runtime.mounts import Root
from rootless.storage import merged
from rootless.storage.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _Etc(Root):
    """The files of /etc in the uppermost layer that has them; runtime/users.py reads nothing else."""

    __slots__ = ("_layers",)

    def __init__(self, layers: dict[str, str]) -> None:
        super().__init__(-1)
        self._layers = layers

    def open(self, path: str, flags: int = os.O_PATH, *, links: bool = True) -> int:
        layer = self._layers.get(path.removeprefix("/etc/"))
        if layer is None:
            raise FileNotFoundError(path)
        root = Root.at(layer)
        try:
            return root.open(path, flags, links=links)
        finally:
            os.close(root.fd)


def ask(layers: list[str], question: Callable[[Root], object]) -> object:
    """What ``question`` finds out of a root that shows these two files; ``layers`` are chain ids, base first.

    It is asked in the default user namespace, and answers in JSON's types. Raises its RpodError.
    """
    roots = [LayerStore(paths.data()).path(chain_id) for chain_id in reversed(layers)]

    def look() -> object:
        with merged.Tree(roots) as tree:
            etc = tree.list(roots, b"").get(b"etc")
            nodes = tree.list(etc.parts, b"etc") if etc is not None and etc.is_directory else {}
        return question(
            _Etc({name: nodes[name.encode()].root for name in ("passwd", "group") if name.encode() in nodes})
        )

    return userns.call_inside(look)

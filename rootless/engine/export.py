"""``export``: a container's root as one flat archive."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import paths
from rootless.engine.target_file import TargetFile
from rootless.kernel import userns
from rootless.state import events
from rootless.storage.changeset import FlatPacker
from rootless.storage.layers import LayerStore

if TYPE_CHECKING:
    from rootless.state.container import Container


def export(container: Container, path: str) -> None:
    """Write the archive to ``path``, "" for standard output. What is mounted in the container is not in it."""
    if container.record.rare:
        from rootless.engine import rare

        rare.refuse_directory(container.record, "export")
    layers = LayerStore(paths.data())
    below = [layers.path(chain_id) for chain_id in reversed(container.record.layers)]
    roots = [f"{container.directory}/diff", *below]
    with TargetFile(path, f"rpod export {container.name} > root.tar, or --output FILE") as target:
        userns.call_inside(lambda: FlatPacker(target.write).run(roots))
    events.of_container(container.record, "export")

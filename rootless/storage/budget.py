"""What goes when images take more than they may: the least recently used first, never anything in use.

::

    images, lost layers, downloads ─► by last use ─► take until it fits ─► give back what was not needed

A *lost layer* belongs to no image: a pull that was cut short left it. Sizes are blocks on the disk; a
layer's is measured once and kept in the cache, since a stored layer never changes.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from rootless import log, paths
from rootless.errors import RpodError
from rootless.kernel import fastjson, files
from rootless.storage import last_use, usage
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore

if TYPE_CHECKING:
    from collections.abc import Iterable

# What was used just now may be in use by a command that has no record yet; a mark may lag one step behind.
RESTS_S = 2 * last_use.STEP_S
IMAGE, LAYER, PARTIAL = "image", "layer", "partial"


class Candidate:
    """Something that nothing uses: its ``kind``, id (of a download ""), ``path``, chain ids or own bytes.

    ``used_s`` is when it was last used.
    """

    __slots__ = ("id", "kind", "layers", "name", "own_bytes", "path", "size_bytes", "used_s")

    def __init__(self, kind: str, ident: str, name: str, path: str, *, layers: list[str], own_bytes: int = 0) -> None:
        self.kind = kind
        self.id = ident
        self.name = name
        self.path = path
        self.layers = layers
        self.own_bytes = own_bytes
        self.used_s = _modified(path)
        self.size_bytes = own_bytes  # what its removal, after those before it, brings back

    @property
    def was_used_since(self) -> bool:
        """Whether somebody has used it since it was looked at."""
        return _modified(self.path) != self.used_s


class Plan:
    """What a budget takes: ``taken`` in the order of removal, of ``total_bytes``; ``left_bytes`` stay."""

    __slots__ = ("left_bytes", "taken", "total_bytes")

    def __init__(self, total_bytes: int, taken: list[Candidate]) -> None:
        self.total_bytes = total_bytes
        self.taken = taken
        self.left_bytes = total_bytes - sum(item.size_bytes for item in taken)


class Survey:
    """One look at everything that the budget counts: layers, and what arrived of blobs (``partial_folder``)."""

    def __init__(self, data_dir: str, partial_folder: str, mounted: Iterable[str]) -> None:
        self._images = ImageStore(data_dir)
        self._layers = LayerStore(data_dir)
        self._partial_folder = partial_folder
        chain_ids = [info.chain_id for info in self._layers.all()]
        self._sizes = _layer_sizes(self._layers, chain_ids)
        self._holders = dict.fromkeys(chain_ids, 0)
        self._used = set(mounted)
        for use in self._images.containers():
            self._used.add(use.image_id)
            self._hold(use.layers)
        self._candidates = [*self._partials(), *self._unused_images()]
        self._candidates += self._lost_layers()

    def _hold(self, chain_ids: list[str]) -> None:
        for chain_id in chain_ids:
            self._holders[chain_id] = self._holders.get(chain_id, 0) + 1

    def _unused_images(self) -> list[Candidate]:
        found = []
        for image in self._images.all():
            self._hold(image.layers)
            if image.id not in self._used:
                names = self._images.names(image)
                name = names[0] if names else image.hex[:12]
                found.append(Candidate(IMAGE, image.id, name, image.directory, layers=image.layers))
        return found

    def _lost_layers(self) -> list[Candidate]:
        lost = [chain_id for chain_id, holders in self._holders.items() if not holders]
        self._hold(lost)
        return [Candidate(LAYER, c, f"layer {c[7:19]}", f"{self._layers.directory}/{c[7:]}", layers=[c]) for c in lost]

    def _partials(self) -> list[Candidate]:
        found = []
        for name in _names(self._partial_folder):
            path = f"{self._partial_folder}/{name}"
            try:
                if not files.Lock.is_held(path):
                    size = usage.tree_size(path)
                    found.append(
                        Candidate(PARTIAL, "", f"partial download {name[:12]}", path, layers=[], own_bytes=size)
                    )
            except OSError as error:
                log.debug(f"{path}: {error}")
        return found

    def plan(self, max_bytes: int, max_age_s: int) -> Plan:
        """What to take; 0 is no limit."""
        total = sum(self._sizes.values()) + usage.tree_size(self._partial_folder)
        now = time.time()
        rested = sorted((c for c in self._candidates if now - c.used_s > RESTS_S), key=lambda c: c.used_s)
        old = [c for c in rested if max_age_s and now - c.used_s > max_age_s]
        taken = list(old)
        for candidate in rested[len(old) :]:
            if not max_bytes or total - self._freed(taken) <= max_bytes:
                break
            taken.append(candidate)
        for candidate in reversed(taken[len(old) :]):
            without = [other for other in taken if other is not candidate]
            if total - self._freed(without) <= max(max_bytes, total - self._freed(taken)):
                taken = without  # all of it is shared with what stays, or others brought enough back
        self._freed(taken)
        return Plan(total, taken)

    def _freed(self, taken: list[Candidate]) -> int:
        """The bytes that come back when all of ``taken`` goes; each is given its share."""
        holders = dict(self._holders)
        freed = 0
        for candidate in taken:
            candidate.size_bytes = candidate.own_bytes
            for chain_id in candidate.layers:
                holders[chain_id] -= 1
                if not holders[chain_id]:
                    candidate.size_bytes += self._sizes.get(chain_id, 0)
            freed += candidate.size_bytes
        return freed


def _modified(path: str) -> float:
    """When it was last changed; one that has vanished was changed just now."""
    try:
        return os.lstat(path).st_mtime
    except OSError:
        return time.time()


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _layer_sizes(layers: LayerStore, chain_ids: list[str]) -> dict[str, int]:
    """The bytes on the disk of each layer, its record included."""
    path = f"{paths.cache()}/layer-sizes.json"
    try:
        stored = files.read_json(path)
    except (OSError, fastjson.JSONError):
        stored = {}
    known = {key: size for key, size in stored.items() if isinstance(size, int)} if isinstance(stored, dict) else {}
    sizes = {c: known[c] if c in known else usage.tree_size(os.path.dirname(layers.path(c))) for c in chain_ids}
    if sizes != known:
        try:
            files.make_private(paths.cache())
            files.write_json(path, sizes, sync=False)
        except (OSError, RpodError) as error:
            log.debug(f"{path}: {error}")
    return sizes

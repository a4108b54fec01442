"""``system check``: find what is damaged in the store, and mend it.

::

    leftovers ─► layers ─► images ─► containers ─► volumes

A damage knows how it is mended. Nothing that can still be used is lost by that: a damaged
layer or image goes (it can be pulled again), a volume gets a new record and keeps its files,
a container goes only when that was allowed. What a killed command left is told of, too, but is
no damage: it takes room, and nobody is misled by it.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from rootless import paths
from rootless.engine import image_documents, reconcile, remove
from rootless.errors import NewerError, NotFoundError, RpodError, StorageError
from rootless.image import manifest
from rootless.kernel import files, userns
from rootless.state.containers import Containers
from rootless.storage import tree_check, unused_layers
from rootless.storage.archive import Archive
from rootless.storage.image_record import Image
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore
from rootless.storage.tarstream import TarStream
from rootless.storage.volumes import VolumeStore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEX = frozenset("0123456789abcdef")


class Damage:
    """Something that is wrong: ``what`` it concerns and ``why``. ``remedy`` says what mending does.

    Without ``mend`` it is nothing that this version can judge, and stays. ``harmless`` is what only takes room.
    """

    __slots__ = ("harmless", "mend", "mended", "needs_force", "remedy", "what", "why")

    def __init__(
        self,
        what: str,
        why: str,
        remedy: str = "",
        mend: Callable[[], object] | None = None,
        *,
        harmless: bool = False,
        needs_force: bool = False,
    ) -> None:
        self.harmless = harmless
        self.what = what
        self.why = why
        self.remedy = remedy
        self.mend = mend
        self.needs_force = needs_force
        self.mended = False


def check(*, quick: bool, repair: bool, force: bool, announce: Callable[[Damage], object]) -> bool:
    """Look at everything and tell ``announce`` of each damage; whether nothing is wrong, or not any more.

    ``quick`` does not read the layers' content. With ``repair`` each damage is mended, with
    ``force`` damaged containers are removed, too. A damage that cannot be mended raises its error.
    """
    survey = _Survey(quick=quick)
    sound = True
    for damage in survey.run():
        if repair and damage.mend and (force or not damage.needs_force):
            damage.mend()
            damage.mended = True
        announce(damage)
        sound = sound and (damage.mended or damage.harmless)
    return sound


class _Survey:
    """One look at the store. What it found damaged matters for what is looked at later."""

    def __init__(self, *, quick: bool) -> None:
        self._quick = quick
        self._layers = LayerStore(paths.data())
        self._images = ImageStore(paths.data())
        self._bad_layers: set[str] = set()

    def run(self) -> Iterator[Damage]:
        """Every damage, in an order in which they can be mended."""
        yield from self._leftovers()
        self._bad_layers = set()
        layers = list(self._damaged_layers())
        yield from self._damaged_images()
        yield from self._damaged_containers()
        yield from layers  # when nothing refers to them any more
        yield from self._orphans()
        yield from self._damaged_volumes()

    def _leftovers(self) -> Iterator[Damage]:
        """What killed commands left: it is in nobody's way, and swept by the next pull, too."""
        rest = partial(Damage, remedy="removed", harmless=True)
        staging = f"{paths.data()}/staging"
        for name in _names(staging):
            path = f"{staging}/{name}"
            if name.endswith(".lock") and not files.Lock.is_held(path) and os.path.exists(path):
                yield rest(f"staging/{name[:-5]}", "left by a command that was killed", mend=reconcile.sweep)
        for name in _names(self._images.images_dir):
            if not os.path.exists(f"{self._images.images_dir}/{name}/image.json"):
                yield rest(f"image {name[:12]}", "half-written: it has no record", mend=self._images.sweep)
        for name in _names(self._images.tags_dir):
            if not os.path.exists(f"{self._images.tags_dir}/{name}/image.json"):
                yield rest(f"name {name.replace('+', '/')}", "it leads to no image", mend=self._images.sweep)

    def _damaged_layers(self) -> Iterator[Damage]:
        for name in _names(self._layers.directory):
            path = f"{self._layers.directory}/{name}"
            if len(name) != 64 or not _HEX.issuperset(name):
                yield Damage(f"layers/{name[:64]}", "no layer has such a name", "removed", partial(_discard, path))
                continue
            chain_id = f"sha256:{name}"
            why = self._layer_damage(chain_id)
            if why and os.path.isdir(path):  # else it was removed while it was read
                self._bad_layers.add(chain_id)
                yield Damage(f"layer {name[:12]}", why, "removed", partial(self._layers.remove, chain_id))

    def _layer_damage(self, chain_id: str) -> str:
        """What is wrong with it. One below may be missing: a pull was killed, or its image is told of."""
        try:
            if not self._layers.owns(chain_id):
                return "half-written: it has no record"
            self._layers.info(chain_id)
            if not os.path.isdir(self._layers.path(chain_id)):
                return "its tree is missing"
            if not self._quick:
                return self._tree_damage(chain_id)
        except NotFoundError:
            return "half-written: it has no record"
        except StorageError as error:
            return error.message
        return ""

    def _tree_damage(self, chain_id: str) -> str:
        """Compare the layer's archive with its digest, and its tree with that. Raises StorageError."""
        with Archive(self._layers, chain_id) as archive:
            wanted = tree_check.expected(TarStream(archive.read))
            while archive.read():
                pass
        tree = self._layers.path(chain_id)
        return str(userns.call_inside(lambda: tree_check.first_difference(tree, wanted)))

    def _damaged_images(self) -> Iterator[Damage]:
        for name in _names(self._images.images_dir):
            path = f"{self._images.images_dir}/{name}"
            try:
                why = self._image_damage(path) if os.path.exists(f"{path}/image.json") else ""
            except NewerError as error:
                yield Damage(f"image {name[:12]}", error.message)
                continue
            if why:
                yield Damage(f"image {name[:12]}", why, "removed: pull it again", partial(self._images.discard, name))

    def _image_damage(self, path: str) -> str:
        try:
            image = Image.read(path)
            image_documents.raw_config_of(image)
            image_documents.manifest_of(image)
            if manifest.chain_ids(image.config.diff_ids) != image.layers:
                return "its config names other layers"
        except NewerError:
            raise
        except RpodError as error:
            return error.message
        for chain_id in image.layers:
            if chain_id in self._bad_layers:
                return f"its layer {chain_id[7:19]} is damaged"
            if not self._layers.has(chain_id):
                return f"its layer {chain_id[7:19]} is missing"
        return ""

    def _damaged_containers(self) -> Iterator[Damage]:
        store = Containers()
        for ident in sorted(store.ids()):
            container = store.by_id(ident)
            try:
                record = container.record
            except NotFoundError:
                continue  # being made, or just removed
            except NewerError as error:
                yield Damage(f"container {ident[:12]}", error.message)
                continue
            except StorageError as error:
                why = error.message
            else:
                lost = [c for c in record.layers if c in self._bad_layers or not self._layers.has(c)]
                why = f"its layer {lost[0][7:19]} is damaged or missing" if lost else ""
            if why:
                yield Damage(
                    f"container {ident[:12]}",
                    why,
                    "removed",
                    partial(remove.remove, container, force=True, volumes=False, timeout_s=0),
                    needs_force=True,
                )

    def _orphans(self) -> Iterator[Damage]:
        try:
            unused = unused_layers.find(self._images)
        except StorageError:
            return  # a damaged record, told of already: what it needs is not known
        for chain_id in unused:
            mend = partial(unused_layers.remove, self._images, {chain_id})  # a pull may need it by now
            yield Damage(f"layer {chain_id[7:19]}", "nothing uses it", "removed", mend, harmless=True)

    def _damaged_volumes(self) -> Iterator[Damage]:
        store = VolumeStore(paths.data())
        for name in _names(store.directory):
            try:
                volume = store.get(name)
            except RpodError as error:
                yield Damage(f"volume {name}", error.message, "has a new record", partial(store.renew, name))
                continue
            if volume is None:
                yield Damage(f"volume {name}", "it has no record", "has a new record", partial(store.renew, name))
            elif not os.path.isdir(volume.path):
                yield Damage(
                    f"volume {name}",
                    "its directory is missing",
                    "is empty",
                    partial(os.makedirs, volume.path, 0o755, exist_ok=True),
                )


def _names(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except FileNotFoundError:
        return []


def _discard(path: str) -> None:
    userns.remove_tree_inside(path)

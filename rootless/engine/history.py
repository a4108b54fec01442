"""``history`` and ``image tree``: how an image is made up."""

from __future__ import annotations

from rootless import paths
from rootless.engine import images
from rootless.kernel import times
from rootless.storage.images import ImageStore
from rootless.storage.layers import LayerStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.storage.image_record import Image

MISSING = "<missing>"


class Step:
    """One step of an image's making. ``id`` is the image's (64 digits) or MISSING, ``size_bytes`` the layer's."""

    __slots__ = ("comment", "created_by", "created_ns", "id", "size_bytes", "tags")

    def __init__(self, created_ns: int, created_by: str, comment: str, size_bytes: int) -> None:
        self.id = MISSING
        self.created_ns = created_ns
        self.created_by = created_by
        self.comment = comment
        self.size_bytes = size_bytes
        self.tags: list[str] = []


def history(name: str) -> list[Step]:
    """The steps of an image, the last one first; a layer that no step tells of is one by itself."""
    image = images.resolve(name)
    store = LayerStore(paths.data())
    sizes = [store.info(chain_id).size_bytes for chain_id in image.layers]
    steps = []
    for entry in image.config.history:
        size = sizes.pop(0) if not entry.empty_layer and sizes else 0
        steps.append(Step(_moment(entry.created), entry.created_by, entry.comment, size))
    steps += [Step(image.created_ns, "", "", size) for size in sizes]
    steps.reverse()
    if steps:
        steps[0].id = image.hex
        steps[0].tags = ImageStore(image.data_dir).names(image)
    return steps


def _moment(text: str) -> int:
    try:
        return max(0, times.parse_rfc3339(text))
    except ValueError:
        return 0


class Layer:
    """A layer in ``image tree``: its chain id, the bytes of its archive, the images whose uppermost it is."""

    __slots__ = ("chain_id", "size_bytes", "tops")

    def __init__(self, chain_id: str, size_bytes: int, tops: list[str]) -> None:
        self.chain_id = chain_id
        self.size_bytes = size_bytes
        self.tops = tops


def layers(name: str) -> tuple[Image, list[str], list[Layer]]:
    """An image, its names, and its layers, base first."""
    image = images.resolve(name)
    store, layer_store = ImageStore(paths.data()), LayerStore(paths.data())
    tops = _tops(store)
    found = [Layer(c, layer_store.info(c).size_bytes, tops.get(c, [])) for c in image.layers]
    return image, ImageStore(image.data_dir).names(image), found


def dependants(name: str) -> tuple[Image, list[str], list[tuple[int, Layer]]]:
    """An image, its names, and all layers that stand upon its uppermost: (depth, layer), parents first."""
    image = images.resolve(name)
    store, layer_store = ImageStore(paths.data()), LayerStore(paths.data())
    tops = _tops(store)
    children: dict[str, list[Layer]] = {}
    for info in layer_store.all():
        found = Layer(info.chain_id, info.size_bytes, tops.get(info.chain_id, []))
        children.setdefault(info.parent, []).append(found)
    result: list[tuple[int, Layer]] = []
    pending = [(0, child) for child in reversed(children.get(image.layers[-1], []))] if image.layers else []
    while pending:
        depth, layer = pending.pop()
        result.append((depth, layer))
        pending += [(depth + 1, child) for child in reversed(children.get(layer.chain_id, []))]
    return image, ImageStore(image.data_dir).names(image), result


def _tops(store: ImageStore) -> dict[str, list[str]]:
    """Names of images by the chain id of their uppermost layer."""
    names = store.tags()
    found: dict[str, list[str]] = {}
    for image in store.all():
        if image.layers:
            found.setdefault(image.layers[-1], []).extend(sorted(names.get(image.hex, [])))
    return found

"""Which compressed blobs a layer has been seen as, and where: a push asks there before it compresses anything.

``CACHE/blobs/HEX.json`` (the layer's diff id): a list of ``{"digest", "size", "form", "places"}``, where
``form`` is gzip, zstd or "" and ``places`` are HOST/REPOSITORY. It may be deleted at any time.
"""

from __future__ import annotations

from rootless import log, paths
from rootless.errors import RpodError
from rootless.image.reference import check_digest
from rootless.kernel import fastjson, files

_MOST_BLOBS, _MOST_PLACES = 8, 16


class KnownBlob:
    """A compressed form of a layer: ``size`` in bytes."""

    __slots__ = ("digest", "form", "places", "size")

    def __init__(self, digest: str, size: int, form: str, places: list[str]) -> None:
        self.digest = digest
        self.size = size
        self.form = form
        self.places = places

    def on(self, host: str) -> list[str]:
        """The repositories of ``host`` that have it."""
        return [place.partition("/")[2] for place in self.places if place.partition("/")[0] == host]


def read(diff_id: str) -> list[KnownBlob]:
    """What is known of a layer; nothing where the file is missing or makes no sense."""
    try:
        document = files.read_json(_path(diff_id))
        return [_parse(item) for item in document] if isinstance(document, list) else []
    except (OSError, fastjson.JSONError, RpodError, KeyError, TypeError):
        return []


def _parse(item: dict[str, object]) -> KnownBlob:
    size, places = item["size"], item["places"]
    if not isinstance(size, int) or not isinstance(places, list):
        raise TypeError(item)
    return KnownBlob(check_digest(str(item["digest"])), size, str(item["form"]), [str(place) for place in places])


def remember(diff_id: str, digest: str, size: int, form: str, place: str) -> None:
    """Note that ``place`` has the blob now."""
    known = read(diff_id)
    places = [other for blob in known if blob.digest == digest for other in blob.places if other != place]
    noted = KnownBlob(digest, size, form, [place, *places][:_MOST_PLACES])
    blobs = [noted, *(blob for blob in known if blob.digest != digest)][:_MOST_BLOBS]
    record = [{name: getattr(blob, name) for name in blob.__slots__} for blob in blobs]
    try:
        files.make_private(f"{paths.cache()}/blobs")
        files.write_json(_path(diff_id), record, sync=False)
    except (OSError, RpodError) as error:
        log.debug(f"where a blob is is not noted: {error}")


def _path(diff_id: str) -> str:
    return f"{paths.cache()}/blobs/{check_digest(diff_id)[7:]}.json"

"""Lists of images for several platforms, as they are being made: ``lists/QUOTED.json``, one file a list.

A list names manifests, and remembers where each comes from; it holds no layers and keeps none in
use. What it refers to is looked up when it is pushed. Whoever changes lists holds the lock from the
reading to the writing, never while a registry is asked.
"""

from __future__ import annotations

import os
import time

from rootless.errors import ConflictError, NotFoundError, StorageError, os_reason
from rootless.kernel import fastjson, files
from rootless.storage.image_record import MAX_NAME, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA = 1
_ENDING = ".json"


class ImageList:
    """A list: its full ``name``, an ``id`` of 64 digits, and ``entries``.

    An entry is a descriptor (image-spec image-index.md) with one more property, ``source``: the
    place (``docker://NAME@DIGEST``, ``containers-storage:ID``) where its image is.
    """

    __slots__ = ("annotations", "created_ns", "entries", "id", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.id = os.urandom(32).hex()
        self.created_ns = time.time_ns()
        self.entries: list[dict[str, Any]] = []
        self.annotations: dict[str, str] = {}

    def to_json(self) -> dict[str, object]:
        """The record."""
        return {"schema": SCHEMA, **{name: getattr(self, name) for name in self.__slots__}}

    @classmethod
    def read(cls, path: str) -> ImageList:
        """From a record. Raises FileNotFoundError, StorageError."""
        try:
            value = files.read_json(path)
        except FileNotFoundError:
            raise
        except (OSError, fastjson.JSONError) as error:
            raise StorageError(f"{path} cannot be read: {error}", "remove the file, and make the list anew") from error
        if not isinstance(value, dict) or value.get("schema") != SCHEMA:
            raise StorageError(f"{path}: not a list of this version of rpod", "update rpod, or remove the file")
        found = cls("")
        for name in cls.__slots__:
            if type(value.get(name)) is not type(getattr(found, name)):
                raise StorageError(f"{path}: {name} is of the wrong type", "remove the file, and make the list anew")
            setattr(found, name, value[name])
        return found


class ListStore:
    """The lists of a data directory."""

    __slots__ = ("directory",)

    def __init__(self, data_dir: str) -> None:
        self.directory = f"{data_dir}/lists"

    def _path(self, name: str) -> str:
        return f"{self.directory}/{quote(name)}{_ENDING}"

    def names(self) -> list[str]:
        """The names of all lists."""
        try:
            found = os.listdir(self.directory)
        except FileNotFoundError:
            return []
        return sorted(item.removesuffix(_ENDING).replace("+", "/") for item in found if item.endswith(_ENDING))

    def find(self, name: str) -> ImageList | None:
        """The list with the full name ``name``, or None. Raises StorageError."""
        if len(name) > MAX_NAME - len(_ENDING):
            return None
        try:
            return ImageList.read(self._path(name))
        except FileNotFoundError:
            return None

    def lock(self) -> files.Lock:
        """Held for a change: of two builds that add their images at the same time both are heard. StorageError."""
        try:
            files.make_private(self.directory)
            taken = files.Lock.acquire(f"{self.directory}/.lock")
        except OSError as error:
            raise StorageError(f"lists cannot be changed: {os_reason(error)}", "rpod doctor data-directory") from error
        assert taken is not None
        return taken

    def create(self, name: str) -> ImageList:
        """A new, empty list. Raises ConflictError if there is one of that name."""
        if len(name) > MAX_NAME - len(_ENDING):
            raise StorageError(f"{name[:60]}… is too long for the name of a list")
        if os.path.exists(self._path(name)):
            raise ConflictError(
                f"there is a list {name} already", f"rpod manifest create --amend {name}, or manifest rm"
            )
        made = ImageList(name)
        self.save(made)
        return made

    def save(self, changed: ImageList) -> None:
        """Write a list."""
        try:
            files.write_json(self._path(changed.name), changed.to_json())
        except OSError as error:
            raise StorageError(f"list {changed.name} cannot be stored: {os_reason(error)}", "rpod system df") from error

    def remove(self, name: str) -> None:
        """Remove a list. Raises NotFoundError."""
        try:
            os.unlink(self._path(name))
        except FileNotFoundError:
            raise NotFoundError(f"{name}: no such list", "rpod images") from None
        except OSError as error:
            raise StorageError(f"list {name} cannot be removed: {os_reason(error)}") from error

"""The record of a stored image, image.json, and what lies beside it."""

from __future__ import annotations

import os

from rootless.errors import NewerError, NotFoundError, StorageError, os_reason
from rootless.kernel import fastjson, files
from rootless.storage.image_config import ImageConfig, is_digest

TYPE_CHECKING = False

SCHEMA = 1
# A tag is a file name.
MAX_NAME = 255
_REPAIR = "pull the image again: that replaces the record"


def quote(reference: str) -> str:
    """A full name as a file name in ``tags/``; no reference has a "+" of its own."""
    return reference.replace("/", "+")


class Image:
    """A stored image. Ids and digests are ``sha256:HEX``; ``layers`` are chain ids, base first.

    ``size_bytes`` is the unpacked size of the layers, ``names`` the history of names,
    ``repo_digests`` references with the digests under which registries know it. ``found_as``
    is the full name that led to this object, "" where no name did.
    """

    __slots__ = (
        "_config",
        "architecture",
        "created_ns",
        "digest",
        "directory",
        "found_as",
        "id",
        "layers",
        "media_type",
        "names",
        "os",
        "repo_digests",
        "size_bytes",
        "variant",
    )
    # name, default (whose type is the field's)
    FIELDS: tuple[tuple[str, object], ...] = (
        ("id", ""),
        ("names", []),
        ("digest", ""),
        ("media_type", ""),
        ("layers", []),
        ("size_bytes", 0),
        ("created_ns", 0),
        ("os", ""),
        ("architecture", ""),
        ("variant", ""),
        ("repo_digests", []),
    )

    if TYPE_CHECKING:
        _config: ImageConfig | None
        architecture: str
        created_ns: int
        digest: str
        found_as: str
        id: str
        layers: list[str]
        media_type: str
        names: list[str]
        os: str
        repo_digests: list[str]
        size_bytes: int
        variant: str

    def __init__(self, directory: str, **values: object) -> None:
        self.directory = directory
        self._config = None
        self.found_as = ""
        for name, default in self.FIELDS:
            setattr(self, name, values.get(name, default))

    @classmethod
    def read(cls, directory: str) -> Image:
        """The image of ``directory``. NotFoundError if there is none, StorageError if the record is damaged."""
        path = f"{directory}/image.json"
        try:
            value = files.read_json(path)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFoundError(f"no such image: {os.path.basename(directory)[:12]}") from None
        except (OSError, fastjson.JSONError) as error:
            reason = os_reason(error) if isinstance(error, OSError) else f"{path}: {error}"
            raise StorageError(f"the record of an image cannot be read: {reason}", _REPAIR) from error
        if not isinstance(value, dict):
            raise StorageError(f"{path}: not a record", _REPAIR)
        schema = value.get("schema")
        if isinstance(schema, int) and schema > SCHEMA:
            raise NewerError(f"image {os.path.basename(directory)[:12]}")
        if schema != SCHEMA:
            raise StorageError(f"{path}: not a record", _REPAIR)
        for name, default in cls.FIELDS:
            if type(value.get(name, default)) is not type(default):
                raise StorageError(f"{path}: {name} is of the wrong type", _REPAIR)
        image = cls(directory, **value)
        if image.id != f"sha256:{os.path.basename(directory)}" or not all(map(is_digest, image.layers)):
            raise StorageError(f"{path}: a wrong id", _REPAIR)
        return image

    @classmethod
    def unstored(cls, name: str) -> Image:
        """What stands for the image where a container has none: no layers, and nothing said about containers."""
        image = cls("")
        image.found_as, image._config = name, ImageConfig({})
        return image

    @property
    def hex(self) -> str:
        """The id's 64 digits."""
        return self.id[7:]

    @property
    def data_dir(self) -> str:
        """The data directory of the store that has it."""
        return os.path.dirname(os.path.dirname(self.directory))

    def is_there(self) -> bool:
        """Whether the record is still there: what ``create`` asks again after its own is written."""
        return os.path.exists(f"{self.directory}/image.json")

    @property
    def config(self) -> ImageConfig:
        """What the image says about its containers, read once. Raises StorageError, ImageError."""
        if self._config is None:
            self._config = ImageConfig.parse(self._document("config.json"))
        return self._config

    def name_for(self, typed: str) -> str:
        """What to call it for people: the name that ``typed`` meant, else any that it has, else the word itself.

        An id as typed says nothing to people who read ``ps``.
        """
        if self.found_as:
            return self.found_as
        tags = f"{self.data_dir}/tags"
        return next((name for name in self.names if self._is_at(f"{tags}/{quote(name)}")), typed)

    def _is_at(self, link: str) -> bool:
        try:
            return os.path.basename(os.readlink(link)) == self.hex
        except OSError:
            return False

    def manifest(self) -> bytes:
        """The manifest, byte for byte."""
        return self._document("manifest.json")

    def raw_config(self) -> bytes:
        """The config, byte for byte."""
        return self._document("config.json")

    def _document(self, name: str) -> bytes:
        try:
            return files.read_file(f"{self.directory}/{name}")
        except OSError as error:
            raise StorageError(f"image {self.hex[:12]}: {os_reason(error)}", "rpod rmi it and pull it again") from error

    def save(self) -> None:
        """Write the record."""
        record: dict[str, object] = {"schema": SCHEMA}
        record.update((name, getattr(self, name)) for name, _ in self.FIELDS)
        files.write_json(f"{self.directory}/image.json", record)


class NewImage:
    """What ``ImageStore.add`` needs: the documents byte for byte, and where the layers are."""

    __slots__ = ("config", "layers", "manifest", "media_type", "repo_digests")

    def __init__(
        self,
        config: bytes,
        manifest: bytes,
        media_type: str,
        layers: list[str],
        repo_digests: list[str] | None = None,
    ) -> None:
        self.config = config
        self.manifest = manifest
        self.media_type = media_type
        self.layers = layers
        self.repo_digests = repo_digests or []


class ContainerUse:
    """A container as far as images care: who it is and what it keeps in use."""

    __slots__ = ("id", "image_id", "layers", "name")

    def __init__(self, ident: str, name: str, image_id: str, layers: list[str]) -> None:
        self.id = ident
        self.name = name
        self.image_id = image_id
        self.layers = layers

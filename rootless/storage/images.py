"""Images on the disk: records, and tags as symbolic links.

An image is a directory ``images/HEX`` (HEX: the digest of its config) that holds
``image.json``. That file is written last and removed first, so a directory without it is
no image, only something to sweep. A tag is the link ``tags/QUOTED -> ../images/HEX``; the
links are the truth about names, the record's ``names`` are the names it ever had.

Whoever changes records or tags holds ``images.lock`` for these few writes, never while
something is fetched or unpacked. A pull may therefore find at its end that a layer which
was there has been removed: ``add`` says so with MissingLayersError, and the pull fetches it.
"""

from __future__ import annotations

import errno
import os

from rootless import log
from rootless.errors import ConflictError, DiskFullError, NewerError, NotFoundError, StorageError, os_reason
from rootless.kernel import fastjson, files
from rootless.storage.image_config import ImageConfig
from rootless.storage.image_record import MAX_NAME, ContainerUse, Image, NewImage, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["ContainerUse", "Image", "ImageStore", "MissingLayersError", "NewImage"]

_MIN_PREFIX = 3
_CONTAINER_SCHEMA = 1  # of the container.json that state.record writes
_HEX = frozenset("0123456789abcdef")


class MissingLayersError(StorageError):
    """Layers that were there when the pull began and are not any more; ``chain_ids`` names them."""

    def __init__(self, chain_ids: list[str]) -> None:
        super().__init__("layers of the image were removed while it was pulled", "pull it again")
        self.chain_ids = chain_ids


class ImageStore:
    """The images under a data directory."""

    __slots__ = ("data_dir", "images_dir", "tags_dir")

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        self.images_dir = f"{data_dir}/images"
        self.tags_dir = f"{data_dir}/tags"

    # ---- reading: without a lock; what vanishes meanwhile was not there

    def find(self, reference: str) -> Image | None:
        """The image with the full name ``reference`` (``docker.io/library/debian:12``), or None."""
        try:
            target = os.readlink(f"{self.tags_dir}/{quote(reference)}")
        except OSError:
            return None
        image = self._read(os.path.basename(target))
        if image is not None:
            image.found_as = reference
        return image

    def _read(self, hex_id: str) -> Image | None:
        try:
            return Image.read(f"{self.images_dir}/{hex_id}")
        except NotFoundError:
            return None

    def by_id(self, prefix: str) -> Image | None:
        """The image whose id begins with ``prefix`` (3 hexadecimal digits or more, ``sha256:`` may stand before).

        Raises NotFoundError naming the candidates where several begin with it.
        """
        digits = prefix.removeprefix("sha256:")
        if not _MIN_PREFIX <= len(digits) <= 64 or not _HEX.issuperset(digits):
            return None
        found = [image for name in self._ids() if name.startswith(digits) and (image := self._read(name))]
        if len(found) > 1:
            names = ", ".join(sorted(image.hex[:12] for image in found))
            raise NotFoundError(f"{prefix!r} is the beginning of several images' ids: {names}", "type more digits")
        return found[0] if found else None

    def by_digest(self, repository: str, digest: str) -> Image | None:
        """The image that a registry's ``repository`` (full name without tag) has under ``digest``."""
        wanted = f"{repository}@{digest}"
        found = next((image for image in self.all() if wanted in image.repo_digests), None)
        if found is not None:
            found.found_as = wanted
        return found

    def by_last_part(self, path: str, tag: str) -> Image | None:
        """The image one of whose names ends in ``/path:tag``, as Podman finds short names.

        Raises NotFoundError naming the candidates where several images have such names.
        """
        ending = f"/{path}:{tag}"
        found: dict[str, str] = {}
        for hex_id, names in self.tags().items():
            for name in names:
                if name.endswith(ending):
                    found.setdefault(hex_id, name)
        if len(found) > 1:
            names_found = ", ".join(sorted(found.values()))
            raise NotFoundError(f"{path}:{tag} may mean several images: {names_found}", "type one of these names")
        return self.find(next(iter(found.values()))) if found else None

    def all(self) -> list[Image]:
        """Every image; a damaged record is warned about and left out."""
        found = []
        for hex_id in self._ids():
            try:
                image = self._read(hex_id)
            except StorageError as error:
                log.warn(error.message)
                continue
            if image is not None:
                found.append(image)
        return found

    def every(self) -> Iterator[Image]:
        """Every image. Raises StorageError for a damaged record."""
        return (image for name in self._ids() if (image := self._read(name)) is not None)

    def tags(self) -> dict[str, list[str]]:
        """Full names by image (64 digits)."""
        found: dict[str, list[str]] = {}
        for entry in _entries(self.tags_dir):
            try:
                target = os.readlink(f"{self.tags_dir}/{entry}")
            except OSError:
                continue
            found.setdefault(os.path.basename(target), []).append(entry.replace("+", "/"))
        return found

    def names(self, image: Image) -> list[str]:
        """The full names that ``image`` has now, in the order in which it got them."""
        current = self.tags().get(image.hex, [])
        return sorted(current, key=lambda name: (image.names.index(name) if name in image.names else -1, name))

    def containers(self) -> Iterator[ContainerUse]:
        """What each container record keeps in use. Raises StorageError for a damaged one."""
        for ident in _entries(f"{self.data_dir}/containers"):
            path = f"{self.data_dir}/containers/{ident}/container.json"
            try:
                record = files.read_json(path)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, fastjson.JSONError) as error:
                raise StorageError(
                    f"the record of container {ident[:12]} cannot be read: {error}", f"rpod rm -f {ident[:12]}"
                ) from error
            if not isinstance(record, dict) or not isinstance(layers := record.get("layers", []), list):
                raise StorageError(f"{path}: not a container's record", f"rpod rm -f {ident[:12]}")
            if record.get("schema") not in (None, _CONTAINER_SCHEMA):
                raise NewerError(f"container {ident[:12]}")
            name = str(record.get("name", ""))
            yield ContainerUse(ident, name, str(record.get("image_id", "")), layers)
            for mount in record.get("mounts", []):
                if isinstance(mount, dict) and mount.get("type") == "image":
                    yield ContainerUse(ident, name, str(mount.get("image_id", "")), list(mount.get("layers", [])))

    def _ids(self) -> list[str]:
        return [name for name in _entries(self.images_dir) if len(name) == 64 and _HEX.issuperset(name)]

    # ---- changing: under the lock

    def refuse_foreign(self, image: Image) -> None:
        """Raise ConflictError for an image that an additional store has: it is only read."""
        if image.data_dir != self.data_dir:
            raise ConflictError(
                f"image {image.hex[:12]} is in {image.data_dir}, a store that is only read (storage.additional)",
                f"XDG_DATA_HOME={os.path.dirname(image.data_dir)} rpod … works on that store",
            )

    def lock(self) -> files.Lock:
        """Held for a change of records or tags, and for the removal of layers. Raises StorageError."""
        try:
            files.make_private(self.images_dir)
            files.make_private(self.tags_dir)
            lock = files.Lock.acquire(f"{self.data_dir}/images.lock")
        except OSError as error:
            raise StorageError(f"images cannot be changed: {os_reason(error)}", "rpod doctor data-directory") from error
        assert lock is not None
        return lock

    def add(self, new: NewImage, references: Sequence[str] = ()) -> Image:
        """Store an image whose layers are there and give it the names ``references``.

        It is on the disk when this returns. The same image again refreshes its record.
        Raises MissingLayersError, StorageError.
        """
        import hashlib

        from rootless.storage import implied
        from rootless.storage.layers import LayerStore

        for reference in references:
            _check_name(reference)
        config = ImageConfig.parse(new.config)
        hex_id = hashlib.sha256(new.config).hexdigest()
        with self.lock():
            layers = LayerStore(self.data_dir)
            missing = [chain_id for chain_id in new.layers if not layers.has(chain_id)]
            if missing:
                raise MissingLayersError(missing)
            old = self._read_or_damaged(hex_id)
            image = Image(
                f"{self.images_dir}/{hex_id}",
                id=f"sha256:{hex_id}",
                names=_merged(old.names if old else [], references),
                digest=f"sha256:{hashlib.sha256(new.manifest).hexdigest()}",
                media_type=new.media_type,
                layers=new.layers,
                size_bytes=sum(layers.info(chain_id).size_bytes for chain_id in new.layers),
                created_ns=config.created_ns,
                os=config.os,
                architecture=config.architecture,
                variant=config.variant,
                repo_digests=_merged(old.repo_digests if old else [], new.repo_digests),
            )
            try:
                implied.settle(layers, new.layers)
                self._write(image, new)
                for reference in references:
                    self._link(reference, image)
                files.sync_directory(self.tags_dir)
            except OSError as error:
                if old is None:
                    self._undo(image, references)
                words = f"the image cannot be stored: {os_reason(error)}"
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise DiskFullError(words) from error
                raise StorageError(words, "rpod system df") from error
        return image

    def _undo(self, image: Image, references: Sequence[str]) -> None:
        """Remove an image that could not be stored whole, and the names that it has already."""
        for path in (f"{self.tags_dir}/{quote(reference)}" for reference in references):
            try:
                if os.path.basename(os.readlink(path)) == image.hex:
                    os.unlink(path)
            except OSError:
                continue
        try:
            files.remove_tree(image.directory)
        except OSError:
            pass  # the next sweep tries again

    def _read_or_damaged(self, hex_id: str) -> Image | None:
        """The old record if it can be read: a damaged one is replaced by pulling the image again."""
        try:
            return self._read(hex_id)
        except NewerError:
            raise
        except StorageError:
            return None

    def _write(self, image: Image, new: NewImage) -> None:
        os.makedirs(image.directory, mode=0o700, exist_ok=True)
        try:
            files.write_atomic(f"{image.directory}/config.json", new.config)
            files.write_atomic(f"{image.directory}/manifest.json", new.manifest)
            image.save()
            files.sync_directory(self.images_dir)
        except OSError:
            if not os.path.exists(f"{image.directory}/image.json"):
                files.remove_tree(image.directory)
            raise

    def _link(self, reference: str, image: Image) -> None:
        """Point a tag to ``image``: a new link renamed over the old one, so that the name never dangles."""
        temporary = f"{self.tags_dir}/.{os.getpid()}.new"
        try:
            os.symlink(f"../images/{image.hex}", temporary)
        except FileExistsError:  # left by a killed process of this pid; the lock is ours
            os.unlink(temporary)
            os.symlink(f"../images/{image.hex}", temporary)
        os.rename(temporary, f"{self.tags_dir}/{quote(reference)}")

    def tag(self, image: Image, reference: str) -> None:
        """Give ``image`` the full name ``reference``; another image that had it loses it."""
        _check_name(reference)
        self.refuse_foreign(image)
        with self.lock():
            current = Image.read(image.directory)
            current.names = _merged(current.names, [reference])
            try:
                current.save()
                self._link(reference, current)
                files.sync_directory(self.tags_dir)
            except OSError as error:
                raise StorageError(f"{reference}: {os_reason(error)}", "rpod system df") from error

    def untag(self, image: Image, reference: str) -> None:
        """Take the name ``reference`` from ``image``. NotFoundError if it does not have it."""
        self.refuse_foreign(image)
        with self.lock():
            if reference not in self.tags().get(image.hex, []):
                raise NotFoundError(f"{reference}: image {image.hex[:12]} has no such name")
            self._unlink(reference)
            files.sync_directory(self.tags_dir)

    def _unlink(self, reference: str) -> None:
        try:
            os.unlink(f"{self.tags_dir}/{quote(reference)}")
        except FileNotFoundError:
            pass
        except OSError as error:
            raise StorageError(f"{reference}: {os_reason(error)}") from error

    def remove(self, image: Image, *, if_unused: bool = False) -> list[str]:
        """Remove the record, then the names, then the layers that nothing else uses; returns those chain ids.

        With ``if_unused`` ConflictError if a container uses it, else that is the caller's question
        (``containers``). One that was created in the meantime keeps its layers, because they are
        counted after the record is gone.
        """
        from rootless.storage import unused_layers

        self.refuse_foreign(image)
        with self.lock():
            try:
                self._remove_record(image, if_unused=if_unused)
            except FileNotFoundError:
                raise NotFoundError(f"no such image: {image.hex[:12]}") from None
            except OSError as error:
                raise StorageError(f"image {image.hex[:12]} cannot be removed: {os_reason(error)}") from error
            for reference in self.tags().get(image.hex, []):
                self._unlink(reference)
            files.remove_tree(image.directory)
            files.sync_directory(self.images_dir)
            unused, graveyard = unused_layers.bury_those_of(self, image)
        if graveyard is not None:
            graveyard.close()  # deleting thousands of files needs no lock
        return unused

    def _remove_record(self, image: Image, *, if_unused: bool) -> None:
        """First out of sight, then the look at the containers: ``create`` does it the other way round.

        It looks for the image again after its own record is written, so that one of the two sees the other.
        """
        path = f"{image.directory}/image.json"
        aside = f"{path}.tmp"  # what is swept
        os.rename(path, aside)
        try:
            if if_unused and any(use.image_id == image.id for use in self.containers()):
                raise ConflictError(f"image {image.hex[:12]} is in use by a container")
        except BaseException:
            os.rename(aside, path)
            raise
        os.unlink(aside)

    def discard(self, hex_id: str) -> None:
        """Remove a damaged image, record first, and its names. Its layers stay: ``unused_layers``."""
        path = f"{self.images_dir}/{hex_id}"
        with self.lock():
            try:
                files.remove_tree(f"{path}/image.json")
                for reference in self.tags().get(hex_id, []):
                    self._unlink(reference)
                files.remove_tree(path)
                files.sync_directory(self.images_dir)
            except OSError as error:
                raise StorageError(f"image {hex_id[:12]} cannot be removed: {os_reason(error)}") from error

    def sweep(self) -> None:
        """Remove what a killed process left: directories without a record, torn files, links to nothing."""
        with self.lock():
            try:
                self._sweep_images()
                for name in os.listdir(self.tags_dir):
                    if name.startswith(".") or not os.path.exists(f"{self.tags_dir}/{name}/image.json"):
                        os.unlink(f"{self.tags_dir}/{name}")
            except OSError as error:
                raise StorageError(
                    f"images cannot be swept: {os_reason(error)}", "rpod doctor data-directory"
                ) from error

    def _sweep_images(self) -> None:
        for name in _entries(self.images_dir):
            path = f"{self.images_dir}/{name}"
            if not os.path.exists(f"{path}/image.json"):
                files.remove_tree(path)
                continue
            for entry in _entries(path):
                if entry.endswith(".tmp"):
                    os.unlink(f"{path}/{entry}")


def _check_name(reference: str) -> None:
    if len(reference) > MAX_NAME:
        raise StorageError(f"{reference[:60]}… is longer than the {MAX_NAME} characters that a name can have")


def _entries(path: str) -> list[str]:
    """The names in a directory that do not begin with a dot, sorted; [] if it is not there."""
    try:
        return sorted(name for name in os.listdir(path) if not name.startswith("."))
    except FileNotFoundError:
        return []


def _merged(old: list[str], new: Iterable[str]) -> list[str]:
    return [*old, *(item for item in new if item not in old)]

"""What ``images`` and ``image inspect`` say, with Podman's field names."""

from __future__ import annotations

import os

from rootless import log
from rootless.engine.gotypes import Map, Struct
from rootless.errors import NotFoundError, StorageError, UnsupportedError, UsageError
from rootless.kernel import fastjson
from rootless.storage.image_record import Image

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.transports.model import SourceImage
    from rootless.image.manifest import Manifest
    from rootless.storage.image_config import History, ImageConfig
    from rootless.storage.images import ImageStore

NONE = "<none>"


class ImageRow:
    """One name of one image. ``Created`` is seconds, ``CreatedAt`` nanoseconds since the epoch, ``Size`` bytes.

    ``SharedSize`` is what of it other images have, too, where somebody asked for that.
    """

    __slots__ = (
        "Containers",
        "Created",
        "CreatedAt",
        "Dangling",
        "Digest",
        "History",
        "Id",
        "IsManifestList",
        "Labels",
        "Names",
        "ParentId",
        "ReadOnly",
        "RepoDigests",
        "RepoTags",
        "Repository",
        "SharedSize",
        "Size",
        "Tag",
        "VirtualSize",
    )

    def __init__(self, image: Image, name: str, names: list[str], containers: int, labels: dict[str, str]) -> None:
        repository, tag, _ = split_name(name)
        self.Id = image.hex
        self.Repository = repository
        self.Tag = tag
        self.Digest = image.digest
        self.Names = names
        self.RepoTags = [item for item in names if "@" not in item]
        self.RepoDigests = list(image.repo_digests)
        self.History = list(image.names)
        self.Created = image.created_ns // 1_000_000_000
        self.CreatedAt = image.created_ns
        self.Size = image.size_bytes
        self.SharedSize = 0
        self.VirtualSize = image.size_bytes
        self.Labels = labels
        self.Containers = containers
        self.Dangling = not names
        self.ParentId = ""  # the steps of builds are no images here
        self.ReadOnly = False
        self.IsManifestList = False


def split_name(name: str) -> tuple[str, str, str]:
    """A full name as (repository, tag, digest); what it does not have is ``<none>``."""
    rest, at, digest = name.partition("@")
    if at or not rest:
        return rest or NONE, NONE, digest or NONE
    repository, _, tag = rest.rpartition(":")
    return repository, tag, NONE


class _Candidate:
    """An image with all that filters look at."""

    __slots__ = ("containers", "image", "names")

    def __init__(self, image: Image, names: list[str], containers: int) -> None:
        self.image = image
        self.names = names
        self.containers = containers


def rows(store: ImageStore, filters: list[str], others: list[ImageStore], *, shared: bool = False) -> list[ImageRow]:
    """The rows of ``images``, newest image first, names in alphabetical order; ``others`` are only read.

    ``shared``: find out their SharedSize, for which the record of every layer is read.
    """
    tests = _Filters(store, filters)
    tags = store.tags()
    counts = _container_counts(store)
    found: list[ImageRow] = []
    images = {image.id: image for image in store.all()}
    for other in others:
        others_tags = other.tags()
        for image in other.all():
            if images.setdefault(image.id, image) is image:
                tags[image.hex] = others_tags.get(image.hex, [])
    shared_bytes = _shared_bytes(store, images) if shared else {}
    for image in sorted(images.values(), key=lambda image: (-image.created_ns, image.id)):
        candidate = _Candidate(image, sorted(tags.get(image.hex, [])), counts.get(image.id, 0))
        if not tests.image_passes(candidate):
            continue
        labels = image.config.labels
        shown = [name for name in candidate.names if tests.name_passes(name)]
        if not candidate.names and tests.name_passes(""):
            shown = [""]
        for name in shown:
            row = ImageRow(image, name, candidate.names, candidate.containers, labels)
            row.ReadOnly = image.data_dir != store.data_dir
            row.SharedSize = shared_bytes.get(image.id, 0)
            found.append(row)
    found += _list_rows(store, tests)
    return found


def _shared_bytes(store: ImageStore, images: dict[str, Image]) -> dict[str, int]:
    """By image's id, the sizes of the layers that another image has, too."""
    from rootless.storage.layers import LayerStore

    layers = LayerStore(store.data_dir)
    users: dict[str, int] = {}
    for image in images.values():
        for chain_id in set(image.layers):
            users[chain_id] = users.get(chain_id, 0) + 1
    sizes = {}
    for chain_id in (chain_id for chain_id, count in users.items() if count > 1):
        try:
            sizes[chain_id] = layers.info(chain_id).size_bytes
        except (NotFoundError, StorageError) as error:  # the list is there to find damaged images, too
            log.debug(error.message)
    return {image.id: sum(sizes.get(chain_id, 0) for chain_id in image.layers) for image in images.values()}


def _list_rows(store: ImageStore, tests: _Filters) -> list[ImageRow]:
    """The lists of images (``manifest create``), where no filter asks for what only images have."""
    if not tests.by_name_only or not os.path.exists(f"{store.data_dir}/lists"):
        return []
    from rootless.storage.lists import ListStore

    lists = ListStore(store.data_dir)
    found = []
    for name in lists.names():
        listed = lists.find(name)
        if listed is not None and tests.name_passes(name):
            size = len(fastjson.dumps(listed.to_json()))
            image = Image("", id=f"sha256:{listed.id}", created_ns=listed.created_ns, size_bytes=size)
            row = ImageRow(image, name, [name], 0, {})
            row.IsManifestList = True
            found.append(row)
    return found


def _container_counts(store: ImageStore) -> dict[str, int]:
    counts: dict[str, int] = {}
    try:
        for container in store.containers():
            counts[container.image_id] = counts.get(container.image_id, 0) + 1
    except StorageError as error:
        log.warn(error.message)
    return counts


class _Filters:
    """``--filter`` of images: one key's values are alternatives (labels must all be there), keys add up."""

    def __init__(self, store: ImageStore, texts: list[str]) -> None:
        self._store = store
        self._tests: dict[str, list[Callable[[_Candidate], bool]]] = {}
        self._patterns: list[str] = []
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals or not value:
                raise UsageError(f"--filter {text}: it is KEY=VALUE")
            if key == "reference":
                self._patterns.append(value)
            else:
                self._tests.setdefault(key, []).append(self._test(key, value))

    @property
    def by_name_only(self) -> bool:
        """Whether only names decide."""
        return not self._tests

    def image_passes(self, candidate: _Candidate) -> bool:
        """Whether all filters but ``reference`` let the image through."""
        return all(
            (all if key.startswith("label") else any)(test(candidate) for test in tests)
            for key, tests in self._tests.items()
        )

    def name_passes(self, name: str) -> bool:
        """Whether a ``reference`` filter matches the name; without such filters every name passes."""
        return not self._patterns or any(matches_reference(pattern, name) for pattern in self._patterns)

    def _test(self, key: str, value: str) -> Callable[[_Candidate], bool]:
        if key == "dangling":
            wanted = _boolean(key, value)
            return lambda c: (not c.names) == wanted
        if key == "containers":
            in_use = _boolean(key, value)
            return lambda c: (c.containers > 0) == in_use
        if key == "readonly":
            read_only = _boolean(key, value)
            return lambda c: (c.image.data_dir != self._store.data_dir) == read_only
        if key == "id":
            digits = value.removeprefix("sha256:")
            return lambda c: c.image.hex.startswith(digits)
        if key in ("label", "label!"):
            from rootless.engine.filters import has_label

            return lambda c: has_label(c.image.config.labels, value) == (key == "label")
        if key in ("before", "since", "after"):
            return self._around(key, value)
        if key == "until":
            import time

            from rootless.engine import logfile

            end_ns = logfile.moment(value, time.time_ns())
            return lambda c: c.image.created_ns < end_ns
        if key in ("intermediate", "manifest", "digest"):
            raise UnsupportedError(f"--filter {key} is not there: rpod keeps no such images")
        raise UsageError(
            f"--filter {key}={value}: unknown key",
            "before, containers, dangling, id, label, readonly, reference, since or until",
        )

    def _around(self, key: str, value: str) -> Callable[[_Candidate], bool]:
        from rootless.engine import images

        other = images.resolve(value).created_ns
        if key == "before":
            return lambda c: c.image.created_ns < other
        return lambda c: c.image.created_ns > other


def _boolean(key: str, value: str) -> bool:
    if value.lower() in ("true", "t", "1"):
        return True
    if value.lower() in ("false", "f", "0"):
        return False
    raise UsageError(f"--filter {key}={value}: it is true or false")


def matches_reference(pattern: str, name: str) -> bool:
    """Whether a glob (``*`` stays between slashes) matches the name or its end, with or without the tag."""
    from fnmatch import fnmatchcase

    repository, tag, _ = split_name(name)
    if repository == NONE:
        return False
    wanted = pattern.split("/")
    for text in (repository, f"{repository}:{tag}") if tag != NONE else (repository, name):
        parts = text.split("/")[-len(wanted) :]
        if len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted)):
            return True
    return False


def describe(store: ImageStore, image: Image) -> dict[str, object]:
    """One image in the layout of ``podman image inspect``. Raises StorageError where its documents are damaged."""
    from rootless.engine import image_documents

    names = store.names(image)
    return {
        "Id": image.hex,
        "Digest": image.digest,
        "RepoTags": [name for name in names if "@" not in name],
        "RepoDigests": list(image.repo_digests),
        "Parent": "",
        **_origin(image.config),
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "GraphDriver": {"Name": "overlay", "Data": _directories(store, image)},
        **_content(image.config, image_documents.manifest_of(image)),
        "NamesHistory": list(image.names),
    }


def describe_source(image: SourceImage) -> dict[str, object]:
    """The same of an image that lies somewhere else: what its documents say."""
    found = image.manifest
    return {
        "Id": found.config.digest[7:],
        "Digest": found.digest,
        "RepoTags": image.names,
        "RepoDigests": image.repo_digests,
        **_origin(image.config),
        "Variant": image.config.variant,
        "Size": sum(layer.size for layer in found.layers),
        "Layers": [
            {"Digest": layer.digest, "Size": layer.size, "MediaType": layer.media_type} for layer in found.layers
        ],
        **_content(image.config, found),
    }


def _origin(config: ImageConfig) -> dict[str, object]:
    """When and by whom it was made, and for what."""
    steps = config.history
    return {
        # As with Docker: OCI's config has comments in its history only.
        "Comment": config.comment or (steps[-1].comment if steps else ""),
        "Created": config.created,
        "Config": _config_section(config),
        "Version": config.docker_version,
        "Author": config.author,
        "Architecture": config.architecture,
        "Os": config.os,
    }


def _content(config: ImageConfig, found: Manifest) -> dict[str, object]:
    return {
        "RootFS": {"Type": "layers", "Layers": config.diff_ids},
        "Labels": Map(config.labels) or None,
        "Annotations": Map(found.annotations),
        "ManifestType": found.media_type,
        "User": config.user,
        "History": [_history(step) for step in config.history],
    }


# The properties of OCI's image-spec config.md, and Docker's Healthcheck, in the order in which Podman shows them,
# with what a template sees of one that the image does not have.
_SHOWN: dict[str, object] = {
    "User": "",
    "ExposedPorts": Map(),
    "Env": [],
    "Entrypoint": [],
    "Cmd": [],
    "Volumes": Map(),
    "WorkingDir": "",
    "Labels": Map(),
    "StopSignal": "",
    "Healthcheck": None,
}
_HEALTHCHECK = {"Test": [], "Interval": 0, "Timeout": 0, "StartPeriod": 0, "StartInterval": 0, "Retries": 0}


def _config_section(config: ImageConfig) -> Struct:
    found = {key: config.raw[key] for key in _SHOWN if config.raw.get(key)}
    for key, value in found.items():
        if isinstance(value, dict):
            found[key] = Struct(value, _HEALTHCHECK) if key == "Healthcheck" else Map(value)
    return Struct(found, _SHOWN)


def _directories(store: ImageStore, image: Image) -> Map:
    """Where the layers' trees are, as overlay stacks them: the uppermost, then the others from top to base."""
    from rootless.storage.layers import LayerStore

    layers = LayerStore(store.data_dir)
    paths = [layers.path(chain_id) for chain_id in reversed(image.layers)]
    data = Map()
    if paths[1:]:
        data["LowerDir"] = ":".join(paths[1:])
    if paths:
        data["UpperDir"] = paths[0]
    return data


def _history(step: History) -> Struct:
    """One step, without what says nothing, as Go's omitempty has it."""
    entry: dict[str, object] = {
        "created": step.created,
        "created_by": step.created_by,
        "author": step.author,
        "comment": step.comment,
        "empty_layer": step.empty_layer,
    }
    return Struct({key: value for key, value in entry.items() if value}, entry)

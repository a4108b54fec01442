"""Manifests and indexes: OCI image-spec (manifest.md, image-index.md) and Docker's schema 2.

What a registry says is not trusted: every document is checked against its digest before
it is parsed (``rootless.image.registry``), and against its own rules here.
"""

from __future__ import annotations

from rootless.errors import ImageError, UnsupportedError
from rootless.image.reference import check_digest
from rootless.kernel import fastjson
from rootless.kernel.syscalls import MACHINE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

# distribution-spec, "Pushing Manifests": a registry should accept 4 MiB at least; more is refused here.
MAX_BYTES = 4 << 20
# The kernel's overlay stacks at most 500 layers (OVL_MAX_STACK).
MAX_LAYERS = 500

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_SCHEMA_1 = "application/vnd.docker.distribution.manifest.v1+"

ACCEPTED = (OCI_MANIFEST, DOCKER_MANIFEST, OCI_INDEX, DOCKER_INDEX)
_INDEXES = (OCI_INDEX, DOCKER_INDEX)
_LAYERS = (
    OCI_LAYER,
    f"{OCI_LAYER}+gzip",
    f"{OCI_LAYER}+zstd",
    DOCKER_LAYER,
    f"{DOCKER_LAYER}.gzip",
    f"{DOCKER_LAYER}.zstd",
)


class Descriptor:
    """A content descriptor (image-spec descriptor.md): ``size`` in bytes."""

    __slots__ = ("digest", "media_type", "size")

    def __init__(self, media_type: str, digest: str, size: int) -> None:
        self.media_type = media_type
        self.digest = digest
        self.size = size

    @classmethod
    def parse(cls, value: object, what: str) -> Descriptor:
        """Check one descriptor; ``what`` names it in the error."""
        if not isinstance(value, dict):
            raise ImageError(f"the manifest is damaged: {what} must be an object")
        media_type = _take(value, "mediaType", str, "", what)
        size = _take(value, "size", int, -1, what)
        if not 0 <= size < 1 << 63:
            raise ImageError(f"the manifest is damaged: {what} has no valid size")
        return cls(media_type, check_digest(_take(value, "digest", str, "", what)), size)


class Platform:
    """What a program of an image runs on: GOOS, GOARCH and the CPU's variant ("" = any)."""

    __slots__ = ("architecture", "os", "variant")

    def __init__(self, os_: str, architecture: str, variant: str = "") -> None:
        self.os = os_
        self.architecture = architecture
        self.variant = variant

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")

    def rank(self, other: Platform) -> int | None:
        """How well ``other`` serves where this is wanted: 0 is best, None not at all.

        A 32-bit ARM of version 7 runs programs for 7, 6 and 5; arm64 without a variant is v8
        (image-spec image-index.md, "Platform Variants"). Without a wanted variant the plain
        build is best, because a higher one may need a newer CPU.
        """
        if (self.os, self.architecture) != (other.os, other.architecture):
            return None
        wanted, offered = self.variant, other.variant
        if self.architecture == "arm64":
            wanted, offered = wanted or "v8", offered or "v8"
        if wanted == offered:
            return 0
        if self.architecture == "arm" and wanted:
            order = ["v5", "v6", "v7", "v8"]
            if offered in order and wanted in order and order.index(offered) < order.index(wanted):
                return order.index(wanted) - order.index(offered)
            return 10 if not offered else None
        if wanted:
            return 10 if not offered else None
        return 1 if offered == "v1" else None


_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", "v8"),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "i386": ("386", ""),
    "loongarch64": ("loong64", ""),
}
_SPELLINGS = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


def native_platform() -> Platform:
    """This machine's platform; riscv64, ppc64le and s390x are spelled alike by Go and the kernel."""
    return Platform("linux", *_ARCHITECTURES.get(MACHINE, (MACHINE, "")))


def parse_platform(text: str) -> Platform:
    """``--platform``: OS/ARCH[/VARIANT] or ARCH; "" is this machine's. Raises ImageError, UnsupportedError."""
    if not text:
        return native_platform()
    parts = text.lower().split("/")
    if len(parts) == 1:
        parts = ["linux", parts[0]] if parts[0] != "linux" else ["linux", native_platform().architecture]
    if len(parts) > 3 or not all(part.replace("_", "").replace("-", "").isalnum() for part in parts):
        raise ImageError(f"{text[:60]!r} is not a platform", "a platform looks like linux/arm64 or linux/arm/v7")
    if parts[0] != "linux":
        raise UnsupportedError(f"platform {text}: only linux images run here")
    architecture = _SPELLINGS.get(parts[1], parts[1])
    variant = parts[2] if len(parts) == 3 else native_platform().variant
    if len(parts) == 2 and architecture != native_platform().architecture:
        variant = ""
    return Platform("linux", architecture, variant)


class Manifest:
    """An image manifest: the document byte for byte, its digest, the descriptors and the annotations in it."""

    __slots__ = ("annotations", "config", "digest", "layers", "media_type", "raw")

    def __init__(
        self,
        raw: bytes,
        digest: str,
        media_type: str,
        config: Descriptor,
        layers: list[Descriptor],
        annotations: dict[str, object],
    ) -> None:
        self.raw = raw
        self.digest = digest
        self.media_type = media_type
        self.config = config
        self.layers = layers
        self.annotations = annotations


class Index:
    """A list of manifests, one for a platform. Entries that are no images (attestations) are left out."""

    __slots__ = ("digest", "entries", "raw")

    def __init__(self, raw: bytes, digest: str, entries: list[tuple[Platform, Descriptor]]) -> None:
        self.raw = raw
        self.digest = digest
        self.entries = entries

    def choose(self, wanted: Platform, name: str) -> Descriptor:
        """The manifest that serves ``wanted`` best; an ImageError lists what there is."""
        ranked = [(rank, i) for i, (p, _) in enumerate(self.entries) if (rank := wanted.rank(p)) is not None]
        if ranked:
            return self.entries[min(ranked)[1]][1]
        there = ", ".join(dict.fromkeys(str(platform) for platform, _ in self.entries)) or "none"
        raise ImageError(
            f"{name} has no image for {wanted}; it has: {there[:400]}", "choose one of them with --platform"
        )


def _take(value: dict[str, object], key: str, kind: type[T], default: T, what: str) -> T:
    found = value.get(key, default)
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise ImageError(f"the manifest is damaged: {what}.{key} is of the wrong type")
    return found


def parse(raw: bytes, content_type: str, digest: str) -> Manifest | Index:
    """Check and take apart what a registry sent as ``content_type`` ("" if it did not say).

    Raises ImageError for a damaged or contradictory document, UnsupportedError for a kind
    that is known by name.
    """
    if len(raw) > MAX_BYTES:
        raise ImageError(f"the manifest is larger than {MAX_BYTES >> 20} MiB")
    try:
        document = fastjson.loads(raw)
    except fastjson.JSONError as error:
        raise ImageError(f"the manifest is not JSON: {error}") from None
    if not isinstance(document, dict):
        raise ImageError("the manifest is damaged: it must be an object")
    media_type = _media_type(document, content_type)
    if media_type in _INDEXES:
        return Index(raw, digest, _index_entries(document))
    return _image_manifest(document, raw, digest, media_type)


def _media_type(document: dict[str, object], content_type: str) -> str:
    """What the document is, agreed on by the header, its own word and its properties."""
    if document.get("schemaVersion") == 1 or content_type.startswith(_SCHEMA_1):
        raise UnsupportedError("the image has a manifest of Docker's schema 1", "ask its maker for a newer build")
    if document.get("schemaVersion") != 2:
        raise ImageError("the manifest is damaged: schemaVersion must be 2")
    said = _take(document, "mediaType", str, "", "manifest")
    header = content_type if content_type not in ("application/json", "application/octet-stream", "text/plain") else ""
    if said and header and said != header:
        raise ImageError(f"the manifest says that it is {said[:100]}, the registry says {header[:100]}")
    if "manifests" in document and ("layers" in document or "config" in document):
        raise ImageError("the manifest is both an image and an index")
    media_type = said or header or (OCI_INDEX if "manifests" in document else OCI_MANIFEST)
    if media_type not in ACCEPTED:
        raise UnsupportedError(f"{media_type[:100]!r} is not an image")
    if (media_type in _INDEXES) != ("manifests" in document):
        raise ImageError(f"the manifest is damaged: it does not look like {media_type}")
    return media_type


def _index_entries(document: dict[str, object]) -> list[tuple[Platform, Descriptor]]:
    entries = []
    for value in _take(document, "manifests", list, [], "index"):
        descriptor = Descriptor.parse(value, "manifests")
        found = _take(value, "platform", dict, {}, "manifests")
        platform = Platform(*(_take(found, key, str, "", "platform") for key in ("os", "architecture", "variant")))
        if descriptor.media_type not in ACCEPTED or platform.os in ("", "unknown"):
            continue
        if descriptor.media_type in _INDEXES:
            raise UnsupportedError("the image's index lists another index")
        entries.append((platform, descriptor))
    return entries


def _image_manifest(document: dict[str, object], raw: bytes, digest: str, media_type: str) -> Manifest:
    config = Descriptor.parse(document.get("config"), "config")
    if config.media_type not in (OCI_CONFIG, DOCKER_CONFIG):
        kind = _take(document, "artifactType", str, "", "manifest") or config.media_type
        raise UnsupportedError(f"this is an artifact of type {kind[:100]!r}, not an image")
    if config.size > MAX_BYTES:
        raise ImageError(f"the image's config is larger than {MAX_BYTES >> 20} MiB")
    layers = [Descriptor.parse(value, "layers") for value in _take(document, "layers", list, [], "manifest")]
    if len(layers) > MAX_LAYERS:
        raise ImageError(f"the image has {len(layers)} layers; at most {MAX_LAYERS} can be stacked")
    for layer in layers:
        if layer.media_type.endswith("+encrypted"):
            raise UnsupportedError("the image's layers are encrypted")
        if layer.media_type not in _LAYERS:
            raise UnsupportedError(f"a layer is of type {layer.media_type[:100]!r}, which is not supported")
    annotations = document.get("annotations")
    return Manifest(raw, digest, media_type, config, layers, annotations if isinstance(annotations, dict) else {})


def format_of(media_type: str) -> str:
    """``v2s2`` for Docker's documents, ``oci`` for the others."""
    return "v2s2" if media_type in (DOCKER_MANIFEST, DOCKER_INDEX) else "oci"


def compression_of(media_type: str) -> str:
    """How a layer of this type is compressed: gzip, zstd, or "" for not."""
    form = media_type.replace("+", ".").rpartition(".")[2]
    return form if form in ("gzip", "zstd") else ""


def layer_type(form: str, *, docker: bool) -> str:
    """The media type of a layer that is compressed as ``form`` ("" is not)."""
    base, joint = (DOCKER_LAYER, ".") if docker else (OCI_LAYER, "+")
    return f"{base}{joint}{form}" if form else base


def chain_ids(diff_ids: list[str]) -> list[str]:
    """The chain id of each layer (image-spec config.md, "Layer ChainID"), base first."""
    import hashlib

    chain: list[str] = []
    for diff_id in diff_ids:
        text = f"{chain[-1]} {diff_id}".encode() if chain else b""
        chain.append(f"sha256:{hashlib.sha256(text).hexdigest()}" if chain else diff_id)
    return chain

"""The configuration of an image (OCI image-spec, config.md), checked at the border.

Docker's and OCI's documents have the same properties; Docker's adds ``Healthcheck``,
``OnBuild`` and ``Shell``. Null counts as missing, as Go writes it for an empty list.
"""

from __future__ import annotations

from rootless.errors import ImageError
from rootless.kernel import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TypeVar

    T = TypeVar("T")

MAX_BYTES = 4 << 20
_HEX = frozenset("0123456789abcdef")
_WORDS: dict[type, str] = {str: "a string", int: "a number", bool: "true or false", list: "a list", dict: "an object"}


def _wrong(key: str, what: str) -> ImageError:
    return ImageError(f"the image's config is damaged: {key} must be {what}", "pull the image again, or tell its maker")


def take(value: dict[str, object], key: str, kind: type[T], default: T) -> T:
    """``value[key]`` if it is of ``kind``, ``default`` where it is missing or null, else ImageError."""
    found = value.get(key)
    if found is None:
        return default
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise _wrong(key, _WORDS[kind])
    return found


def _text(value: dict[str, object], key: str) -> str:
    found = take(value, key, str, "")
    if "\0" in found:
        raise _wrong(key, "without NUL")
    return found


def _texts(value: dict[str, object], key: str) -> list[str]:
    found = take(value, key, list, [])
    if not all(isinstance(item, str) and "\0" not in item for item in found):
        raise _wrong(key, "a list of strings without NUL")
    return found


def _command(value: dict[str, object], key: str) -> list[str]:
    """A command line; very old images have a plain string there, which Docker runs through the shell."""
    found = value.get(key)
    return ["/bin/sh", "-c", found] if isinstance(found, str) and "\0" not in found else _texts(value, key)


def _text_map(value: dict[str, object], key: str) -> dict[str, str]:
    found = take(value, key, dict, {})
    if not all(isinstance(item, str) and "\0" not in name + item for name, item in found.items()):
        raise _wrong(key, "an object of strings without NUL")
    return found


def _keys(value: dict[str, object], key: str) -> list[str]:
    """A Go map used as a set: ``{"80/tcp": {}}``."""
    found = take(value, key, dict, {})
    if any("\0" in name for name in found):
        raise _wrong(key, "without NUL")
    return list(found)


class Healthcheck:
    """HEALTHCHECK: ``test`` begins with NONE, CMD or CMD-SHELL; times are nanoseconds, 0 = the default."""

    __slots__ = ("interval_ns", "retries", "start_period_ns", "test", "timeout_ns")

    def __init__(self, value: dict[str, object]) -> None:
        self.test = _texts(value, "Test")
        self.interval_ns = take(value, "Interval", int, 0)
        self.timeout_ns = take(value, "Timeout", int, 0)
        self.start_period_ns = take(value, "StartPeriod", int, 0)
        self.retries = take(value, "Retries", int, 0)


class History:
    """One step of an image's making; ``empty_layer`` steps changed no file."""

    __slots__ = ("author", "comment", "created", "created_by", "empty_layer")

    def __init__(self, value: dict[str, object]) -> None:
        self.created = _text(value, "created")
        self.created_by = _text(value, "created_by")
        self.author = _text(value, "author")
        self.comment = _text(value, "comment")
        self.empty_layer = take(value, "empty_layer", bool, False)


class ImageConfig:
    """What an image says about the containers made from it.

    ``entrypoint`` is None where the image has none; ``cmd`` is [] there. ``raw`` is the
    document's ``config`` object as it stands, for ``inspect``.
    """

    __slots__ = (
        "architecture",
        "author",
        "cmd",
        "comment",
        "created",
        "diff_ids",
        "docker_version",
        "entrypoint",
        "env",
        "exposed_ports",
        "healthcheck",
        "history",
        "labels",
        "os",
        "raw",
        "stop_signal",
        "user",
        "variant",
        "volumes",
        "working_dir",
    )

    def __init__(self, document: dict[str, object]) -> None:
        self.architecture = _text(document, "architecture")
        self.os = _text(document, "os")
        self.variant = _text(document, "variant")
        self.created = _text(document, "created")
        self.author = _text(document, "author")
        self.comment = _text(document, "comment")
        self.docker_version = _text(document, "docker_version")
        self.diff_ids = _diff_ids(take(document, "rootfs", dict, {}))
        self.history = [History(_object(item, "history")) for item in take(document, "history", list, [])]
        config = take(document, "config", dict, {})
        self.raw: dict[str, object] = config
        self.env = _environment(config)
        self.cmd = _command(config, "Cmd")
        self.entrypoint = _command(config, "Entrypoint") or None
        self.user = _text(config, "User")
        self.working_dir = _text(config, "WorkingDir")
        self.exposed_ports = _keys(config, "ExposedPorts")
        self.volumes = _keys(config, "Volumes")
        self.labels = _text_map(config, "Labels")
        self.stop_signal = _text(config, "StopSignal")
        health = take(config, "Healthcheck", dict, {})
        self.healthcheck = Healthcheck(health) if health else None

    @classmethod
    def parse(cls, data: bytes) -> ImageConfig:
        """Check a config document. Raises ImageError naming the property that is wrong."""
        if len(data) > MAX_BYTES:
            raise ImageError(f"the image's config is larger than {MAX_BYTES >> 20} MiB")
        try:
            document = fastjson.loads(data)
        except fastjson.JSONError as error:
            raise ImageError(f"the image's config is not JSON: {error}") from None
        return cls(_object(document, "the document"))

    @property
    def created_ns(self) -> int:
        """When the image was made, in nanoseconds since the epoch; 0 where it does not say."""
        from rootless.kernel import times

        try:
            return max(0, times.parse_rfc3339(self.created))
        except ValueError:
            return 0


def _object(value: object, key: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _wrong(key, "an object")
    return value


def _environment(config: dict[str, object]) -> list[str]:
    """``Env`` as it stands; an entry without a name could not be set."""
    entries = _texts(config, "Env")
    if any(entry.startswith("=") or not entry for entry in entries):
        raise _wrong("Env", "a list of NAME=value")
    return entries


def _diff_ids(rootfs: dict[str, object]) -> list[str]:
    if take(rootfs, "type", str, "layers") != "layers":
        raise _wrong("rootfs.type", "layers")
    found = _texts(rootfs, "diff_ids")
    for digest in found:
        if not is_digest(digest):
            raise _wrong("rootfs.diff_ids", "a list of sha256 digests")
    return found


def is_digest(text: str) -> bool:
    """Whether ``text`` is ``sha256:`` and 64 lower-case hexadecimal digits."""
    return text.startswith("sha256:") and len(text) == 71 and _HEX.issuperset(text[7:])

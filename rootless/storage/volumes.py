"""Named and anonymous volumes: ``volumes/NAME/_data`` and a record beside it.

A volume appears and disappears with one rename, so a killed command leaves either a whole
volume or something in the staging area that is swept.
"""

from __future__ import annotations

import os
import time

from rootless.errors import ConflictError, NotFoundError, StorageError, UsageError, os_reason
from rootless.kernel import fastjson, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")
_MAX_NAME = 200


def check_name(name: str) -> str:
    """``name`` if it may name a volume: [a-zA-Z0-9][a-zA-Z0-9_.-]*, at most 200 characters. Else UsageError."""
    if not name or len(name) > _MAX_NAME or name[0] in "_.-" or not _CHARACTERS.issuperset(name):
        raise UsageError(
            f"{name[:80]!r} cannot be a volume's name",
            "letters, digits, '_', '.' and '-', the first one a letter or digit; a path begins with / or ./",
        )
    return name


class Volume:
    """One volume. ``path`` is the directory that containers see."""

    __slots__ = ("anonymous", "created_ns", "labels", "name", "options", "path")

    def __init__(
        self, name: str, path: str, created_ns: int, labels: dict[str, str], options: dict[str, str], *, anonymous: bool
    ) -> None:
        self.name = name
        self.path = path
        self.created_ns = created_ns
        self.labels = labels
        self.options = options
        self.anonymous = anonymous

    @property
    def source(self) -> str:
        """What a container mounts: ``path``, the directory that the options name, or the word tmpfs."""
        kind = self.options.get("type", "")
        if kind == "tmpfs":
            return kind
        return self.options["device"] if kind in ("bind", "none") else self.path

    @property
    def mount_options(self) -> list[str]:
        """The options of every mount of it."""
        from rootless.storage import volume_options

        return volume_options.for_mount(self.options)

    def to_json(self) -> dict[str, object]:
        """As volume.json has it (HACKING.md, disk layout)."""
        return {
            "name": self.name,
            "driver": "local",
            "created_ns": self.created_ns,
            "labels": self.labels,
            "options": self.options,
            "anonymous": self.anonymous,
        }


class VolumeStore:
    """The volumes of a data directory."""

    __slots__ = ("data_dir", "directory")

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        self.directory = f"{data_dir}/volumes"

    def create(
        self,
        name: str | None,
        labels: Mapping[str, str] | None = None,
        options: Mapping[str, str] | None = None,
        *,
        anonymous: bool = False,
    ) -> Volume:
        """Make a volume; without a name it gets 64 random hexadecimal digits.

        Raises ConflictError if the name is taken, UsageError for a bad name, UnsupportedError for options.
        """
        ident = os.urandom(32).hex() if name is None else check_name(name)
        owner: dict[str, int] = {}
        if options:
            from rootless.storage import volume_options

            owner = volume_options.check(ident, options)
        path = f"{self.directory}/{ident}/_data"
        volume = Volume(ident, path, time.time_ns(), dict(labels or {}), dict(options or {}), anonymous=anonymous)
        from rootless.storage.staging import Staging

        with Staging(self.data_dir).make() as staged:
            try:
                files.make_private(self.directory)
                os.mkdir(f"{staged.path}/_data", 0o755)
                os.chmod(f"{staged.path}/_data", owner.get("mode", 0o755))  # whatever the umask is
                if owner:
                    volume_options.give(f"{staged.path}/_data", owner)
                files.write_json(f"{staged.path}/volume.json", volume.to_json())
                # A directory replaces only an empty one, and a volume never is: the name is taken or ours.
                os.rename(staged.path, f"{self.directory}/{ident}")
                files.sync_directory(self.directory)
            except OSError as error:
                if self.get(ident) is not None:
                    raise ConflictError(f"a volume named {ident} exists", f"rpod volume rm {ident}") from None
                raise StorageError(f"cannot make the volume {ident}: {os_reason(error)}") from error
        return volume

    def get(self, name: str) -> Volume | None:
        """The volume ``name``, None if there is none. Raises StorageError for a damaged record."""
        path = f"{self.directory}/{check_name(name)}"
        try:
            value = files.read_json(f"{path}/volume.json")
        except FileNotFoundError:
            return None
        except (OSError, fastjson.JSONError) as error:
            raise StorageError(f"the record of volume {name} cannot be read: {error}", _rescue(path)) from error
        return _from_json(value, name, f"{path}/_data")

    def all(self) -> list[Volume]:
        """Every volume, by name."""
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        found = [self.get(name) for name in names if name[0] not in "_.-" and _CHARACTERS.issuperset(name)]
        return [volume for volume in found if volume is not None]

    def renew(self, name: str) -> None:
        """A new record for a volume whose own is damaged; labels and options are lost, the files are not."""
        directory = f"{self.directory}/{check_name(name)}"
        volume = Volume(name, f"{directory}/_data", time.time_ns(), {}, {}, anonymous=False)
        try:
            files.write_json(f"{directory}/volume.json", volume.to_json())
            os.makedirs(volume.path, mode=0o755, exist_ok=True)
        except OSError as error:
            raise StorageError(f"volume {name} cannot be mended: {os_reason(error)}") from error

    def remove(self, name: str) -> None:
        """Remove a volume and its files. Whether a container uses it is the caller's question.

        Raises NotFoundError, StorageError.
        """
        from rootless.storage.staging import Staging

        path = f"{self.directory}/{check_name(name)}"
        with Staging(self.data_dir).make() as staged:
            try:
                os.rename(path, f"{staged.path}/volume")
                files.sync_directory(self.directory)
            except FileNotFoundError:
                raise NotFoundError(f"no such volume: {name}", "rpod volume ls") from None
            except OSError as error:
                raise StorageError(f"cannot remove the volume {name}: {os_reason(error)}") from error


def _strings(value: object) -> dict[str, str] | None:
    if isinstance(value, dict) and all(isinstance(key, str) and isinstance(item, str) for key, item in value.items()):
        return value
    return None


def _rescue(path: str) -> str:
    """What to do about a damaged record: the files are not touched by it."""
    return f"its files are whole, in {path}/_data: copy them out, then remove {path}"


def _from_json(value: object, name: str, path: str) -> Volume:
    fields = value if isinstance(value, dict) else {}
    labels, options = _strings(fields.get("labels")), _strings(fields.get("options"))
    created, anonymous = fields.get("created_ns"), fields.get("anonymous")
    if (
        fields.get("name") != name
        or labels is None
        or options is None
        or not isinstance(created, int)
        or not isinstance(anonymous, bool)
    ):
        raise StorageError(f"the record of volume {name} is damaged", _rescue(os.path.dirname(path)))
    return Volume(name, path, created, labels, options, anonymous=anonymous)

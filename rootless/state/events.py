"""The event log: what happened to containers, images and volumes, one JSON object a line.

``events.log`` under the XDG state directory, with the field names of Podman's and ``time_ns`` (nanoseconds
since the epoch). A line is appended by one write(2) without a sync, so that no reader sees a part of one and
no verb waits for the disk. A full file becomes ``events.log.1``, which is all the history there is. That
nothing can be written is no reason for a verb to fail.
"""

from __future__ import annotations

import os
import time

from rootless import config, log, paths
from rootless.config.schema import Events
from rootless.errors import ConfigError, RpodError
from rootless.kernel import fastjson, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.state.record import ContainerRecord

CONTAINER, IMAGE, VOLUME = "container", "image", "volume"
_VARIABLE = "RPOD_EVENT"
# Labels may be as long as their author likes. A line is to fit into the environment of the monitor, too.
_LONGEST_BYTES = 32768
# Not blocking: a FIFO in its place must not stop a verb.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


def log_path() -> str:
    """The current file; the one before it has ``.1`` behind its name."""
    return f"{paths.state()}/events.log"


def enabled() -> bool:
    """Whether events are kept."""
    return _configured().logger != "none"


def _configured() -> Events:
    """The settings. A broken containers.toml must not keep anybody from stopping a container: then the defaults."""
    try:
        return config.load().events
    except ConfigError:
        return Events({})


def of_container(record: ContainerRecord, *statuses: str, exit_code: int | None = None, **more: object) -> None:
    """Something happened to a container; ``more`` are other fields of Podman's (HealthStatus)."""
    _tell(_fields(record), statuses, exit_code, more)


def of_image(status: str, ident: str, name: str) -> None:
    """Something happened to an image; ``ident`` is ``sha256:HEX``, the HEX alone or "" where there is none."""
    fields: dict[str, object] = {"Type": IMAGE, "Name": name}
    if ident:
        fields["ID"] = ident.removeprefix("sha256:")
    _tell(fields, (status,), None, {})


def of_volume(status: str, name: str) -> None:
    """Something happened to a volume."""
    _tell({"Type": VOLUME, "Name": name}, (status,), None, {})


def _fields(record: ContainerRecord) -> dict[str, object]:
    fields: dict[str, object] = {"Type": CONTAINER, "ID": record.id, "Name": record.name, "Image": record.image}
    if record.labels:
        fields["Attributes"] = record.labels
    return fields


def _tell(fields: dict[str, object], statuses: tuple[str, ...], exit_code: int | None, more: dict[str, object]) -> None:
    if not enabled():
        return
    if exit_code is not None:
        more["ContainerExitCode"] = exit_code
    moment: dict[str, object] = {"time_ns": time.time_ns()}
    append("".join(f"{_object({'Status': status, **fields, **more, **moment})}\n" for status in statuses))


def _object(fields: dict[str, object]) -> str:
    text = fastjson.dumps(fields)
    if len(text) > _LONGEST_BYTES:
        text = fastjson.dumps({key: value for key, value in fields.items() if key != "Attributes"})
    return text


def append(lines: str) -> None:
    """Append whole lines, and begin a new file if this one is full."""
    data = lines.encode("utf-8", "surrogateescape")
    try:
        fd = _open()
        try:
            if os.write(fd, data) < len(data):
                os.write(fd, b"\n")  # the disk is full: what is torn must not spoil the next line
            size_bytes = os.lseek(fd, 0, os.SEEK_CUR)
        finally:
            os.close(fd)
        limit = _configured().log_size_max
        if 0 < limit < size_bytes:
            _rotate(limit)
    except (OSError, RpodError) as error:
        log.debug(f"an event is lost: {error}")


def _open() -> int:
    path = log_path()
    try:
        return os.open(path, _FLAGS, 0o600)
    except FileNotFoundError:
        files.make_private(paths.state())
        return os.open(path, _FLAGS, 0o600)


def _rotate(limit: int) -> None:
    """Begin a new file; whoever finds that somebody else just does is content."""
    path = log_path()
    lock = files.Lock.acquire(f"{paths.state()}/events.lock", wait=False)
    if lock is None:
        return
    with lock:
        if os.stat(path).st_size > limit:
            os.rename(path, f"{path}.1")


class Reporter:
    """What launcher and monitor tell of one run of a container."""

    __slots__ = ("_record", "path")

    def __init__(self, record: ContainerRecord) -> None:
        self._record = record
        self.path = log_path()

    def launched(self, *, started: bool, attached: bool) -> None:
        """Everything is set up; ``started``: the program runs, ``attached``: somebody stays with it."""
        of_container(self._record, "init", *(("start",) if started else ()), *(("attach",) if attached else ()))

    def environment(self) -> dict[str, str]:
        """For the monitor, which adds exit code and time: in its environment, which only the user can read."""
        return {_VARIABLE: _object({"Status": "died", **_fields(self._record)})[:-1]}

"""``--log-driver`` and ``--log-opt`` beyond the defaults: what they ask for, and what the monitor is told."""

from __future__ import annotations

import os

from rootless import config
from rootless.engine import values
from rootless.errors import RpodError, UnsupportedError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.plan import LogPlan
    from rootless.state.record import ContainerRecord

JOURNAL_SOCKET = "/run/systemd/journal/socket"
_FILES = ("k8s-file", "json-file")
_OPTIONS = {"max-size": _FILES, "max-file": _FILES, "path": _FILES, "tag": ("journald",), "label": ("journald",)}
_TAG_MAX, _LABELS_MAX = 1024, 16384  # bytes: an entry must fit into a socket's buffer
_FIELD_CHARACTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def choose(options: list[str], record: ContainerRecord) -> None:
    """Check ``record.log_driver`` and put what ``options`` (KEY=VALUE) say into the record."""
    driver = record.log_driver
    if driver not in config.LOG_DRIVERS:
        raise UnsupportedError(
            f"the log driver {driver!r} is not there", f"use one of: {', '.join(config.LOG_DRIVERS)}"
        )
    for option in options:
        key, _, value = option.partition("=")
        if key not in _OPTIONS:
            raise UnsupportedError(f"--log-opt {key} is not there", ", ".join(_OPTIONS))
        if driver not in _OPTIONS[key]:
            raise UsageError(f"--log-opt {key} means nothing to the log driver {driver}", ", ".join(_OPTIONS[key]))
        _take(key, value, record)
    if driver == "journald" and not os.path.exists(JOURNAL_SOCKET):
        raise RpodError("journald does not run here: there is no " + JOURNAL_SOCKET, "--log-driver k8s-file")
    if driver.startswith("passthrough"):
        if record.tty:
            raise UsageError(f"--tty makes no sense with --log-driver {driver}: the program gets your own streams")
        record.open_stdin = False  # the program reads ours itself
    record.log_tag = _expand(record.log_tag, record)


def _take(key: str, value: str, record: ContainerRecord) -> None:
    if key == "max-size":
        record.log_size_max = 0 if value == "-1" else values.size(value, "--log-opt max-size")
    elif key == "max-file":
        record.log_files_max = values.integer(value, "--log-opt max-file", low=1, high=1000)
    elif key == "path":
        record.log_path = os.path.abspath(value)
        if not value or not os.path.isdir(os.path.dirname(record.log_path)) or os.path.isdir(record.log_path):
            raise UsageError(f"--log-opt path={value}: it is a file in a directory that exists")
    elif key == "tag":
        record.log_tag = value
    else:
        name, equals, text = value.partition("=")
        if not equals or not name or name[0] == "_" or not _FIELD_CHARACTERS.issuperset(name) or "\n" in text:
            raise UsageError(f"--log-opt label={value}: it is NAME=VALUE", "NAME of capital letters, digits and '_'")
        record.log_labels.append(value)
        if sum(map(len, record.log_labels)) > _LABELS_MAX:
            raise UsageError(f"--log-opt label: all together have at most {_LABELS_MAX} characters")


def _expand(tag: str, record: ContainerRecord) -> str:
    """A tag with the fields that Podman and Docker know for it; the name is not made up before this."""
    image_id = record.image_id.removeprefix("sha256:")
    known = {
        "ID": record.id[:12],
        "FullID": record.id,
        "Name": record.name,
        "ImageName": record.image,
        "ImageID": image_id[:12],
        "ImageFullID": image_id,
    }
    for name, value in known.items():
        if name != "Name" or value:
            tag = tag.replace("{{." + name + "}}", value)
    if "{{" in tag.replace("{{.Name}}", "") or "\n" in tag or len(tag) > _TAG_MAX:
        raise UsageError(f"--log-opt tag={tag[:80]}: a line that may have {{{{.FIELD}}}}", f"FIELD: {', '.join(known)}")
    return tag


def complete(plan: LogPlan, record: ContainerRecord) -> None:
    """Tell the monitor of a container with another driver than a file what to do."""
    if record.log_driver == "journald":
        plan.fields = _fields(record)
        return
    plan.format, plan.passthrough = "none", True
    if record.log_driver == "passthrough" and any(os.isatty(fd) for fd in range(3)):
        raise UsageError(
            "--log-driver passthrough would give the container your terminal, into which it could type (TIOCSTI)",
            "--log-driver passthrough-tty, if you trust it",
        )


def _fields(record: ContainerRecord) -> str:
    """Conmon's fields (containers/conmon, ctr_logging.c), except those that differ from entry to entry."""
    tag = record.log_tag.replace("{{.Name}}", record.name)
    fields = {
        "CONTAINER_ID_FULL": record.id,
        "CONTAINER_ID": record.id[:12],
        "CONTAINER_NAME": record.name,
        "SYSLOG_IDENTIFIER": tag or record.name,
    }
    if tag:
        fields["CONTAINER_TAG"] = tag
    return "".join(f"{line}\n" for line in [*(f"{name}={value}" for name, value in fields.items()), *record.log_labels])

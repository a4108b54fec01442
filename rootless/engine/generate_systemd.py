"""``rpod generate systemd``: a service for a container that exists, or (``new``) one that makes it anew each time.

Quadlet files are the better way; this is for those who have scripts around it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from rootless.errors import ConflictError, StateError, UsageError, os_reason
from rootless.kernel import files
from rootless.units import words
from rootless.units.convert import program
from rootless.units.service import Service

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.state.container import Container

_POLICIES = ("no", "on-success", "on-failure", "on-abnormal", "on-watchdog", "on-abort", "always")
_AFTER_FAILURE = ("on-failure", "on-abnormal", "always")
_STOP_MARGIN_S = 60  # of systemd's patience beyond rpod's own


@dataclass(kw_only=True)
class Choice:
    """What was asked for: the fields are the command's options. Raises UsageError."""

    after: list[str]
    container_prefix: str
    env: list[str]
    name: bool
    new: bool
    no_header: bool
    requires: list[str]
    restart_policy: str
    restart_sec: int
    separator: str
    start_timeout: int | None
    time: int | None
    wants: list[str]

    def __post_init__(self) -> None:
        if self.restart_policy not in _POLICIES:
            raise UsageError(f"--restart-policy {self.restart_policy}: unknown", f"one of {', '.join(_POLICIES)}")
        for line in self.env:
            if "=" not in line:
                raise UsageError(f"--env {line}: it is NAME=VALUE")


def service(container: Container, choice: Choice, named: Callable[[list[str]], str]) -> Service:
    """The service of ``container``.

    ``named`` gives the --name of a command line of run or create, "" if it has none.
    """
    target = container.name if choice.name else container.id
    prefix = f"{choice.container_prefix}{choice.separator}" if choice.container_prefix else ""
    made = Service(f"{prefix}{target}.service", f"container {container.name}")
    made.add("Unit", "Description", f"rpod {made.name}")
    for key, units in (("Wants", choice.wants), ("After", choice.after), ("Requires", choice.requires)):
        if units:
            made.add("Unit", key, " ".join(units))
    made.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n")
    for line in choice.env:
        made.add("Service", "Environment", words.quote(words.literal(line)))
    made.add("Service", "Restart", choice.restart_policy)
    if choice.restart_sec:
        made.add("Service", "RestartSec", str(choice.restart_sec))
    if choice.start_timeout is not None:
        made.add("Service", "TimeoutStartSec", str(choice.start_timeout))
    patience_s = container.record.stop_timeout_s if choice.time is None else choice.time
    made.add("Service", "TimeoutStopSec", str(patience_s + _STOP_MARGIN_S))
    if choice.new:
        _made_anew(made, container, patience_s, named)
    else:
        _existing(made, target, patience_s, restarts=choice.restart_policy in _AFTER_FAILURE)
    made.add("Install", "WantedBy", "default.target")
    return made


def _existing(made: Service, target: str, patience_s: int, *, restarts: bool) -> None:
    """A service that stays with the container: its output goes to the journal, its exit code to systemd."""
    stop = [*program(), "stop", "--ignore", "-t", str(patience_s), target]
    made.add("Service", "Type", "exec")
    # What a stop ends with SIGTERM or SIGKILL has not failed; a SIGKILL from elsewhere is a reason to start again.
    made.add("Service", "SuccessExitStatus", "143 137")
    if restarts:
        made.add("Service", "RestartForceExitStatus", "137")
    made.command("ExecStart", [*program(), "start", "--attach", target])
    made.command("ExecStop", stop)
    made.command("ExecStopPost", stop, optional=True)


def _made_anew(made: Service, container: Container, patience_s: int, named: Callable[[list[str]], str]) -> None:
    """A service whose main process is the container's monitor, as of a Quadlet file."""
    typed = _arguments(container)
    name = named(["run", *typed])
    options = ["--replace", "--rm", "-d", "--cgroups=split", "--sdnotify=conmon"]
    if not name:
        name = container.name
        options += ["--name", name]
    made.add("Service", "Type", "notify")
    made.add("Service", "NotifyAccess", "all")
    made.add("Service", "KillMode", "mixed")
    made.add("Service", "Delegate", "yes")
    made.command("ExecStart", [*program(), "run", *options, *(words.literal_argument(word) for word in typed)])
    made.command("ExecStop", [*program(), "stop", "--ignore", "-t", str(patience_s), name])
    made.command("ExecStopPost", [*program(), "rm", "-v", "-f", "-i", name], optional=True)


def _arguments(container: Container) -> list[str]:
    """What followed ``run`` or ``create`` when the container was made. Raises StateError if that is not known."""
    typed = container.record.create_command
    verb = next((index for index, word in enumerate(typed) if word in ("run", "create")), -1)
    if verb < 0:
        raise StateError(f"container {container.name}: how it was made is not known", "leave --new out")
    return typed[verb + 1 :]


def text(made: Service, *, header: bool) -> str:
    """The unit file; its first lines say where it comes from."""
    lines = made.text().splitlines()
    head = [f"# {made.name}", f"# Generated by rpod generate systemd for {made.source}", ""] if header else []
    return "\n".join([*head, *lines[2:], ""])


def write(made: Service, content: str) -> str:
    """Write a unit file into the working directory; returns its path. Raises ConflictError, UsageError."""
    path = f"{os.getcwd()}/{made.name}"
    if os.path.lexists(path) and not os.path.isfile(path):
        raise ConflictError(f"{path} is there already, and no file", "remove it")
    try:
        files.write_atomic(path, content.encode("utf-8", "surrogateescape"), mode=0o644)
    except OSError as error:
        raise UsageError(f"--files: {os_reason(error)}") from error
    return path

"""``--runtime``: containers that crun, runc or another OCI runtime starts, in the place of rpod's own.

The record keeps the program's path under ``rare``. Everything but the start is rpod's: exec, stop, pause, logs and
the rest know a container by its first process, its cgroup and its namespaces.
"""

from __future__ import annotations

import os

from rootless import config
from rootless.engine import facts
from rootless.errors import UnsupportedError, UsageError
from rootless.kernel import spawn
from rootless.runtime import foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.options import ContainerOptions
    from rootless.runtime.plan import LaunchPlan
    from rootless.state.container import Container
    from rootless.state.record import ContainerRecord

_FILES = {"network": "net"}  # where the name in /proc/PID/ns is another
_OF_STAGE = ("user", "time")  # the container's own are those that its runtime works in


def asked_for(name: str, option: str = "") -> str:
    """Who wants the runtime ``name``, for messages: an ``option`` of the command, one of rpod itself, or a file."""
    place = "" if option else config.written_at("engine.runtime")
    return f"{place}: engine.runtime = {name}" if place else f"--runtime {name}"


def find(name: str, option: str = "") -> str:
    """The path of the runtime called ``name``; "" is rpod's own. Raises UsageError."""
    if name in ("", "rpod"):
        return ""
    path = spawn.which(name)
    if path is None or os.path.isdir(path):
        raise UsageError(
            f"{asked_for(name, option)}: there is no such program", "rpod, crun, runc, or the path of another"
        )
    return os.path.realpath(path)


def note(options: ContainerOptions, record: ContainerRecord, name: str) -> None:
    """Write down who starts this container. Raises UsageError, UnsupportedError."""
    path = find(name, options.runtime)
    if not path:
        return
    asked = asked_for(name, options.runtime)
    if getattr(options, "preserve_fd", []):
        raise UnsupportedError(
            f"--preserve-fd does not work with {asked}: runtimes take descriptors in a row from 3 on",
            "--preserve-fds N, or --runtime rpod",
        )
    if facts.is_shifted(record):
        raise UnsupportedError(
            f"{asked} needs a container with your own id in it, for it works as that container's root",
            "--userns keep-id, or none, or --runtime rpod",
        )
    record.rare["runtime"] = path


def prepare(plan: LaunchPlan, container: Container) -> None:
    """Let the container's runtime launch ``plan``: all that init does otherwise but for what its stage is in."""
    rare, spec = container.record.rare, plan.spec
    joined = {kind: f"/proc/{pid}/ns/{_FILES.get(kind, kind)}" for kind, pid in plan.joins.items()}
    others = {kind: path for kind, path in {**spec.namespaces, **joined}.items() if kind not in _OF_STAGE}
    hooks = rare.get("hooks", {})
    assert isinstance(hooks, dict)
    plan.foreign = foreign.Foreign(str(rare["runtime"]), _bundle(container), container.id, others, hooks)
    spec.namespaces = {kind: path for kind, path in spec.namespaces.items() if kind in _OF_STAGE or kind == "mount"}
    plan.joins = {kind: pid for kind, pid in plan.joins.items() if kind in _OF_STAGE}
    plan.foreign.make_bundle()


def forget(container: Container) -> None:
    """After the end: the runtime's own state goes, and the bundle with it."""
    foreign.delete(_bundle(container), container.id)


def _bundle(container: Container) -> str:
    # Not in the runtime directory, which the container's root cannot enter where its group is a stranger's.
    return f"{container.directory}/runtime"

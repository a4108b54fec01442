"""``update``: other limits, restart policy or variables for a container that is there."""

from __future__ import annotations

from rootless.engine import facts, values
from rootless.engine import resources as rules
from rootless.errors import LimitError, StorageError, UsageError, os_reason
from rootless.kernel import fastjson, files
from rootless.resources import Resources
from rootless.runtime import cgroup, limits, live_limits
from rootless.state import events

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.engine.options import UpdateOptions
    from rootless.spec import Spec
    from rootless.state.container import Container


def update(container: Container, options: UpdateOptions) -> None:
    """Change a container, now and for its next starts: all that ``options`` say, or nothing of it.

    Raises LimitError for a limit that cannot be set here.
    """
    if not (options.any_limit() or options.restart or options.env or options.unsetenv):
        raise UsageError("there is nothing to update", "rpod update --help lists what can be")
    with container.lock():
        record, spec = container.record, facts.read_spec(container)
        names = _apply(options, spec.resources)
        _environment(options, spec)
        if options.restart:
            policy, maximum = values.restart_policy(options.restart)
            if record.auto_remove and policy != "no":
                raise UsageError(f"container {container.name} is removed at its end (--rm), so it cannot restart")
            record.restart, record.restart_max = policy, maximum
        undo = _limit(container, names, spec)
        try:
            files.write_json(f"{container.directory}/config.json", spec.to_json())
            if options.restart:
                container.save(sync=True)
        except OSError as error:
            undo()
            raise StorageError(f"the limits of {container.name} cannot be kept: {os_reason(error)}") from error
    events.of_container(record, "update")


def _apply(options: UpdateOptions, wanted: Resources) -> list[str]:
    """Set in ``wanted`` what the options say; returns the names of what has changed."""
    before = Resources.from_json(fastjson.loads(fastjson.dumps(wanted.to_json())))
    rules.apply(options, wanted)
    wanted.io_device_weights = list({item[:2]: item for item in wanted.io_device_weights}.values())
    wanted.io_throttles = list({item[:3]: item for item in wanted.io_throttles}.values())
    if wanted.memory is not None and 0 <= (wanted.memory_swap or -1) < wanted.memory:
        raise UsageError(
            f"--memory is more than memory and swap together may be ({wanted.memory_swap} bytes)",
            "give --memory-swap, too",
        )
    changed = [
        name for name in Resources.__slots__ if name != "unified" and getattr(wanted, name) != getattr(before, name)
    ]
    if "memory" in changed and wanted.memory_swap is not None and "memory_swap" not in changed:
        changed.append("memory_swap")  # the kernel counts swap apart from memory
    return changed + [key for key, value in wanted.unified.items() if before.unified.get(key) != value]


def _environment(options: UpdateOptions, spec: Spec) -> None:
    if options.env:
        spec.process.env = values.environment(spec.process.env, options.env, host=False)
    if options.unsetenv:
        gone = set(options.unsetenv)
        spec.process.env = [item for item in spec.process.env if item.partition("=")[0] not in gone]


def _limit(container: Container, names: list[str], spec: Spec) -> Callable[[], None]:
    """Put the limits ``names`` into force where the container runs; returns what undoes it."""
    if not names:
        return lambda: None
    state = container.state()
    if not (state.running or state.waits):
        unchanged = frozenset(set(limits.wanted(spec.resources)) - set(names))
        cgroup.check(
            spec.resources,
            parent=container.record.cgroup_parent,
            wanted_manager=facts.cgroup_manager(container.record),
            optional=unchanged | facts.optional_limits(container.record, spec),
        )
        return lambda: None
    try:
        return live_limits.change(state.run.cgroup if state.run else "", names, spec.resources)
    except LimitError as error:
        raise LimitError(f"container {container.name}: {error.message}", error.hint) from error

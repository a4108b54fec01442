"""What a plan tells the monitor: the part of its command line that does not depend on the launch.

``docs/HACKING.md`` has all options of ``rpod-monitor``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.plan import LaunchPlan, LogPlan

_FIRST_CHECK_MS = 1


def arguments(plan: LaunchPlan, lifelines: list[int]) -> list[str]:
    """The options of ``plan``, and the commands behind them; ``lifelines`` are pipes that helpers end by."""
    argv = ["--exit-file", plan.exit_path, *_log(plan.log)]
    if plan.client_fd >= 0 or plan.gate is not None:
        # Whoever stays with the container ends its input; the input of one that was started with -d stays open.
        argv += ["--stdin-once", "1"]
    if plan.notify:
        argv += ["--notify", str(plan.notify[0]), "--notify-manager", plan.notify[1]]
    if plan.keep_lock:
        argv += ["--keep-lock", "1"]
    if plan.timeout_s:
        argv += ["--timeout", str(plan.timeout_s)]
    if plan.events is not None:
        argv += ["--event-log", plan.events.path]
    if plan.check_argv:
        argv += ["--check-ms", str(_FIRST_CHECK_MS)]
    for path in plan.watched:
        argv += ["--watch", path]
    argv += ["--", *plan.cleanup_argv]
    if plan.check_argv or plan.mend_argv:
        argv += ["--", *plan.check_argv]
    if plan.mend_argv:
        argv += ["--", *plan.mend_argv, *(str(fd) for fd in lifelines)]
    return argv


def _log(log: LogPlan) -> list[str]:
    argv = ["--log-format", log.format]
    if log.format == "journald":
        return [*argv, "--journal-fields", log.fields]
    if log.format == "none":
        return argv
    return [*argv, "--log", log.path, "--log-max-size", str(log.size_max), "--log-max-files", str(log.files_max)]

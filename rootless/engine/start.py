"""``start``: a container's record and spec become a launch plan, and the launch."""

from __future__ import annotations

import os

from rootless.engine import facts, foreground, names, reconcile
from rootless.errors import StateError, StorageError, os_reason
from rootless.kernel import files, userns
from rootless.runtime import launch
from rootless.runtime.plan import AccountsPlan, LaunchPlan, LogPlan
from rootless.state import events
from rootless.state.container import Container, paused
from rootless.state.containers import Containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootless.spec import Spec
    from rootless.state.record import ContainerRecord, MountRecord, RunRecord

_SINGLE_ID_SAID = "single-id-said"


def start(container: Container, *, attach: bool, interactive: bool, detach_keys: str | None, sig_proxy: bool) -> int:
    """Start a container that does not run; with ``attach`` stay with it and return its exit code.

    Raises StateError where it is paused, being stopped or just being started.
    """
    alive = _take_alive(container)
    if alive is None:
        return _start_live(
            container, attach=attach, interactive=interactive, detach_keys=detach_keys, sig_proxy=sig_proxy
        )
    if not attach:
        launch_container(container, alive)
        return 0
    return foreground.run_attached(
        container,
        lambda fd: launch_container(container, alive, client_fd=fd),
        stdin=interactive and container.record.open_stdin,
        detach_keys=detach_keys,
        sig_proxy=sig_proxy,
    )


def _take_alive(container: Container) -> files.Lock | None:
    """The lock of a container that does not run, or only waits for its restart; None where it runs."""
    alive = container.take_alive()
    if alive is None and container.state().status == "restarting":
        from rootless.engine import stop

        alive = container.take_alive() if stop.end_waiting(container) else None
    return alive


def _start_live(
    container: Container, *, attach: bool, interactive: bool, detach_keys: str | None, sig_proxy: bool
) -> int:
    """What is set up begins; starting what runs is no error, as with Podman."""
    state = container.state()
    if state.waits:
        from rootless.engine import init

        return init.begin(container, attach=attach, stdin=interactive, detach_keys=detach_keys, sig_proxy=sig_proxy)
    if state.status == "paused":
        raise paused(container)
    if state.status == "running":
        if not attach:
            return 0
        from rootless.engine import client

        return client.attach(container, detach_keys=detach_keys, no_stdin=not interactive, sig_proxy=sig_proxy)
    if state.status == "stopping":
        raise StateError(f"container {container.name} is being stopped", f"rpod wait {container.name}")
    raise StateError(f"container {container.name} is just being started", f"rpod attach {container.name}")


def launch_container(
    container: Container,
    alive: files.Lock,
    *,
    client_fd: int = -1,
    preserve_fds: int = 0,
    preserved: Sequence[int] = (),
    gate: bool = False,
    restarted: RunRecord | None = None,
    spec: Spec | None = None,
) -> launch.Launched:
    """Start the program of ``container``, whose alive lock is given away to its monitor.

    With a ``gate`` all is set up, and the program waits there for its start. ``restarted`` is the last run where a
    restart policy starts it again, ``spec`` its config.json where that is at hand. Where a start fails, the container
    is what it was before: created, or exited with its last exit code.
    """
    last_run = container.run_record()
    last_exit = container.exit_record() if last_run else None
    try:
        _make_way(container)
        if last_run:
            os.ftruncate(alive.fd, 0)  # the exit code of the last run, for those who waited
        plan = _plan(container, spec or facts.read_spec(container))
        plan.alive_fd = alive.fd
        plan.client_fd = client_fd
        plan.meanwhile = foreground.load if client_fd >= 0 else None
        # Never where it could be started again: two overlays must not share what is written.
        plan.unmounted_later = client_fd >= 0 and container.record.auto_remove
        plan.gate_path = container.gate_path if gate else ""
        plan.preserve_fds, plan.preserved = preserve_fds, list(preserved)

        def record(run: RunRecord) -> None:
            if restarted:
                run.restarts, run.restart_delay_ms = restarted.restarts + 1, restarted.restart_delay_ms
            if run.pid and last_run:
                container.forget_exit()
            container.save_run(run)

        launched = _launch(container, plan, record)
    except BaseException:
        reconcile.release(container)
        container.put_back(last_run, last_exit)
        raise
    finally:
        alive.release()
    if container.record.rare:
        from rootless.engine import rare

        rare.after_launch(container.record, launched)
    return launched


def _make_way(container: Container) -> None:
    """What must be true before a start: what it requires runs, and nothing of its last run or of a mount is left."""
    if container.record.requires:
        from rootless.engine import rare

        rare.start_required(container.record)
    with container.release_lock():  # the cleanup after the last end may still be at it
        reconcile.release(container)
    if os.path.exists(f"{container.directory}/mounted"):
        from rootless.engine import mount

        mount.refuse_mounted(container)


def _launch(container: Container, plan: LaunchPlan, record: Callable[[RunRecord], None]) -> launch.Launched:
    """Launch; where a service manager has started this command, with what it gave, and tell it of the start."""
    if "NOTIFY_SOCKET" not in os.environ and "LISTEN_FDS" not in os.environ:
        return launch.launch(plan, record)
    from rootless.engine import service_manager

    service_manager.prepare(container, plan)
    return service_manager.launch_service(plan, record, container.record.sdnotify)


def _plan(container: Container, spec: Spec) -> LaunchPlan:
    record = container.record
    plan = LaunchPlan(
        container.id, spec, facts.root_plan(record, container.directory), container.run_directory, _log(container)
    )
    plan.root.volatile = record.auto_remove
    ranges = userns.read_ranges()
    if record.userns.startswith("ns:"):
        _check_joined_map(record, ranges)
    elif "user" not in record.join:
        plan.maps = facts.id_map(record, ranges)
    if plan.maps is not None and not record.uid_map and plan.maps.single:
        _say_single_id()
    plan.joins = _join_pids(record)
    if record.uid_map:
        _shift(container, plan)
    plan.network = names.network(record)
    plan.user, plan.groups = record.user, record.groups
    if record.accounts or record.userns.startswith("keep-id"):
        from rootless.engine import accounts

        plan.accounts = accounts.plan(record, spec)
    else:
        plan.accounts = AccountsPlan()
    plan.init, plan.open_stdin, plan.timeout_s = record.init, record.open_stdin, record.timeout_s
    plan.stop_timeout_s = record.stop_timeout_s
    plan.copy_up = _empty_volumes(record)
    _rare_mounts(container, record, plan)
    plan.attach_path, plan.exit_path = container.attach_path, f"{container.directory}/exit.json"
    plan.events = events.Reporter(record) if events.enabled() else None
    plan.cgroup_parent = record.cgroup_parent
    plan.cgroup_manager = facts.cgroup_manager(record)
    plan.optional_limits = facts.optional_limits(record, spec)
    plan.cleanup_argv = facts.command("cleanup", container.id)
    if record.restart != "no":
        plan.keep_lock = True
        plan.cleanup_argv += ["--lock", "3"]
    if record.health:
        _plan_check(container, plan)
    names.prepare(container, plan)
    if names.cared_for(record):
        plan.mend_argv = facts.command("__mend", container.id)
    if record.rare or "time" in plan.joins or "time" in spec.namespaces:
        from rootless.engine import rare

        rare.prepare(plan, container)
    return plan


def _check_joined_map(record: ContainerRecord, ranges: userns.Ranges) -> None:
    """The namespace at a path may be another one now; the container's files are shown for the map that it had."""
    from rootless.engine import ids

    now, then = ids.map_of(record.userns[3:]), facts.id_map(record, ranges)
    if (now.uids, now.gids) != (then.uids, then.gids):
        raise StateError(
            f"the namespace at {record.userns[3:]} has another id map than when {record.name} was made",
            "create the container anew",
        )


def _shift(container: Container, plan: LaunchPlan) -> None:
    """A container that lacks the user's own id: its root owns what is made for it, as far as it can."""
    plan.shifted = facts.is_shifted(container.record)
    if plan.shifted:
        empty = [mount.source for mount in container.record.mounts if _is_empty_volume(mount)]
        # That of an image is stored under the default map, as the root is.
        writable = [
            f"{container.directory}/overlays/{number}/diff"
            for number in _scratch_overlays(container.record)
            if container.record.mounts[number].type != "image"
        ]
        plan.given = [*empty, *writable]


def _scratch_overlays(record: ContainerRecord) -> list[int]:
    """The numbers of the mounts with a writable part that is rpod's."""
    return [n for n, mount in enumerate(record.mounts) if mount.scratch and not mount.upper]


def _plan_check(container: Container, plan: LaunchPlan) -> None:
    """Health begins anew with each start; the first check is made at once, as Podman does."""
    from rootless.state import health

    check = health.check_of(container)
    health.forget(container)
    if check is not None and check.first_interval_ms():
        plan.check_argv = facts.command("__check", container.id)


def _say_single_id() -> None:
    from rootless.engine import once

    once.warn(_SINGLE_ID_SAID, f"no subordinate ids: containers see only your own id ({userns.HINT_RANGES})")


def _join_pids(record: ContainerRecord) -> dict[str, int]:
    """The processes whose namespaces are joined; each must run."""
    store = Containers()
    pids = {}
    for kind, ident in record.join.items():
        other = store.resolve(ident)
        run = other.run_record()
        if run is None or not other.state().running:
            raise StateError(
                f"container {other.name}, whose {kind} namespace is joined, is not running", f"rpod start {other.name}"
            )
        pids[kind] = run.pid
    return pids


def _log(container: Container) -> LogPlan:
    record = container.record
    plan = LogPlan(record.log_driver, container.log_path, record.log_size_max, record.log_files_max)
    if record.log_driver not in ("k8s-file", "json-file", "none"):
        from rootless.engine import log_driver

        log_driver.complete(plan, record)
    return plan


def _empty_volumes(record: ContainerRecord) -> list[str]:
    """Volumes that are still empty are filled from the image at their first use."""
    return [mount.destination for mount in record.mounts if mount.copy and _is_empty_volume(mount)]


def _is_empty_volume(mount: MountRecord) -> bool:
    if mount.type != "volume" or mount.source == "tmpfs":
        return False
    try:
        return not os.listdir(mount.source)
    except PermissionError:
        return False  # somebody inside has closed it: it was in use
    except OSError as error:
        raise StorageError(f"volume {mount.name}: {os_reason(error)}") from error


def _rare_mounts(container: Container, record: ContainerRecord, plan: LaunchPlan) -> None:
    """Mounts whose owner changes, and overlays that begin empty."""
    plan.chown = [mount.destination for mount in record.mounts if mount.chown]
    numbers = _scratch_overlays(record)
    if numbers:
        from rootless.engine import overlays

        overlays.renew(container, numbers)

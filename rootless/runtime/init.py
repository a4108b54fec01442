"""The container's first process, from its birth in new namespaces to exec.

Runs in a child of the launcher as root of the container's user namespace. The order of the
steps is the story; after the root was changed nothing is imported any more, because the
module search would then run code of the image.
"""

from __future__ import annotations

import _signal
import os
import sys

from rootless.errors import LaunchError, NotExecutableError, ProgramNotFoundError, RpodError, os_reason
from rootless.kernel import files, syscalls, unix, userns
from rootless.runtime import messages, mounts, program, security, terminal, users
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import NoReturn

    from rootless.runtime.plan import InitPlan
    from rootless.runtime.streams import Streams
    from rootless.spec import Spec

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
)


def main(plan: InitPlan, channel: messages.Channel, streams: Streams) -> None:
    """Set the container up and exec its program; never returns."""
    try:
        prepared = program.prepare(plan.spec)  # while the id maps are written
        if channel.receive().kind != "mapped":
            os._exit(1)
        if plan.spec.process.oom_score_adj is not None:
            set_oom_score(plan.spec.process.oom_score_adj)
        if plan.maps is None:
            # In a joined user namespace others live already: none may trace us, or open what we are (exe, mem, fd).
            syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
        if plan.shifted:
            from rootless.runtime import outer

            outer.open_all(plan, streams)
        userns.become_root(keep_groups=plan.spec.keep_groups)
        _set_up(plan, channel, streams, prepared)
        if plan.gate is not None:

            def pass_gate() -> int:
                nonlocal channel
                channel = wait_at_gate(plan, channel)
                return channel.fileno()

            hook = plan.extras.before_exec if plan.extras is not None else None
            run_program(
                plan.spec,
                -1,
                prepared,
                init=plan.init,
                die_with_parent=plan.parent_stays,
                at_gate=pass_gate,
                before_exec=hook,
            )
        channel.send("ready")
        if channel.receive().kind != "go":
            os._exit(1)
        run_program(plan.spec, channel.fileno(), prepared, init=plan.init)
    except BaseException as error:
        channel.send_error(error, "the container cannot be set up")
    os._exit(1)


def wait_at_gate(plan: InitPlan, channel: messages.Channel) -> messages.Channel:
    """Tell the launcher that only exec is left, and wait until somebody starts the container; the channel to him."""
    channel.send("ready")
    assert plan.gate is not None
    for fd in plan.launchers_own:
        os.close(fd)
    starter = messages.Channel(unix.accept(plan.gate))
    channel.close()
    if starter.receive().kind != "go":
        os._exit(1)
    return starter


def _set_up(plan: InitPlan, channel: messages.Channel, streams: Streams, prepared: program.Program) -> None:
    spec, extras = plan.spec, plan.extras
    os.setsid()
    if extras is None or extras.keyring:
        syscalls.new_session_keyring()
    if extras is not None:
        extras.before_root(prepared)
    if spec.namespaces.get("cgroup") == "":
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)
    if plan.network is not None:
        plan.network.driver.configure_inside()
    syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_SLAVE)
    root = mount_root(plan, channel)
    if plan.copy_up:
        fill_volumes(plan, root)
    for mount in spec.mounts:
        if mount.type == drivers.FUSE:
            mounts.place_tree(receive_root(channel), mount, root)
        else:
            mounts.perform(mount, root)
    _make_devices(spec, root)
    decide_user(plan, root)
    if plan.chown:
        from rootless.runtime import chown

        chown.change_mounts(root, plan.chown, spec.process.uid, spec.process.gid)
    if spec.process.terminal:
        master, slave = terminal.make_terminal(root, streams)
        terminal.place_console(root, slave)
        channel.send("tty", fd=master)
        os.close(master)
        streams.inside = [slave, slave, slave]
    mounts.close_late(root, spec.mounts)
    _make_workdir(root, spec)
    _protect(spec, root)
    if extras is not None:
        extras.before_pivot(channel)
    mounts.pivot(root, move=extras is not None and not extras.pivot)
    forget_modules()
    _configure_kernel(spec)
    if extras is not None:
        extras.after_pivot()
    if spec.root_readonly:
        mounts.make_root_readonly()
    # The caller's own streams keep their owner.
    owner = -1 if streams.borrowed else spec.process.uid
    terminal.use_streams(streams.inside, owner, terminal=spec.process.terminal)
    hand_on([*range(3, 3 + plan.preserve_fds), *plan.preserved])


def hand_on(descriptors: Iterable[int]) -> None:
    """Let the program have ``descriptors`` beside the standard three, and no other."""
    syscalls.close_on_exec_from(3)
    for fd in descriptors:
        os.set_inheritable(fd, True)


def mount_root(plan: InitPlan, channel: messages.Channel) -> mounts.Root:
    """Mount the image's layers, put the launcher's mount of them in its place, or take a directory as it is."""
    merged = plan.root.merged
    if plan.root.driver == drivers.DIRECTORY:
        mounts.bind_over_itself(merged)
    elif plan.root.driver == drivers.OVERLAY:
        try:
            drivers.mount_overlay(plan.root)
        except OSError as error:
            raise LaunchError(
                f"the overlay root cannot be mounted: {os_reason(error)}", "try --storage-driver fuse-overlayfs"
            ) from error
    else:
        tree = receive_root(channel)
        target = plan.root_target if plan.shifted else os.open(merged, os.O_PATH | os.O_DIRECTORY)
        syscalls.move_mount(tree, target)
        os.close(target)
        return mounts.Root(tree)
    return mounts.Root.at(merged)


def receive_root(channel: messages.Channel) -> int:
    """The next detached mount that the launcher made with fuse-overlayfs."""
    mounted = channel.receive()
    if mounted.kind != "root":
        os._exit(1)
    return mounted.fd


def fill_volumes(plan: InitPlan, root: mounts.Root) -> None:
    """Copy what the image has at a new volume's place into the volume."""
    from rootless.storage import copyup

    sources = {mount.destination: mount.source for mount in plan.spec.mounts if mount.type == "bind"}
    for destination in plan.copy_up:
        try:
            image_fd = root.open(destination, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            continue
        volume_fd = os.open(sources[destination], os.O_RDONLY | os.O_DIRECTORY)
        copyup.copy_up(image_fd, volume_fd)
        os.close(image_fd)
        os.close(volume_fd)


def _make_devices(spec: Spec, root: mounts.Root) -> None:
    if any(mount.destination.rstrip("/") == "/dev" and mount.type == "bind" for mount in spec.mounts):
        return  # somebody else's /dev is shown, and it stays as it is
    for name, major, minor in _DEVICES:
        mounts.device(root, f"/dev/{name}", f"/dev/{name}", "c", major, minor)
    for device in spec.devices:
        mounts.device(root, device.source, device.path, device.type, device.major, device.minor)
    dev = root.open("/dev", os.O_RDONLY | os.O_DIRECTORY, links=False)
    for name, target in _LINKS:
        try:
            os.symlink(target, name, dir_fd=dev)
        except FileExistsError:
            pass
    os.close(dev)


def decide_user(plan: InitPlan, root: mounts.Root) -> None:
    """Look up who runs the program, and give whom the image does not know an account."""
    if plan.user is None:
        return
    user = users.look_up(root, plan.user, plan.groups)
    if plan.accounts is not None and (plan.accounts.wanted or not user.name):
        from rootless.runtime import accounts

        user = accounts.complete(root, plan.accounts, user, plan.spec.process.cwd)
    take_user(plan.spec, user)


def take_user(spec: Spec, user: users.User) -> None:
    """The looked-up user becomes the process's; a user other than root has no capabilities."""
    process = spec.process
    process.uid, process.gid, process.groups = user.uid, user.gid, user.groups
    if user.uid != 0 and not process.ambient:
        # A program of another user than root starts without capabilities; the bounding set stays.
        process.effective, process.permitted = [], []
    if not any(entry.startswith("HOME=") for entry in process.env):
        process.env.append(f"HOME={user.home}")


def _make_workdir(root: mounts.Root, spec: Spec) -> None:
    """Make a missing working directory, as Podman and Docker do, inside the root only."""
    try:
        fd = root.open(spec.process.cwd)
    except FileNotFoundError:
        fd = root.make(spec.process.cwd, directory=True)
        os.chown(f"/proc/self/fd/{fd}", spec.process.uid, spec.process.gid)
    if not mounts.is_directory(fd):
        raise LaunchError(f"the working directory {spec.process.cwd} is not a directory")
    os.close(fd)


def _protect(spec: Spec, root: mounts.Root) -> None:
    for name, value in spec.sysctl.items():
        _write_sysctl(root, name, value, "config.json: linux.sysctl" if spec.foreign else "--sysctl")
    for path in spec.readonly_paths:
        mounts.make_readonly(root, path)
    for path in spec.masked_paths:
        mounts.mask(root, path)


def _write_sysctl(root: mounts.Root, name: str, value: str, asked: str) -> None:
    try:
        fd = root.open(f"/proc/sys/{name.replace('.', '/')}", os.O_WRONLY, links=False)
        os.write(fd, value.encode())
        os.close(fd)
    except OSError as error:
        raise LaunchError(f"{asked} {name}={value}: {os_reason(error)}") from error


def forget_modules() -> None:
    """From here on an import fails instead of reading the image's files."""
    sys.path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()


def _configure_kernel(spec: Spec) -> None:
    if spec.hostname and "uts" in spec.namespaces and not spec.namespaces["uts"]:
        security.set_hostname(spec.hostname)
    security.apply_rlimits(spec.process.rlimits)


def set_oom_score(value: int) -> None:
    """oom_score_adj of this process (proc(5)), while it may write to its own /proc entries. Raises LaunchError.

    They are the real root's as soon as it changes its ids or is not dumpable; children inherit the value.
    """
    try:
        if int(files.read_file("/proc/self/oom_score_adj")) != value:
            files.write_plain("/proc/self/oom_score_adj", str(value))
    except OSError as error:
        raise LaunchError(
            f"the OOM score cannot be set to {value}: {os_reason(error)}",
            "an ordinary user can raise it, never lower it: cat /proc/self/oom_score_adj",
        ) from error


def run_program(
    spec: Spec,
    error_fd: int,
    prepared: program.Program,
    *,
    init: bool,
    die_with_parent: bool = True,
    at_gate: Callable[[], int] | None = None,
    before_exec: Callable[[], None] | None = None,
) -> NoReturn:
    """Drop every privilege and exec the program through the static init.

    ``at_gate`` is called when only the exec is left, and gives the descriptor for its error;
    ``before_exec`` as the last thing of all, under the program's own restrictions.
    """
    process = spec.process
    os.umask(process.umask)
    security.drop_privileges(process, prepared.confine if prepared.filter else None, keep_groups=spec.keep_groups)
    if die_with_parent:
        # A death of the monitor must not leave a program that nobody watches.
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
    _enter_workdir(process.cwd)
    environment = dict(entry.partition("=")[::2] for entry in process.env)
    path = find_program(process.args[0], environment.get("PATH", ""))
    if at_gate is not None:
        error_fd = at_gate()
    for number in range(1, 32):
        if number not in (9, 19):
            _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, [])
    mode = "init" if init else "exec"
    os.set_inheritable(error_fd, True)  # the static init closes it when its own execve succeeds
    if process.no_new_privileges and prepared.filter:
        prepared.confine()  # last, so that nothing of ours has to pass it but the exec
    if before_exec is not None:
        before_exec()
    try:
        os.execve(prepared.fd, ["rpod-init", mode, str(error_fd), path, *process.args], environment)
    except OSError as error:  # E2BIG: the environment is too long
        raise explain_exec(process.args[0], error.errno or 0) from error


def _enter_workdir(path: str) -> None:
    try:
        os.chdir(path)
    except OSError as error:
        raise LaunchError(f"the working directory {path} cannot be entered: {os_reason(error)}") from error
    # CVE-2024-21626: a working directory reached through a leaked descriptor lies outside the root.
    try:
        inside = os.getcwd().startswith("/")
    except FileNotFoundError:  # glibc looks for the way up itself where the kernel says "(unreachable)"
        inside = False
    if not inside:
        raise LaunchError(f"the working directory {path} is outside the container")


def find_program(name: str, search: str) -> str:
    """The path of a program by the container's PATH. Exit codes 127 and 126 as a shell has them."""
    if "/" in name:
        return name
    denied = False
    for folder in search.split(":"):
        path = f"{folder or '.'}/{name}"
        try:
            if os.access(path, os.X_OK, effective_ids=True) and not os.path.isdir(path):
                return path
            denied = denied or os.path.isfile(path)
        except OSError:
            continue
    if denied:
        raise NotExecutableError(f"{name}: permission denied")
    try:
        os.close(os.open("/", os.O_RDONLY))
    except OSError as error:  # ENOTCONN; stat(2) would be answered from what the kernel remembers
        raise LaunchError(
            f"the container's root cannot be read: {os.strerror(error.errno or 0).lower()}",
            "fuse-overlayfs has ended: rpod restart CONTAINER",
        ) from None
    raise ProgramNotFoundError(
        f"{name}: executable file not found in $PATH of the container",
        "is the command spelled right, and in the image?",
    )


def explain_exec(name: str, errno: int) -> RpodError:
    """The error of an execve that failed."""
    reason = os.strerror(errno).lower()
    if errno in (2, 20):
        return ProgramNotFoundError(f"{name}: {reason}", "a script's first line may name a program that is missing")
    if errno == 8:
        return NotExecutableError(
            f"{name}: exec format error", "it is no program for this machine, or lacks its #! line"
        )
    return NotExecutableError(f"{name}: {reason}")

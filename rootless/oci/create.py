"""``create``: a bundle becomes a process that waits for ``start``.

What a step made is undone in reverse order when a later one fails.
"""

from __future__ import annotations

import os

from rootless import log
from rootless.errors import LaunchError, RpodError, UsageError, os_reason
from rootless.kernel import cgroup2, files, syscalls, unix, userns
from rootless.network.driver import Driver
from rootless.oci import cgroups, console
from rootless.oci.bundle import Bundle
from rootless.oci.store import Container, check_id
from rootless.runtime import birth
from rootless.runtime.plan import InitPlan, NetworkPlan
from rootless.storage import drivers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.oci.options import Parsed
    from rootless.runtime.hooks import Hooks
    from rootless.runtime.messages import Message


class Created:
    """A container that waits; ``master`` is its terminal when nobody else got it, else -1."""

    __slots__ = ("container", "hooks", "master")

    def __init__(self, container: Container, hooks: Hooks, master: int) -> None:
        self.container = container
        self.hooks = hooks
        self.master = master


def create(root: str, parsed: Parsed, *, foreground: bool) -> Created:
    """Create the container of ``parsed``; with ``foreground`` this process will stay with it."""
    check_id(parsed.ident)
    bundle = Bundle.load(parsed.text("bundle", "."))
    _check_terminal(bundle, parsed, foreground)
    container = Container.reserve(root, parsed.ident)
    work = _Creation(bundle, container, parsed)
    try:
        return work.run()
    except BaseException:
        work.undo_all()
        raise


def _check_terminal(bundle: Bundle, parsed: Parsed, foreground: bool) -> None:
    wanted, given = bundle.spec.process.terminal, "console-socket" in parsed.options
    if wanted and not given and not foreground:
        raise UsageError("process.terminal is true, and nobody would hold the terminal", "--console-socket PATH")
    if given and not wanted:
        raise UsageError("--console-socket is given, and process.terminal is false")


class _Creation:
    """The steps of one ``create``."""

    def __init__(self, bundle: Bundle, container: Container, parsed: Parsed) -> None:
        self.bundle = bundle
        self.container = container
        self.parsed = parsed
        self.undo: list[Callable[[], object]] = [container.remove]
        self.master = -1
        state = container.state
        state.bundle, state.rootfs = bundle.directory, bundle.root
        state.annotations = bundle.spec.annotations
        state.terminal = bundle.spec.process.terminal
        state.namespaces = list(bundle.spec.namespaces)
        self.hooks = bundle.hooks(container.hook_state())

    def undo_all(self) -> None:
        """Undo every step that was done, the last one first."""
        for step in reversed(self.undo):
            try:
                step()
            except (OSError, RpodError):
                continue  # the other steps must still be undone

    def run(self) -> Created:
        """Make everything; returns when only the program's exec is left."""
        container, state = self.container, self.container.state
        plan = self._plan()
        made = cgroups.create(self.bundle.spec, container.unique_name(), self.parsed, self._announce)
        if made.owned:
            self.undo.append(lambda: cgroup2.remove(made.path))
        state.cgroup, state.joined_cgroup = (made.path, "") if made.owned else ("", made.path)
        streams = console.streams(self.bundle.process)
        cgroup_fd = made.open()
        newborn = birth.start_init(plan, streams, cgroup_fd, hidden=True)
        self.undo.append(newborn.kill)
        state.pid = self.hooks.state["pid"] = newborn.pid
        if plan.maps is not None:
            self._map_ids(newborn, plan.maps)
        newborn.channel.send("mapped")
        newborn.await_ready(lambda message: self._on_message(message, newborn))
        container.save(self.bundle.document)
        self._write_pid_file(newborn.pid)
        newborn.channel.close()
        return Created(container, self.hooks, self.master)

    def _announce(self, path: str) -> None:
        """Before the cgroup is made: whoever comes after a create that was killed finds it here."""
        self.container.state.cgroup = path
        self.container.save(self.bundle.document)

    @staticmethod
    def _map_ids(newborn: birth.Newborn, maps: userns.IdMap) -> None:
        try:
            userns.MapWriting(newborn.pid, maps).finish()
        except LaunchError:
            newborn.raise_its_error()
            raise

    def _plan(self) -> InitPlan:
        spec, parsed = self.bundle.spec, self.parsed
        if not os.path.isdir(self.bundle.root):
            raise LaunchError(
                f"config.json: root.path: {self.bundle.root} is no directory", "runtime-spec, config.md, Root"
            )
        plan = InitPlan(spec, drivers.RootPlan(drivers.DIRECTORY, [self.bundle.root], self.bundle.directory))
        plan.maps = self.bundle.maps()
        plan.user = None
        if spec.namespaces.get("network") == "":
            plan.network = NetworkPlan(Driver(), [], 0, {})
        plan.preserve_fds = preserved(parsed, spec.process.env)
        plan.extras = self.bundle.extras(self.hooks)
        plan.extras.keyring = not parsed.flag("no-new-keyring")
        plan.extras.pivot = not parsed.flag("no-pivot")
        plan.gate = unix.listen(self.container.gate, 1)
        return plan

    def _on_message(self, message: Message, newborn: birth.Newborn) -> None:
        if message.kind == "hooks":
            self.undo.append(lambda: run_late(self.hooks, "poststop"))
            self.hooks.run("prestart", "creating")
            self.hooks.run("createRuntime", "creating")
            newborn.channel.send("hooked")
        elif message.kind == "tty":
            self.master = message.fd
            if path := self.parsed.text("console-socket"):
                console.send(path, self.master)
                self.master = -1

    def _write_pid_file(self, pid: int) -> None:
        if path := self.parsed.text("pid-file"):
            write_pid_file(path, pid)


def write_pid_file(path: str, pid: int) -> None:
    """The pid alone, whole or not at all."""
    try:
        files.write_atomic(os.path.abspath(path), str(pid).encode(), mode=0o644, sync=False)
    except OSError as error:
        raise LaunchError(f"--pid-file {path}: {os_reason(error)}") from error


def preserved(parsed: Parsed, env: list[str]) -> int:
    """How many descriptors from 3 on the program keeps; socket activation's are told to it (sd_listen_fds(3))."""
    count = parsed.number("preserve-fds")
    if sockets := unix.activation_sockets():
        env += [f"LISTEN_FDS={sockets}", "LISTEN_PID=1"]
        count += sockets
    for fd in range(3, 3 + count):
        try:
            os.fstat(fd)
        except OSError:
            raise UsageError(f"--preserve-fds {count}: descriptor {fd} is not open") from None
        os.set_inheritable(fd, True)
    syscalls.close_on_exec_from(3 + count)
    return count


def run_late(hooks: Hooks, kind: str) -> None:
    """Poststart and poststop: a failure is a warning (runtime.md, "Lifecycle")."""
    try:
        hooks.run(kind, "running" if kind == "poststart" else "stopped")
    except RpodError as error:
        log.warn(error.message)

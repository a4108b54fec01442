"""What init does for a config.json of the OCI front beyond what the engine's containers need.

One method for each moment of init's story. Nothing may be imported from ``before_pivot`` on.
"""

from __future__ import annotations

import os

from rootless.errors import LaunchError, UnsupportedError, os_reason
from rootless.kernel import files, syscalls, syscalls_rare
from rootless.runtime import messages, security

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.runtime.attributes import Attributes
    from rootless.runtime.hooks import Hooks
    from rootless.runtime.program import Program
    from rootless.spec import Spec

_PROPAGATION = {
    "shared": syscalls.MS_SHARED,
    "slave": syscalls.MS_SLAVE,
    "private": syscalls.MS_PRIVATE,
    "unbindable": syscalls.MS_UNBINDABLE,
}


class Extras:
    """The rare wishes of one container."""

    __slots__ = (
        "attributes",
        "domainname",
        "hooks",
        "keyring",
        "pivot",
        "rootfs_propagation",
        "spec",
        "time_offsets",
    )

    def __init__(self, spec: Spec, hooks: Hooks) -> None:
        self.spec = spec
        self.hooks = hooks
        self.attributes: Attributes | None = None
        self.domainname = ""
        self.rootfs_propagation = ""  # "" or r: recursive; shared slave private unbindable
        self.time_offsets: dict[str, tuple[int, int]] = {}  # clock -> (seconds, nanoseconds)
        self.keyring = True  # a session keyring of the container's own
        self.pivot = True  # pivot_root, else a move and chroot (a root on an initramfs)

    def before_root(self, program: Program) -> None:
        """The host's files are in sight still, this process is alone."""
        pid = int(os.readlink("/proc/self"))
        self.hooks.state["pid"] = pid
        program.tell(pid, self.hooks.state)
        if "time" in self.spec.namespaces:
            enter_time_namespace(self.spec.namespaces["time"], self.time_offsets)

    def before_pivot(self, channel: messages.Channel) -> None:
        """Everything is mounted, the host is still there: the hooks around the root's change."""
        if self.hooks.has("prestart", "createRuntime"):
            channel.send("hooks")
            if channel.receive().kind != "hooked":
                os._exit(1)
        self.hooks.run("createContainer", "creating")
        if self.attributes is not None:
            self.attributes.apply()

    def after_pivot(self) -> None:
        """The root is the container's."""
        if self.rootfs_propagation:
            recursive = self.rootfs_propagation.startswith("r")
            flag = _PROPAGATION[self.rootfs_propagation.removeprefix("r")]
            syscalls.mount(None, "/", None, flag | (syscalls.MS_REC if recursive else 0))
        if "uts" in self.spec.namespaces:
            if self.spec.namespaces["uts"] and self.spec.hostname:
                security.set_hostname(self.spec.hostname)  # a new one has it already
            if self.domainname:
                syscalls_rare.setdomainname(self.domainname)

    def before_exec(self) -> None:
        """The container is started, this is the program's user already."""
        self.hooks.run("startContainer", "created", inside=True)


def enter_time_namespace(path: str, offsets: dict[str, tuple[int, int]]) -> None:
    """Join the time namespace at ``path``, or a new one ("") whose clocks are ``offsets`` ahead (time_namespaces(7)).

    The offsets can be set as long as nobody is in it; this process must have one thread.
    """
    try:
        if not path:
            syscalls.unshare(syscalls.CLONE_NEWTIME)
            lines = [f"{clock} {seconds} {nanoseconds}" for clock, (seconds, nanoseconds) in offsets.items()]
            if lines:
                files.write_plain("/proc/self/timens_offsets", "\n".join(lines))
        fd = os.open(path or "/proc/self/ns/time_for_children", os.O_RDONLY)
        syscalls.setns(fd, syscalls.CLONE_NEWTIME)
        os.close(fd)
    except FileNotFoundError as error:
        raise UnsupportedError("this kernel has no time namespaces (CONFIG_TIME_NS)") from error
    except OSError as error:
        raise LaunchError(f"the time namespace cannot be set up: {os_reason(error)}") from error

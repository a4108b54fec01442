"""Everything that one launch needs, decided before anything is started."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Callable

    from rootless.kernel.userns import IdMap
    from rootless.network.driver import Driver
    from rootless.network.ports import PortMapping
    from rootless.runtime.extras import Extras
    from rootless.runtime.foreign import Foreign
    from rootless.spec import Mount, Spec
    from rootless.state.events import Reporter
    from rootless.storage.drivers import RootPlan


class NetworkPlan:
    """The network half: which driver, its options, and what is published."""

    __slots__ = ("driver", "mtu", "options", "ports")

    def __init__(self, driver: Driver, ports: list[PortMapping], mtu: int, options: dict[str, str]) -> None:
        self.driver = driver
        self.ports = ports
        self.mtu = mtu
        self.options = options


class LogPlan:
    """Where the monitor writes what the program prints. ``size_max`` in bytes, 0 = no rotation.

    ``fields`` are lines ``NAME=value`` of every entry in the journal. With ``passthrough`` the
    program has the caller's own standard streams, and the monitor sees nothing of them.
    """

    __slots__ = ("fields", "files_max", "format", "passthrough", "path", "size_max")

    def __init__(self, format_: str, path: str, size_max: int, files_max: int) -> None:
        self.format = format_
        self.path = path
        self.size_max = size_max
        self.files_max = files_max
        self.fields = ""
        self.passthrough = False


class Account:
    """One user, with its primary group, as /etc/passwd and /etc/group have it."""

    __slots__ = ("full_name", "gid", "group", "home", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, full_name: str, home: str, group: str) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.full_name = full_name
        self.home = home
        self.group = group


class AccountsPlan:
    """Accounts that the container is to have besides its image's; ``…_entry`` are templates, "" the usual one."""

    __slots__ = ("group_entry", "passwd_entry", "wanted")

    def __init__(self) -> None:
        self.wanted: list[Account] = []
        self.passwd_entry = ""
        self.group_entry = ""


class InitPlan:
    """What the container's init does: all that is the same whoever launches it. Descriptors are -1 where there is none.

    ``user`` and ``groups`` are looked up inside; a ``user`` of None leaves the ids of ``spec.process``.
    """

    __slots__ = (
        "accounts",
        "chown",
        "copy_up",
        "extras",
        "foreign",
        "gate",
        "given",
        "groups",
        "init",
        "joins",
        "launchers_own",
        "maps",
        "network",
        "outer_fd",
        "parent_stays",
        "preserve_fds",
        "preserved",
        "root",
        "root_target",
        "shifted",
        "spec",
        "user",
    )

    def __init__(self, spec: Spec, root: RootPlan) -> None:
        self.spec = spec
        self.root = root
        self.maps: IdMap | None = None  # None: the user namespace is joined, or the caller's own
        self.shifted = False  # the user's own id is not in the container: runtime/outer.py
        self.outer_fd = -1  # the user namespace above a shifted container's
        self.root_target = -1  # where a shifted container's root is put
        self.given: list[str] = []  # host paths that belong to a shifted container's root from now on
        self.joins: dict[str, int] = {}  # namespace type -> pid whose namespace is joined
        self.network: NetworkPlan | None = None
        self.user: str | None = ""
        self.accounts: AccountsPlan | None = None  # None: /etc/passwd and /etc/group stay as they are
        self.groups: list[str] = []
        self.init = False
        self.copy_up: list[str] = []  # destinations of empty volumes to be filled from the image
        self.chown: list[str] = []  # destinations whose files become the program's user's
        self.preserve_fds = 0
        self.preserved: list[int] = []  # descriptors beyond these that the program gets, under their numbers
        self.extras: Extras | None = None  # the rare wishes of a config.json that another engine wrote
        self.foreign: Foreign | None = None  # another runtime, which does what init does otherwise
        self.gate: socket | None = None  # a listening socket: whoever connects there says "go", not the launcher
        self.launchers_own: list[int] = []  # descriptors that init must not hold while it waits at the gate
        self.parent_stays = False  # with a gate: init is to die with its launcher, which becomes the monitor

    def fuse_mounts(self) -> list[Mount]:
        """The mounts besides the root that fuse-overlayfs serves."""
        return [mount for mount in self.spec.mounts if mount.type == "fuse-overlayfs"]

    def flags(self) -> int:
        """The CLONE_NEW* flags of the namespaces that are new in this container."""
        from rootless.kernel import syscalls as sc

        bits = {
            "mount": sc.CLONE_NEWNS,
            "pid": sc.CLONE_NEWPID,
            "network": sc.CLONE_NEWNET,
            "ipc": sc.CLONE_NEWIPC,
            "uts": sc.CLONE_NEWUTS,
            "user": sc.CLONE_NEWUSER,
        }
        # The cgroup namespace is made later, inside the container's own cgroup.
        return sum(bits[kind] for kind, path in self.spec.namespaces.items() if kind in bits and not path)


class LaunchPlan(InitPlan):
    """One start of one of the engine's containers: init, its monitor, and the limits."""

    __slots__ = (
        "alive_fd",
        "attach_path",
        "cgroup_manager",
        "cgroup_parent",
        "check_argv",
        "cleanup_argv",
        "client_fd",
        "events",
        "exit_path",
        "gate_path",
        "ident",
        "keep_lock",
        "log",
        "meanwhile",
        "mend_argv",
        "names_ns",
        "notify",
        "open_stdin",
        "optional_limits",
        "run_dir",
        "stop_timeout_s",
        "timeout_s",
        "unmounted_later",
        "watched",
    )

    def __init__(self, ident: str, spec: Spec, root: RootPlan, run_dir: str, log: LogPlan) -> None:
        super().__init__(spec, root)
        self.ident = ident
        self.run_dir = run_dir
        self.log = log
        self.open_stdin = False
        self.timeout_s = 0
        self.stop_timeout_s = 10  # at logout and shutdown, where systemd ends the container
        self.alive_fd = -1
        self.keep_lock = False  # the cleanup inherits it as descriptor 3: a restart policy goes on with it
        self.client_fd = -1
        self.meanwhile: Callable[[], None] | None = None  # what the command does while the launcher works
        self.events: Reporter | None = None  # None: nobody is told
        # The monitor holds the mount namespace: its end, which waits for RCU, follows the news of init's.
        self.unmounted_later = False
        self.notify: tuple[int, str] | None = None  # the program's sd_notify socket, and the service manager's
        self.attach_path = ""
        self.exit_path = ""
        self.gate_path = ""  # where init waits to be started; "": it goes on by itself
        self.cgroup_parent = ""
        self.cgroup_manager = "auto"
        self.optional_limits: frozenset[str] = frozenset()
        self.cleanup_argv: list[str] = []
        self.check_argv: list[str] = []  # the health check, which says itself when it is due again
        self.mend_argv: list[str] = []  # what looks after the network when a helper died or a watched file changed
        self.watched: list[str] = []
        self.names_ns: dict[str, int] = {}  # hosts, resolv.conf -> st_mtime_ns as they were generated

"""Everything that one launch needs, decided before anything is started."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.kernel.userns import IdMap
    from rootless.network.driver import Driver
    from rootless.network.ports import PortMapping
    from rootless.spec import Spec
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
    """Where the monitor writes what the program prints. ``size_max`` in bytes, 0 = no rotation."""

    __slots__ = ("files_max", "format", "path", "size_max")

    def __init__(self, format_: str, path: str, size_max: int, files_max: int) -> None:
        self.format = format_
        self.path = path
        self.size_max = size_max
        self.files_max = files_max


class LaunchPlan:
    """One start of one container. Descriptors are -1 where there is none."""

    __slots__ = (
        "alive_fd",
        "attach_path",
        "cgroup_manager",
        "cgroup_parent",
        "cleanup_argv",
        "client_fd",
        "copy_up",
        "exit_path",
        "groups",
        "ident",
        "init",
        "joins",
        "log",
        "maps",
        "network",
        "open_stdin",
        "optional_limits",
        "preserve_fds",
        "root",
        "run_dir",
        "spec",
        "timeout_s",
        "user",
    )

    def __init__(self, ident: str, spec: Spec, root: RootPlan, run_dir: str, log: LogPlan) -> None:
        self.ident = ident
        self.spec = spec
        self.root = root
        self.run_dir = run_dir
        self.log = log
        self.maps: IdMap | None = None  # None: the user namespace is joined
        self.joins: dict[str, int] = {}  # namespace type -> pid whose namespace is joined
        self.network: NetworkPlan | None = None
        self.user = ""  # USER, looked up inside
        self.groups: list[str] = []
        self.init = False
        self.open_stdin = False
        self.copy_up: list[str] = []  # destinations of empty volumes to be filled from the image
        self.preserve_fds = 0
        self.timeout_s = 0
        self.alive_fd = -1
        self.client_fd = -1
        self.attach_path = ""
        self.exit_path = ""
        self.cgroup_parent = ""
        self.cgroup_manager = "auto"
        self.optional_limits: frozenset[str] = frozenset()
        self.cleanup_argv: list[str] = []

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

"""What the user typed for a container, word for word: the border between the command line and the engine.

A field is the long option's name with "_" for "-"; a list collects repeated options in
order. Nothing is interpreted here: ``engine.create`` does that and names what is wrong.
A test compares these fields with the commands' declarations.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Options:
    """Base: takes keyword values for the fields that a subclass declares, defaults for the rest."""

    def __init__(self, values: Mapping[str, object] | None = None) -> None:
        fields = type(self).defaults()
        given = values or {}
        if unknown := given.keys() - fields.keys():
            raise TypeError(f"{type(self).__name__} has no field {', '.join(sorted(unknown))}")
        for name, default in fields.items():
            self.__dict__[name] = list(default) if isinstance(default, list) else default
        self.__dict__.update(given)

    @classmethod
    def defaults(cls) -> dict[str, object]:
        """Field names and their defaults, in order of declaration."""
        names: dict[str, object] = {}
        for klass in reversed(cls.__mro__):
            for name in vars(klass).get("__annotations__", {}):
                names[name] = vars(klass)[name]
        return names


class ResourceOptions(Options):
    """Limits of the cgroup, as ``create`` and ``update`` take them."""

    blkio_weight: str = ""
    blkio_weight_device: list[str] = []  # DEVICE:WEIGHT
    cgroup_conf: list[str] = []  # FILE=VALUE of the cgroup
    cpu_period: int = 0  # microseconds
    cpu_quota: int = 0  # microseconds
    cpu_shares: int = 0
    cpus: str = ""
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    device_read_bps: list[str] = []  # DEVICE:RATE
    device_read_iops: list[str] = []
    device_write_bps: list[str] = []
    device_write_iops: list[str] = []
    memory: str = ""
    memory_reservation: str = ""
    memory_swap: str = ""
    pids_limit: str = ""

    def any_limit(self) -> bool:
        """Whether any of these is given."""
        return any(getattr(self, name) for name in ResourceOptions.__annotations__)


class UpdateOptions(ResourceOptions):
    """The options of ``update``."""

    env: list[str] = []
    restart: str = ""
    unsetenv: list[str] = []


class RareOptions(Options):
    """What few containers have: ``engine.rare`` acts on it, which the others do not import."""

    chrootdirs: list[str] = []
    conmon_pidfile: str = ""
    env_merge: list[str] = []
    hosts_file: str = ""
    init_path: str = ""
    limits: str = ""
    no_hostname: bool = False
    no_hosts: bool = False
    oom_score_adj: int | None = None
    personality: str = ""
    pidfile: str = ""
    read_only_tmpfs: bool = True
    requires: list[str] = []
    rmi: bool = False
    rootfs: bool = False
    timens: str = ""
    unsetenv: list[str] = []
    unsetenv_all: bool = False

    def any_rare(self) -> bool:
        """Whether any of these is given."""
        return any(getattr(self, name) != getattr(RareOptions, name) for name in RareOptions.__annotations__)


class ContainerOptions(ResourceOptions, RareOptions):
    """The options of ``create``; ``run`` adds some."""

    image: str = ""
    command: list[str] = []  # the program and its arguments, [] = the image's
    add_host: list[str] = []
    annotation: list[str] = []
    cap_add: list[str] = []
    cap_drop: list[str] = []
    cgroup_parent: str = ""
    cgroups: str = "enabled"
    cgroupns: str = ""
    cidfile: str = ""
    device: list[str] = []
    dns: list[str] = []
    dns_option: list[str] = []
    dns_search: list[str] = []
    entrypoint: str | None = None  # "" clears the image's; a JSON list is one, too
    env: list[str] = []
    env_file: list[str] = []
    env_host: bool = False
    expose: list[str] = []
    gidmap: list[str] = []
    group_add: list[str] = []
    health_cmd: str | None = None
    health_interval: str = ""
    health_log_destination: str = ""
    health_max_log_count: str = ""
    health_max_log_size: str = ""
    health_on_failure: str = ""
    health_retries: str = ""
    health_start_period: str = ""
    health_startup_cmd: str = ""
    health_startup_interval: str = ""
    health_startup_retries: str = ""
    health_startup_success: str = ""
    health_startup_timeout: str = ""
    health_timeout: str = ""
    group_entry: str = ""
    hostuser: list[str] = []
    hostname: str = ""
    http_proxy: bool | None = None  # None: as containers.toml says
    init: bool = False
    image_volume: str = "anonymous"
    interactive: bool = False
    ipc: str = ""
    label: list[str] = []
    label_file: list[str] = []
    log_driver: str = ""
    log_opt: list[str] = []
    map_user: bool | None = None  # None: as containers.toml says
    mount: list[str] = []
    name: str = ""
    network: list[str] = []
    no_healthcheck: bool = False
    passwd: bool = True
    passwd_entry: str = ""
    pid: str = ""
    arch: str = ""
    authfile: str = ""
    cert_dir: str = ""
    creds: str = ""
    disable_content_trust: bool = False  # it has no meaning, here as in Podman
    os: str = ""
    platform: str = ""
    retry: int = 3
    retry_delay: str = ""
    tls_verify: bool | None = None
    variant: str = ""
    privileged: bool = False
    publish: list[str] = []
    publish_all: bool = False
    pull: str = "missing"
    quiet: bool = False
    read_only: bool = False
    replace: bool = False
    restart: str = "no"
    rm: bool = False
    runtime: str = ""  # "": as containers.toml says
    sdnotify: str = "container"
    security_opt: list[str] = []
    shm_size: str = ""
    stop_signal: str = ""
    stop_timeout: int | None = None  # seconds
    subgidname: str = ""
    subuidname: str = ""
    sysctl: list[str] = []
    systemd: str = "true"
    timeout: int = 0  # seconds, 0 = none
    tmpfs: list[str] = []
    tty: bool = False
    tz: str = ""
    uidmap: list[str] = []
    ulimit: list[str] = []
    umask: str = ""
    user: str = ""
    userns: str = ""
    uts: str = ""
    volume: list[str] = []
    volumes_from: list[str] = []
    workdir: str = ""

    def namespaces(self, network: str) -> tuple[tuple[str, str], ...]:
        """What was typed for each namespace that can be another one's; ``network`` is the one that was chosen."""
        return (
            ("pid", self.pid),
            ("ipc", self.ipc),
            ("uts", self.uts),
            ("cgroup", self.cgroupns),
            ("network", network),
        )


class RunOptions(ContainerOptions):
    """The options of ``run``."""

    detach: bool = False
    detach_keys: str | None = None
    attach: list[str] = []  # stdin, stdout, stderr; [] = all
    preserve_fd: list[str] = []  # numbers, also between commas
    preserve_fds: int = 0
    sig_proxy: bool = True


class ExecOptions(Options):
    """The options of ``exec``."""

    command: list[str] = []
    detach: bool = False
    detach_keys: str | None = None
    env: list[str] = []
    env_file: list[str] = []
    interactive: bool = False
    preserve_fds: int = 0
    privileged: bool = False
    tty: bool = False
    user: str = ""
    workdir: str = ""

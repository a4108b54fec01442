"""An image and the user's options become an OCI runtime-spec config.json."""

from __future__ import annotations

import os
import stat

from rootless import config
from rootless.engine import security_options, values
from rootless.errors import UnsupportedError, UsageError, os_reason
from rootless.runtime import mount_flags
from rootless.spec import Device, Mount, Spec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from rootless.engine.options import ContainerOptions
    from rootless.state.record import ContainerRecord
    from rootless.storage.image_config import ImageConfig

_PROXIES = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
_NAMESPACED_SYSCTLS = {
    "network": ("net.",),
    "ipc": ("kernel.msgmax", "kernel.msgmnb", "kernel.msgmni", "kernel.sem", "kernel.shm", "fs.mqueue."),
    "uts": ("kernel.domainname", "kernel.hostname"),
}


def build(
    options: ContainerOptions, record: ContainerRecord, image: ImageConfig, mounts: list[Mount], argv: list[str]
) -> Spec:
    """The spec of a new container, whose ``record`` says everything that the spec has no word for."""
    settings = config.load()
    spec = Spec()
    spec.root_path = "merged"
    spec.root_readonly = options.read_only
    spec.hostname = record.hostname
    spec.annotations = record.annotations
    _namespaces(options, record, spec)
    _process(options, record, spec, argv)
    spec.process.env = _environment(options, record, image)
    spec.mounts = _mounts(options, record, spec, mounts, settings.containers.shm_size)
    spec.sysctl = _sysctls(options, spec)
    _resources(options, spec, settings.containers.pids_limit)
    _security(options, spec)
    _devices(options, record, spec)
    return spec


def _namespaces(options: ContainerOptions, record: ContainerRecord, spec: Spec) -> None:
    spec.namespaces = {"mount": "", "user": ""}
    for kind, text in options.namespaces(record.network):
        mode, _, target = text.partition(":")
        if mode == "host":
            continue
        if mode == "container":
            continue  # record.join has it; the launcher finds the process at each start
        if mode == "ns":
            spec.namespaces[kind] = target
        elif kind != "network" and mode not in ("", "private", "shareable", "none"):
            raise UsageError(f"--{kind} {text}: unknown mode", "private, host, container:NAME or ns:PATH")
        else:
            spec.namespaces[kind] = ""
    if record.userns.startswith("ns:"):
        spec.namespaces["user"] = record.userns[3:]
    elif "user" in record.join:
        del spec.namespaces["user"]


def _process(options: ContainerOptions, record: ContainerRecord, spec: Spec, argv: list[str]) -> None:
    process = spec.process
    process.args = argv
    process.cwd = record.workdir
    process.terminal = record.tty
    process.umask = _umask(options.umask or config.load().containers.umask)
    capabilities = security_options.capabilities(options.cap_add, options.cap_drop, privileged=options.privileged)
    process.bounding = capabilities
    process.effective = capabilities
    process.permitted = capabilities
    process.rlimits = security_options.rlimits(options.ulimit)


def _umask(text: str) -> int:
    try:
        value = int(text, 8)
    except ValueError:
        value = -1
    if not 0 <= value <= 0o7777:
        raise UsageError(f"--umask {text}: it is an octal number such as 0022")
    return value


def _environment(options: ContainerOptions, record: ContainerRecord, image: ImageConfig) -> list[str]:
    base = [*image.env, "container=rpod"]
    proxy = config.load().containers.http_proxy if options.http_proxy is None else options.http_proxy
    if proxy:
        names = [*_PROXIES, *(name.upper() for name in _PROXIES)]
        base += [f"{name}={os.environ[name]}" for name in names if name in os.environ]
    if record.tty:
        base.append("TERM=xterm")
    if record.hostname:
        base.append(f"HOSTNAME={record.hostname}")
    return values.environment([*config.load().containers.env, *base], record.env, host=options.env_host)


def _mounts(
    options: ContainerOptions, record: ContainerRecord, spec: Spec, wanted: list[Mount], shm_size: str
) -> list[Mount]:
    """The runtime's own places, the generated files, then the user's mounts; the user's win."""
    default = [*_system_mounts(options, record, spec, shm_size), *_generated(options, record)]
    targets = {mount.destination for mount in wanted}
    kept = [mount for mount in default if mount.destination not in targets]
    mounts_ = kept + wanted
    for mount in mounts_:
        if "rbind" in mount.options:
            mount.options = [mount_flags.below(option) for option in mount.options]
    return mounts_


def _system_mounts(options: ContainerOptions, record: ContainerRecord, spec: Spec, shm_size: str) -> list[Mount]:
    closed = ["nosuid", "noexec", "nodev"]
    size = values.size(options.shm_size or shm_size, "--shm-size")
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    if not _single_id(record):
        pts.append("gid=5")
    mounts = [
        Mount("/proc", "proc", "proc", closed)
        if "pid" in spec.namespaces or "pid" in record.join
        else Mount("/proc", "bind", "/proc", ["rbind", *closed]),
        Mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        Mount("/dev/pts", "devpts", "devpts", pts),
    ]
    # sysfs belongs to the network namespace: only who owns a new one may mount it.
    if spec.namespaces.get("network") == "":
        mounts.append(Mount("/sys", "sysfs", "sysfs", [*closed, *([] if options.privileged else ["ro"])]))
        flags = [*closed, *([] if options.privileged else ["ro"])]
        if spec.namespaces.get("cgroup") == "":
            mounts.append(Mount("/sys/fs/cgroup", "cgroup2", "cgroup2", flags))
        else:  # as with sysfs: the host's, or another container's, can only be shown
            mounts.append(Mount("/sys/fs/cgroup", "bind", "/sys/fs/cgroup", ["rbind", *flags]))
    else:
        mounts.append(Mount("/sys", "bind", "/sys", ["rbind", "ro", *closed]))
    if spec.namespaces.get("ipc") == "":
        mounts.append(Mount("/dev/shm", "tmpfs", "shm", [*closed, "mode=1777", f"size={size}"]))
        mounts.append(Mount("/dev/mqueue", "mqueue", "mqueue", closed))
    else:
        mounts.append(Mount("/dev/shm", "bind", "/dev/shm", ["bind"]))
    if options.read_only:
        for target, mode in (("/run", "755"), ("/tmp", "1777"), ("/var/tmp", "1777")):
            mounts.append(Mount(target, "tmpfs", "tmpfs", ["nosuid", "nodev", f"mode={mode}", "tmpcopyup"]))
    return mounts


def _single_id(record: ContainerRecord) -> bool:
    from rootless.kernel import userns

    if record.uid_map:
        return sum(size for _, _, size in record.gid_map) < 6
    return userns.default_map(userns.read_ranges()).single


def _generated(options: ContainerOptions, record: ContainerRecord) -> list[Mount]:
    """hosts, resolv.conf and hostname, written anew at each start; a shared network shares them."""
    from rootless import paths

    owner = record.join.get("network", record.id)
    folder = f"{paths.data()}/containers"
    mounts = [
        Mount(f"/etc/{name}", "bind", f"{folder}/{owner}/{name}", ["bind", "rprivate"])
        for name in ("hosts", "resolv.conf")
    ]
    if record.hostname:
        mounts.append(Mount("/etc/hostname", "bind", f"{folder}/{record.id}/hostname", ["bind", "rprivate"]))
    if options.tz:
        zone = "/etc/localtime" if options.tz == "local" else _zone_file(options.tz)
        mounts.append(Mount("/etc/localtime", "bind", os.path.realpath(zone), ["bind", "ro", "rprivate"]))
    return mounts


def _zone_file(name: str) -> str:
    path = f"/usr/share/zoneinfo/{name}"
    if ".." in name.split("/") or not os.path.isfile(path):
        raise UsageError(f"--tz {name}: no such time zone on this machine", "ls /usr/share/zoneinfo")
    return path


def _sysctls(options: ContainerOptions, spec: Spec) -> dict[str, str]:
    wanted = values.pairs(options.sysctl, "--sysctl")
    for name in wanted:
        owner = next((ns for ns, known in _NAMESPACED_SYSCTLS.items() if name.startswith(known)), "")
        if not owner:
            raise UsageError(f"--sysctl {name}: this one is the host's, no namespace holds its own")
        if spec.namespaces.get(owner) != "":
            raise UsageError(f"--sysctl {name} would change the {owner} namespace that the container shares")
    if spec.namespaces.get("network") == "":
        # Root inside may ping without NET_RAW, as with Podman.
        wanted.setdefault("net.ipv4.ping_group_range", "0 0")
    return wanted


def _resources(options: ContainerOptions, spec: Spec, default_pids: int) -> None:
    spec.resources.pids = default_pids if default_pids > 0 else None
    if options.any_limit():
        from rootless.engine import resources

        resources.apply(options, spec.resources)


def _security(options: ContainerOptions, spec: Spec) -> None:
    chosen = security_options.parse_security_opts(options.security_opt)
    spec.process.no_new_privileges = chosen.no_new_privileges
    spec.process.apparmor_profile = chosen.apparmor
    if not options.privileged:
        spec.masked_paths = chosen.masked_paths()
        spec.readonly_paths = chosen.readonly_paths()
    for mount in spec.mounts:
        if mount.type == "proc":
            mount.options += chosen.proc_options
    if not (options.privileged and not chosen.seccomp):
        spec.seccomp = security_options.seccomp_for(chosen.seccomp, spec.process.bounding)


def _devices(options: ContainerOptions, record: ContainerRecord, spec: Spec) -> None:
    described = [text for text in options.device if "=" in text]
    for text in options.device:
        if text not in described:
            _device(text, spec)
    if described:
        from rootless.engine import cdi

        for text in described:
            if not cdi.is_name(text):
                raise UsageError(f"--device {text}: neither a path nor VENDOR/CLASS=NAME")
        cdi.inject(described, record, spec)


def _device(text: str, spec: Spec) -> None:
    """``HOST[:CONTAINER][:rwm]``: a node, or every node of a directory."""
    fields = text.split(":")
    host = fields[0]
    inside = fields[1] if len(fields) > 1 and fields[1].startswith("/") else host
    modes = fields[-1] if len(fields) > 1 and not fields[-1].startswith("/") else "rwm"
    if not set(modes) <= set("rwm"):
        raise UsageError(f"--device {text}: {modes!r} is not made of r, w and m")
    if modes != "rwm":
        raise UnsupportedError(f"--device {text}: there is no device controller without root, so only rwm works")
    real = os.path.realpath(host)
    try:
        info = os.stat(real)
    except OSError as error:
        raise UsageError(f"--device {text}: {os_reason(error)}") from error
    if stat.S_ISDIR(info.st_mode):
        for name in sorted(os.listdir(real)):
            if stat.S_ISCHR(os.stat(f"{real}/{name}").st_mode) or stat.S_ISBLK(os.stat(f"{real}/{name}").st_mode):
                _device(f"{real}/{name}:{inside}/{name}", spec)
        return
    if not (stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)):
        raise UsageError(f"--device {text}: {host} is not a device")
    kind = "b" if stat.S_ISBLK(info.st_mode) else "c"
    spec.devices.append(Device(inside, kind, os.major(info.st_rdev), os.minor(info.st_rdev), real))

"""The options of ``create`` and ``run``, and the limits that ``update`` has, too.

The fields of ``Creation`` are those of ``rootless.engine.options.ContainerOptions``, which says what
they mean to the engine; a test compares the two.
"""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, option
from rootless.cli.options import ContentTrust, OtherPlatform, Patience, Program, RegistryAccess


class Identity:
    """What the container is called and who may know it."""

    annotation: Annotated[list[str], option("--annotation", metavar="KEY=VALUE", text="An OCI annotation.")] = []
    cidfile: Annotated[str, option("--cidfile", metavar="FILE", text="Write the container's id to FILE.")] = ""
    label: Annotated[list[str], option("--label", "-l", metavar="KEY=VALUE", text="A label.")] = []
    label_file: Annotated[list[str], option("--label-file", metavar="FILE", text="A file of labels.")] = []
    name: Annotated[str, option("--name", metavar="NAME", text="The container's name.")] = ""
    replace: Annotated[bool, option("--replace", text="Remove a container of the same name first.")] = False


class Process(Program):
    """The program: what it is, and what is around it."""

    entrypoint: Annotated[
        str | None, option("--entrypoint", metavar="PROGRAM", text="Instead of the image's; a JSON list is one, too.")
    ] = None
    env_host: Annotated[bool, option("--env-host", text="All of the caller's variables.")] = False
    group_add: Annotated[
        list[str], option("--group-add", metavar="GROUP", text="One more group; keep-groups: yours.")
    ] = []
    group_entry: Annotated[
        str, option("--group-entry", metavar="ENTRY", text="How a line that /etc/group gets looks.")
    ] = ""
    hostuser: Annotated[
        list[str], option("--hostuser", metavar="USER", text="A user of this machine for /etc/passwd inside.")
    ] = []
    http_proxy: Annotated[bool | None, option("--http-proxy", text="Hand the caller's proxy variables on (true).")] = (
        None
    )
    init: Annotated[bool, option("--init", text="Run under a small init that reaps and forwards signals.")] = False
    passwd: Annotated[bool, option("--passwd", text="Add missing users to /etc/passwd and /etc/group (true).")] = True
    passwd_entry: Annotated[
        str,
        option("--passwd-entry", metavar="ENTRY", text="How a line that /etc/passwd gets looks: $USERNAME:*:$UID …"),
    ] = ""
    stop_signal: Annotated[str, option("--stop-signal", metavar="SIGNAL", text="What stop sends first.")] = ""
    stop_timeout: Annotated[
        int | None, option("--stop-timeout", metavar="SECONDS", text="How long stop waits before SIGKILL.")
    ] = None
    systemd: Annotated[
        str, option("--systemd", metavar="MODE", text="The program is systemd: true (found out), always or false.")
    ] = "true"
    timeout: Annotated[int, option("--timeout", metavar="SECONDS", text="Stop after that long; 0 is never.")] = 0
    tz: Annotated[str, option("--tz", metavar="ZONE", text="Time zone: Area/City, or local.")] = ""
    umask: Annotated[str, option("--umask", metavar="MASK", text="File mode mask, octal (0022).")] = ""


class Isolation:
    """Namespaces, ids and privileges."""

    cap_add: Annotated[list[str], option("--cap-add", metavar="CAP", text="One more capability, or all.")] = []
    cap_drop: Annotated[list[str], option("--cap-drop", metavar="CAP", text="One capability less, or all.")] = []
    cgroupns: Annotated[str, option("--cgroupns", metavar="MODE", text="Cgroup namespace: private or host.")] = ""
    device: Annotated[list[str], option("--device", metavar="DEVICE", text="HOST[:INSIDE][:rwm], or a CDI name.")] = []
    gidmap: Annotated[list[str], option("--gidmap", metavar="INSIDE:OUTSIDE:SIZE", text="A line of the gid map.")] = []
    ipc: Annotated[str, option("--ipc", metavar="MODE", text="IPC namespace: private, host, container:NAME …")] = ""
    pid: Annotated[str, option("--pid", metavar="MODE", text="PID namespace: private, host, container:NAME …")] = ""
    map_user: Annotated[
        bool | None,
        option("--map-user", text="With files of yours mounted, a program that is not root is you (true)."),
    ] = None
    privileged: Annotated[bool, option("--privileged", text="All that the user may do, nothing hidden.")] = False
    runtime: Annotated[
        str, option("--runtime", metavar="NAME", text="Who starts it: rpod, crun, runc or a path (containers.toml).")
    ] = ""
    security_opt: Annotated[
        list[str], option("--security-opt", metavar="OPTION", text="seccomp=FILE, no-new-privileges, mask=PATH …")
    ] = []
    subgidname: Annotated[
        str, option("--subgidname", metavar="NAME", text="The group ids of NAME in /etc/subgid, which must be yours.")
    ] = ""
    subuidname: Annotated[
        str, option("--subuidname", metavar="NAME", text="The user ids of NAME in /etc/subuid, which must be yours.")
    ] = ""
    sysctl: Annotated[list[str], option("--sysctl", metavar="KEY=VALUE", text="A kernel setting of a namespace.")] = []
    uidmap: Annotated[list[str], option("--uidmap", metavar="INSIDE:OUTSIDE:SIZE", text="A line of the uid map.")] = []
    userns: Annotated[
        str, option("--userns", metavar="MODE", text="User ids: host, keep-id[:uid=N,gid=N], auto, nomap …")
    ] = ""
    uts: Annotated[str, option("--uts", metavar="MODE", text="UTS namespace: private, host, container:NAME …")] = ""


class Files:
    """Mounts."""

    image_volume: Annotated[
        str, option("--image-volume", metavar="MODE", text="The image's volumes: anonymous, bind, tmpfs or ignore.")
    ] = "anonymous"
    mount: Annotated[
        list[str], option("--mount", metavar="type=TYPE,…", text="A mount: bind, volume, tmpfs, image, devpts, glob.")
    ] = []
    read_only: Annotated[bool, option("--read-only", text="The root file system cannot be written.")] = False
    shm_size: Annotated[str, option("--shm-size", metavar="SIZE", text="The size of /dev/shm (64m).")] = ""
    tmpfs: Annotated[list[str], option("--tmpfs", metavar="DIR[:OPTIONS]", text="A file system in memory.")] = []
    volume: Annotated[
        list[str], option("--volume", "-v", metavar="SOURCE:DIR[:OPTIONS]", text="A directory of the host or a volume.")
    ] = []
    volumes_from: Annotated[
        list[str], option("--volumes-from", metavar="CONTAINER", text="The volumes of another container.")
    ] = []


class Connection:
    """Network, names and ports."""

    add_host: Annotated[list[str], option("--add-host", metavar="HOST:IP", text="A line of /etc/hosts.")] = []
    dns: Annotated[list[str], option("--dns", metavar="IP", text="A name server.")] = []
    dns_option: Annotated[
        list[str], option("--dns-option", "--dns-opt", metavar="OPTION", text="An option of resolv.conf.")
    ] = []
    dns_search: Annotated[list[str], option("--dns-search", metavar="DOMAIN", text="A search domain.")] = []
    expose: Annotated[list[str], option("--expose", metavar="PORT[/PROTOCOL]", text="A port for -P.")] = []
    hostname: Annotated[str, option("--hostname", "-h", metavar="NAME", text="The host name inside.")] = ""
    network: Annotated[
        list[str],
        option("--network", "--net", metavar="MODE", text="slirp4netns, pasta, host, none, container:NAME."),
    ] = []
    publish: Annotated[
        list[str],
        option("--publish", "-p", metavar="[IP:][PORT:]PORT", text="Let the host's port reach the container's."),
    ] = []
    publish_all: Annotated[bool, option("--publish-all", "-P", text="Publish all exposed ports.")] = False


class Limits:
    """Limits of the kernel's control groups: ``create``, ``run`` and ``update``."""

    blkio_weight: Annotated[
        str, option("--blkio-weight", metavar="WEIGHT", text="Share of the disks' time against others: 10 to 1000.")
    ] = ""
    blkio_weight_device: Annotated[
        list[str], option("--blkio-weight-device", metavar="DEVICE:WEIGHT", text="The same for one disk.")
    ] = []
    cgroup_conf: Annotated[
        list[str], option("--cgroup-conf", metavar="FILE=VALUE", text="A file of the cgroup: memory.high=1073741824.")
    ] = []
    cpu_period: Annotated[int, option("--cpu-period", metavar="US", text="Period of --cpu-quota (100000).")] = 0
    cpu_quota: Annotated[int, option("--cpu-quota", metavar="US", text="CPU time in each period.")] = 0
    cpu_shares: Annotated[int, option("--cpu-shares", "-c", metavar="N", text="Weight against others (1024).")] = 0
    cpus: Annotated[str, option("--cpus", metavar="N", text="So many CPUs at most: 1.5.")] = ""
    cpuset_cpus: Annotated[str, option("--cpuset-cpus", metavar="LIST", text="Only these CPUs: 0-2,4.")] = ""
    cpuset_mems: Annotated[str, option("--cpuset-mems", metavar="LIST", text="Only these memory nodes: 0,1.")] = ""
    device_read_bps: Annotated[
        list[str], option("--device-read-bps", metavar="DEVICE:RATE", text="Read so many bytes a second: /dev/sda:1mb.")
    ] = []
    device_read_iops: Annotated[
        list[str], option("--device-read-iops", metavar="DEVICE:RATE", text="Read so many times a second.")
    ] = []
    device_write_bps: Annotated[
        list[str], option("--device-write-bps", metavar="DEVICE:RATE", text="Write so many bytes a second.")
    ] = []
    device_write_iops: Annotated[
        list[str], option("--device-write-iops", metavar="DEVICE:RATE", text="Write so many times a second.")
    ] = []
    memory: Annotated[str, option("--memory", "-m", metavar="SIZE", text="Memory at most: 512m.")] = ""
    memory_reservation: Annotated[
        str, option("--memory-reservation", metavar="SIZE", text="Memory that is taken last when it runs short.")
    ] = ""
    memory_swap: Annotated[str, option("--memory-swap", metavar="SIZE", text="Memory and swap; -1: no limit.")] = ""
    pids_limit: Annotated[str, option("--pids-limit", metavar="N", text="Processes at most; -1: no limit.")] = ""


class Confines(Limits):
    """Where the control group is, and the limits of each process."""

    cgroup_parent: Annotated[str, option("--cgroup-parent", metavar="CGROUP", text="The control group above.")] = ""
    cgroups: Annotated[
        str, option("--cgroups", metavar="MODE", text="A control group: enabled, disabled, no-conmon or split.")
    ] = "enabled"
    ulimit: Annotated[list[str], option("--ulimit", metavar="NAME=SOFT[:HARD]", text="A limit of the process.")] = []


class Keeping(OtherPlatform):
    """The image, the log, and what happens in the end."""

    log_driver: Annotated[
        str, option("--log-driver", metavar="DRIVER", text="k8s-file, json-file, journald, none or passthrough.")
    ] = ""
    log_opt: Annotated[
        list[str],
        option(
            "--log-opt", metavar="KEY=VALUE", text="max-size=SIZE, max-file=N, path=FILE, tag=TEXT, label=NAME=VALUE."
        ),
    ] = []
    disable_content_trust: ContentTrust = False
    pull: Annotated[
        str, option("--pull", metavar="POLICY", text="Fetch the image: always, missing, newer or never.")
    ] = "missing"
    quiet: Annotated[bool, option("--quiet", "-q", text="No progress while an image is pulled.")] = False
    restart: Annotated[
        str, option("--restart", metavar="POLICY", text="no, on-failure[:N], always or unless-stopped.")
    ] = "no"
    sdnotify: Annotated[
        str,
        option("--sdnotify", metavar="MODE", text="Who tells systemd READY=1: container, conmon, healthy, ignore."),
    ] = "container"
    rm: Annotated[bool, option("--rm", text="Remove the container when it has ended.")] = False


class Health:
    """The health check; without a command the image's HEALTHCHECK."""

    health_cmd: Annotated[
        str | None, option("--health-cmd", metavar="COMMAND", text="The check: for a shell, a JSON list, or none.")
    ] = None
    health_interval: Annotated[
        str, option("--health-interval", metavar="TIME", text="How often: 30s (the default), or disable.")
    ] = ""
    health_log_destination: Annotated[
        str, option("--health-log-destination", metavar="WHERE", text="Where results are kept: local.")
    ] = ""
    health_max_log_count: Annotated[
        str, option("--health-max-log-count", metavar="N", text="How many results are kept (5).")
    ] = ""
    health_max_log_size: Annotated[
        str, option("--health-max-log-size", metavar="N", text="Characters of a result's output (500); 0 is all.")
    ] = ""
    health_on_failure: Annotated[
        str, option("--health-on-failure", metavar="ACTION", text="When unhealthy: none, kill, restart or stop.")
    ] = ""
    health_retries: Annotated[
        str, option("--health-retries", metavar="N", text="Failures in a row that make it unhealthy (3).")
    ] = ""
    health_start_period: Annotated[
        str, option("--health-start-period", metavar="TIME", text="So long failures do not count (0s).")
    ] = ""
    health_startup_cmd: Annotated[
        str, option("--health-startup-cmd", metavar="COMMAND", text="A check that comes first, until it succeeds.")
    ] = ""
    health_startup_interval: Annotated[
        str, option("--health-startup-interval", metavar="TIME", text="How often that one is made (30s).")
    ] = ""
    health_startup_retries: Annotated[
        str, option("--health-startup-retries", metavar="N", text="Its failures before a restart; 0 is never.")
    ] = ""
    health_startup_success: Annotated[
        str, option("--health-startup-success", metavar="N", text="Its successes in a row that end it (1).")
    ] = ""
    health_startup_timeout: Annotated[
        str, option("--health-startup-timeout", metavar="TIME", text="How long it may take (30s).")
    ] = ""
    health_timeout: Annotated[
        str, option("--health-timeout", metavar="TIME", text="How long a check may take (30s).")
    ] = ""
    no_healthcheck: Annotated[bool, option("--no-healthcheck", text="Leave the image's HEALTHCHECK out.")] = False


class Rare:
    """What few containers need; the engine keeps these apart, too (engine.options.RareOptions)."""

    chrootdirs: Annotated[
        list[str], option("--chrootdirs", metavar="DIR", text="Show /etc/hosts and its like below DIR, too.")
    ] = []
    conmon_pidfile: Annotated[
        str, option("--conmon-pidfile", metavar="FILE", text="Write the monitor's process id to FILE.")
    ] = ""
    env_merge: Annotated[
        list[str],
        option("--env-merge", metavar="NAME=VALUE", text="A variable made of the image's: PATH=${PATH}:/opt."),
    ] = []
    hosts_file: Annotated[
        str, option("--hosts-file", metavar="FILE", text="What /etc/hosts begins with: a file, or none.")
    ] = ""
    init_path: Annotated[str, option("--init-path", metavar="FILE", text="Another program for --init.")] = ""
    limits: Annotated[
        str,
        option("--limits", metavar="MODE", text="best-effort: leave out, and say, limits that this user cannot set."),
    ] = ""
    no_hostname: Annotated[bool, option("--no-hostname", text="Leave the image's /etc/hostname.")] = False
    no_hosts: Annotated[bool, option("--no-hosts", text="Leave the image's /etc/hosts.")] = False
    oom_score_adj: Annotated[
        int | None,
        option("--oom-score-adj", metavar="N", text="Who is killed first when memory runs out (up to 1000)."),
    ] = None
    personality: Annotated[
        str, option("--personality", metavar="PERSONA", text="What uname says of the machine: LINUX or LINUX32.")
    ] = ""
    pidfile: Annotated[str, option("--pidfile", metavar="FILE", text="Write the program's process id to FILE.")] = ""
    read_only_tmpfs: Annotated[
        bool, option("--read-only-tmpfs", text="With --read-only, /run, /tmp and /var/tmp can be written (true).")
    ] = True
    requires: Annotated[
        list[str], option("--requires", metavar="CONTAINER", text="A container that is started before this one.")
    ] = []
    rmi: Annotated[bool, option("--rmi", text="Remove the container when it has ended, and its image.")] = False
    rootfs: Annotated[
        bool, option("--rootfs", text="IMAGE is a directory of the host: DIR, or DIR:O to leave it as it is.")
    ] = False
    timens: Annotated[
        str,
        option("--timens", metavar="MODE", text="Clocks: private, container:NAME, offset:boottime=S,monotonic=S."),
    ] = ""
    unsetenv: Annotated[
        list[str], option("--unsetenv", metavar="NAME", text="Leave out a variable of the image's or rpod's.")
    ] = []
    unsetenv_all: Annotated[bool, option("--unsetenv-all", text="Leave out all of them.")] = False


class Creation(
    Rare, RegistryAccess, Patience, Health, Keeping, Confines, Connection, Files, Isolation, Process, Identity
):
    """All options of create."""

    image: Annotated[str, argument("IMAGE")]
    command: Annotated[list[str], argument("[COMMAND] [ARG]...")] = []

"""Every prerequisite of rpod, declared once: what is checked, why it matters, what mends it."""

from __future__ import annotations

from rootless.engine.doctor import host, ids, network, storage
from rootless.engine.doctor.model import ADMIN, USER, Cause, Check

_DELEGATE = "/etc/systemd/system/user@.service.d/rpod-delegate.conf"


def _open_device(name: str) -> str:
    """A root command that opens a device node to users, now and after the next boot."""
    rule = f'KERNEL==\\"{name}\\", MODE=\\"0666\\"'
    folder = "/etc/udev/rules.d"
    node = "/dev/net/tun" if name == "tun" else f"/dev/{name}"
    return f'mkdir -p {folder}; echo "{rule}" > {folder}/60-rpod-{name}.rules; chmod 0666 {node}'


def _load_module(name: str) -> str:
    """A root command that loads a module, now and after the next boot."""
    return f"modprobe {name} && mkdir -p /etc/modules-load.d && echo {name} > /etc/modules-load.d/rpod-{name}.conf"


def _sysctl(setting: str) -> str:
    """A root command that sets a kernel parameter, now and after the next boot."""
    name = setting.partition("=")[0].rpartition(".")[2].replace("_", "-")
    return f"echo {setting} > /etc/sysctl.d/60-rpod-{name}.conf && sysctl -q -w {setting}"


CAUSES = {
    "account-root": Cause(
        "root itself started rpod",
        USER,
        advice="run rpod as an ordinary user; contrib/quickstart --user NAME sets one up",
    ),
    "ranges-missing": Cause(
        "the user has no subordinate ids",
        ADMIN,
        "usermod --add-subuids {range} --add-subgids {range} {user}",
        unless='grep -q "^{user}:" /etc/subuid && grep -q "^{user}:" /etc/subgid',
    ),
    "ranges-small": Cause(
        "the user has fewer than 65536 subordinate ids",
        ADMIN,
        "usermod --add-subuids {range} --add-subgids {range} {user}",
        unless='grep -q "^{user}:.*:65536$" /etc/subuid && grep -q "^{user}:.*:65536$" /etc/subgid',
    ),
    "ranges-shared": Cause(
        "two users share subordinate ids",
        ADMIN,
        advice="an administrator must give each user a range of his own in {path}; {range} is free",
    ),
    "tools-missing": Cause("newuidmap or newgidmap is not installed", ADMIN, "{install_uidmap}"),
    "tools-mode": Cause(
        "newuidmap or newgidmap has lost its set-user-id bit",
        ADMIN,
        "chown root:root {tool} && chmod u+s {tool}",
    ),
    "tools-nosuid": Cause(
        "newuidmap is on a file system that ignores set-user-id bits",
        ADMIN,
        advice="an administrator must mount the file system of {tool} without nosuid",
    ),
    "no-new-privs": Cause(
        "the session was started with no_new_privs, which disarms newuidmap",
        USER,
        advice="log in anew outside of the sandbox (setpriv, NoNewPrivileges=, a container) that this shell is in",
    ),
    "userns-kernel": Cause(
        "the kernel was built without user namespaces",
        ADMIN,
        advice="boot a kernel with CONFIG_USER_NS=y, as every distribution builds it",
    ),
    "userns-limit": Cause(
        "the number of user namespaces is limited to none",
        ADMIN,
        _sysctl("user.max_user_namespaces=15000"),
    ),
    "userns-sysctl": Cause(
        "the kernel keeps user namespaces to root (Debian's older setting)",
        ADMIN,
        _sysctl("kernel.unprivileged_userns_clone=1"),
    ),
    "userns-apparmor": Cause(
        "AppArmor takes the capabilities away inside user namespaces (Ubuntu 23.10 and newer)",
        ADMIN,
        _sysctl("kernel.apparmor_restrict_unprivileged_userns=0"),
    ),
    "userns-chroot": Cause(
        "this is a chroot, in which the kernel allows no user namespaces",
        ADMIN,
        advice="enter the tree by pivot_root instead: systemd-nspawn -D DIR, or bwrap --bind DIR /",
    ),
    "userns-seccomp": Cause(
        "a seccomp filter around this session refuses user namespaces, as container engines set it",
        USER,
        advice="leave the container, or have it started with --security-opt seccomp=unconfined",
    ),
    "userns-unknown": Cause(
        "the kernel refuses user namespaces",
        ADMIN,
        advice="look for a security module or sandbox that refuses them: dmesg, /sys/kernel/security/lsm",
    ),
    "namespaces-limit": Cause(
        "the number of a kind of namespaces is limited to none",
        ADMIN,
        "echo user.max_{kind}_namespaces=15000 > /etc/sysctl.d/60-rpod-{kind}.conf && "
        "sysctl -q -w user.max_{kind}_namespaces=15000",
    ),
    "namespaces-kernel": Cause(
        "the kernel was built without a kind of namespaces",
        ADMIN,
        advice="boot a kernel with all of CONFIG_NAMESPACES, as every distribution builds it",
    ),
    "ids-moved": Cause(
        "the subordinate ids are others than when the images were stored",
        USER,
        advice="rpod system migrate, which needs the old range beside the new one in /etc/subuid and /etc/subgid; or "
        "remove what is stored and pull it anew: rpod system prune --all",
    ),
    "maps-refused": Cause(
        "newuidmap refuses the user's own ranges",
        ADMIN,
        advice="compare /etc/subuid and /etc/subgid with the words above; every range must be the user's alone",
    ),
    "data-unusable": Cause(
        "the data directory cannot be written",
        USER,
        "export XDG_DATA_HOME=/var/tmp/{user}",
    ),
    "data-filesystem": Cause(
        "the home directory's file system (NFS, FUSE, FAT …) cannot keep what images need",
        USER,
        "export XDG_DATA_HOME=/var/tmp/{user}",
    ),
    "disk-full": Cause(
        "less than 1 GB or 20000 inodes are free where images are kept",
        USER,
        "rpod system prune --all",
    ),
    "overlay-refused": Cause(
        "the kernel's overlay does not work in a user namespace on this file system",
        ADMIN,
        "{install_fuse-overlayfs}",
    ),
    "fuse-missing": Cause("fuse-overlayfs is not installed", ADMIN, "{install_fuse-overlayfs}"),
    "fuse-device-missing": Cause("the kernel's fuse module is not loaded", ADMIN, _load_module("fuse")),
    "fuse-device-closed": Cause("/dev/fuse is closed to users", ADMIN, _open_device("fuse")),
    "fuse-refused": Cause(
        "fuse-overlayfs does not mount",
        ADMIN,
        advice="fuse-overlayfs must be 1.6 or newer and the kernel 4.18 or newer",
    ),
    "slirp-missing": Cause("slirp4netns is not installed", ADMIN, "{install_slirp4netns}"),
    "tun-device-missing": Cause("the kernel's tun module is not loaded", ADMIN, _load_module("tun")),
    "tun-device-closed": Cause("/dev/net/tun is closed to users", ADMIN, _open_device("tun")),
    "slirp-refused": Cause(
        "slirp4netns does not start",
        ADMIN,
        advice="slirp4netns must be 1.0 or newer; its own words stand above",
    ),
    "pasta-missing": Cause("pasta is not installed", ADMIN, "{install_passt}"),
    "pasta-refused": Cause(
        "pasta does not start",
        ADMIN,
        advice="pasta needs a host interface with a default route; its own words stand above",
    ),
    "cgroup-v1": Cause(
        "the machine boots with cgroup v1, or with both versions",
        ADMIN,
        advice="boot with systemd.unified_cgroup_hierarchy=1 on the kernel's command line",
    ),
    "delegation-systemd": Cause(
        "the session is in a cgroup that is not the user's",
        USER,
        "systemd-run --user --scope --property=Delegate=yes $SHELL",
    ),
    "delegation-none": Cause(
        "nobody delegated a cgroup to the user",
        ADMIN,
        advice="start the session in a cgroup directory that belongs to {user} (see docs/troubleshooting.md)",
    ),
    "controllers-systemd": Cause(
        "systemd does not delegate every controller to users",
        ADMIN,
        f"mkdir -p {_DELEGATE.rpartition('/')[0]} && "
        f'printf "[Service]\\nDelegate=cpu cpuset io memory pids\\n" > {_DELEGATE} && '
        "systemctl daemon-reload && systemctl restart user@{uid}.service",
    ),
    "controllers-none": Cause(
        "the delegated cgroup lacks controllers",
        ADMIN,
        advice="enable them from the root cgroup down: "
        'echo "+cpu +cpuset +io +memory +pids" > PARENT/cgroup.subtree_control',
    ),
    "bus-missing": Cause("the user has no D-Bus session", ADMIN, "{install_dbus} && loginctl enable-linger {user}"),
    "manager-missing": Cause(
        "systemd does not run for the user, as after su",
        ADMIN,
        "loginctl enable-linger {user}",
    ),
    "selinux-confined": Cause(
        "SELinux confines the user to a role that may not make namespaces",
        ADMIN,
        "semanage login -a -s unconfined_u {user} || semanage login -m -s unconfined_u {user}",
    ),
    "runtime-unset": Cause(
        "XDG_RUNTIME_DIR is not set, as after su and in cron",
        USER,
        "export XDG_RUNTIME_DIR=/run/user/{uid}",
    ),
    "runtime-systemd": Cause("the user has no runtime directory", ADMIN, "loginctl enable-linger {user}"),
    "runtime-none": Cause(
        "nobody makes runtime directories on this machine",
        ADMIN,
        "install -d -m 0755 /run/user && install -d -m 0700 -o {user} /run/user/{uid}",
    ),
    "runtime-unusable": Cause(
        "the stand-in for the runtime directory is somebody else's",
        ADMIN,
        "install -d -m 0755 /run/user && install -d -m 0700 -o {user} /run/user/{uid}",
    ),
    "linger-off": Cause("the user's processes end with the last logout", ADMIN, "loginctl enable-linger {user}"),
    "kernel-old": Cause("the kernel is older than 5.12", ADMIN, advice="update the distribution's kernel"),
    "kernel-seccomp": Cause(
        "the kernel was built without seccomp",
        ADMIN,
        advice="boot a kernel with CONFIG_SECCOMP_FILTER=y, as every distribution builds it",
    ),
    "helpers-missing": Cause(
        "rpod was installed without its helpers, or for another machine",
        USER,
        "python3 helpers/build_hook.py && pip install --force-reinstall .",
    ),
}

CHECKS = (
    Check(
        "account",
        "ordinary user",
        "the effective user id",
        "rpod gives containers only what the user has; root would give them everything",
        ("account-root",),
        ids.account,
        required=False,
    ),
    Check(
        "kernel",
        "kernel",
        "openat2, pidfd_open and seccomp are called; the release is compared with 5.12",
        "containers are made of these calls",
        ("kernel-old", "kernel-seccomp"),
        host.kernel,
    ),
    Check(
        "helpers",
        "helpers",
        "rpod-monitor and rpod-init are there, executable, static and of this architecture",
        "the monitor keeps a container's log and exit code, the init starts its program",
        ("helpers-missing",),
        host.helpers,
    ),
    Check(
        "user-namespace",
        "user namespace",
        "one is made, and a file system is mounted in it",
        "it is what lets a user be root in a container and nobody outside",
        (
            "userns-kernel",
            "userns-limit",
            "userns-sysctl",
            "userns-apparmor",
            "userns-chroot",
            "userns-seccomp",
            "userns-unknown",
        ),
        ids.user_namespace,
    ),
    Check(
        "namespaces",
        "namespaces",
        "one of every kind that a container has is made in a user namespace",
        "they are what separates a container from the rest",
        ("namespaces-limit", "namespaces-kernel"),
        ids.namespaces,
        needs=("user-namespace",),
    ),
    Check(
        "selinux",
        "SELinux",
        "whether it enforces, and which user it takes this one for",
        "a confined user may not make namespaces",
        ("selinux-confined",),
        host.selinux,
    ),
    Check(
        "subordinate-ids",
        "subordinate ids",
        "/etc/subuid and /etc/subgid (or getsubids) give the user 65536 ids that nobody else has",
        "an image's files and services belong to many users; without ids there is only one",
        ("ranges-missing", "ranges-small", "ranges-shared"),
        ids.subordinate_ids,
    ),
    Check(
        "id-map-tools",
        "newuidmap, newgidmap",
        "they are installed and may change user ids",
        "only they may give a user namespace the subordinate ids",
        ("tools-missing", "tools-mode", "tools-nosuid", "no-new-privs"),
        ids.id_map_tools,
    ),
    Check(
        "id-maps",
        "id maps",
        "a namespace gets all the ids, and a file is given to the last one",
        "this is the first step of every container",
        ("ranges-missing", "maps-refused"),
        ids.id_maps,
        needs=("user-namespace", "id-map-tools", "subordinate-ids"),
    ),
    Check(
        "stored-ids",
        "ids of what is stored",
        "the owners of the images' files are compared with the ranges of today",
        "with other ranges, files of images belong to nobody that a container knows",
        ("ids-moved",),
        ids.stored_ids,
        required=False,
        needs=("subordinate-ids",),
    ),
    Check(
        "data-directory",
        "data directory",
        "owners, modes, extended attributes, links, FIFOs and locks are tried where images are kept",
        "layers are unpacked there with the owners and attributes that the image gives them",
        ("data-unusable", "data-filesystem"),
        storage.data_filesystem,
        needs=("user-namespace",),
    ),
    Check(
        "disk",
        "free space",
        "free bytes and inodes of the data directory's file system",
        "a small Debian image takes 120 MB and 10000 files",
        ("disk-full",),
        storage.disk,
    ),
    Check(
        "overlay",
        "overlay",
        "the kernel's overlay is mounted on the data directory, a file is deleted and a directory replaced",
        "the fastest way to stack an image's layers",
        ("overlay-refused", "data-unusable"),
        storage.overlay,
        one_of="a root file system driver",
        needs=("user-namespace",),
    ),
    Check(
        "fuse-overlayfs",
        "fuse-overlayfs",
        "it is mounted in a user namespace",
        "it stacks layers where the kernel's overlay does not, and serves --userns keep-id",
        ("fuse-missing", "fuse-device-missing", "fuse-device-closed", "fuse-refused", "data-unusable"),
        storage.fuse_overlayfs,
        one_of="a root file system driver",
        needs=("user-namespace",),
    ),
    Check(
        "slirp4netns",
        "slirp4netns",
        "it is started on a network namespace until its tap device is up",
        "the default network: without it only --network none, host and pasta work",
        ("slirp-missing", "tun-device-missing", "tun-device-closed", "slirp-refused"),
        network.slirp4netns,
        one_of="a network driver",
        needs=("user-namespace",),
    ),
    Check(
        "pasta",
        "pasta",
        "it runs a command in a network namespace",
        "the network for throughput and the host's own addresses",
        ("pasta-missing", "tun-device-missing", "tun-device-closed", "pasta-refused"),
        network.pasta,
        one_of="a network driver",
        needs=("user-namespace",),
    ),
    Check(
        "cgroup-v2",
        "cgroup v2",
        "/sys/fs/cgroup shows the pure version 2 hierarchy",
        "limits of memory, cpu and processes, and pause, need it",
        ("cgroup-v1",),
        host.cgroup_version,
        required=False,
    ),
    Check(
        "delegation",
        "cgroup delegation",
        "a child cgroup is made, and its controllers are counted",
        "each limit needs its controller: --memory, --cpus, --cpuset-cpus, --pids-limit",
        ("delegation-systemd", "delegation-none", "controllers-systemd", "controllers-none"),
        host.delegation,
        required=False,
        needs=("cgroup-v2",),
    ),
    Check(
        "user-manager",
        "systemd for the user",
        "it is asked for its version",
        "it keeps containers after the logout, starts them at boot, and gives each its own cgroup",
        ("manager-missing",),
        host.user_manager,
        required=False,
    ),
    Check(
        "session-bus",
        "D-Bus session",
        "the user's bus is connected to",
        "systemd gives a container its own scope over it",
        ("bus-missing",),
        host.session_bus,
        required=False,
    ),
    Check(
        "runtime-directory",
        "runtime directory",
        "XDG_RUNTIME_DIR is set, the user's, and closed to others",
        "what runs is recorded there until the next boot",
        ("runtime-unset", "runtime-systemd", "runtime-none", "runtime-unusable"),
        host.runtime_directory,
        required=False,
    ),
    Check(
        "lingering",
        "lingering",
        "systemd-logind lets the user's processes outlive the last logout",
        "otherwise containers started with -d end when the user logs out",
        ("linger-off",),
        host.lingering,
        required=False,
    ),
)

"""What can be wrong with a machine, and what mends it: an administrator's command, the user's, or an advice."""

from __future__ import annotations

from rootless.engine.doctor.model import ADMIN, USER, Cause

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
    "userns-profile": Cause(
        "an AppArmor profile confines rpod, or what started it",
        ADMIN,
        advice="an administrator must allow user namespaces, and all capabilities in them, in the AppArmor profile "
        "{profile}, or unload it: apparmor_parser -R /etc/apparmor.d/FILE",
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
    # A systemd that runs for the user already learns of the bus's socket only when it starts anew.
    "bus-missing": Cause(
        "the user has no D-Bus session",
        ADMIN,
        "{install_dbus} && loginctl enable-linger {user} && systemctl restart user@{uid}.service",
    ),
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
        'install -d -m 0755 /run/user && install -d -m 0700 -o {user} -g "$(id -g {user})" /run/user/{uid}',
    ),
    "runtime-unusable": Cause(
        "the stand-in for the runtime directory is somebody else's",
        ADMIN,
        'install -d -m 0755 /run/user && install -d -m 0700 -o {user} -g "$(id -g {user})" /run/user/{uid}',
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

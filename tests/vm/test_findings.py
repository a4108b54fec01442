"""Each finding of the doctor: caused in the machine, seen, its printed command applied as it stands, gone.

Where an advice stands instead of a command, what caused it is undone. ``findings.py`` does it, in the machine, when
nothing else is to come (``conftest.py``), for much of it is taken apart. What no such machine can be brought into
stands in ELSEWHERE.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import machine
import pytest

from rootless.engine.doctor.causes import CAUSES

if TYPE_CHECKING:
    from machine import Machine

PROGRAM = Path(__file__).with_name("findings.py")
# A repository on the disk with the packages as they are installed: the machine has no way to the real one.
REPOSITORY = r"""
set -e
mkdir -p /srv/repo && cd /srv/repo
for name in uidmap fuse-overlayfs slirp4netns passt dbus-user-session; do
    mkdir -p work/DEBIAN
    dpkg-query -L $name | grep -v /usr/share/doc | while read -r path; do
        if [ -L "$path" ] || [ -f "$path" ]; then mkdir -p "work${path%/*}" && cp -a "$path" "work$path"; fi
    done
    dpkg-query -W -f 'Package: ${Package}\nVersion: ${Version}\nArchitecture: ${Architecture}\n' $name \
        > work/DEBIAN/control
    printf 'Maintainer: test\nDescription: test\n' >> work/DEBIAN/control
    dpkg-deb -b -Znone work $name.deb > /dev/null && rm -r work
    cat >> Packages <<END
$(dpkg-deb -f $name.deb)
Filename: ./$name.deb
Size: $(stat -c %s $name.deb)
SHA256: $(sha256sum $name.deb | cut -d' ' -f1)

END
done
rm -f /etc/apt/sources.list.d/*
echo 'deb [trusted=yes] file:/srv/repo ./' > /etc/apt/sources.list
apt-get -qq -o APT::Sandbox::User=root update
"""


class Case(NamedTuple):
    """What causes a finding of ``check``, and what takes it away where the doctor has an advice for it, no command.

    ``root`` are lines of a root shell, ``user`` of the shell that asks; ``around`` stands before the question in it,
    ``outer``, as root, before the shell. ``undo`` follows the printed command; ``tidy`` the end. ``another``: it is
    mended by something else that now serves.
    """

    cause: str
    check: str
    root: str = ""
    user: str = ""
    around: str = ""
    outer: str = ""
    undo: str = ""
    tidy: str = ""
    as_root: bool = False
    another: bool = False


PROFILE = "profile narrow flags=(attach_disconnected) { file, network, signal, unix, ptrace, dbus, mount, umount, }"
USER, UID = machine.USER, machine.UID
DROP_IN = "/etc/systemd/system/user@.service.d/rpod-delegate.conf"
# As after a boot where nobody lingers and su came to be the user.
NOBODY = f"loginctl disable-linger {USER} && systemctl stop user@{UID} user-runtime-dir@{UID}"
LINGER = f"loginctl enable-linger {USER}"
BROKEN = "mkdir -p ~/broken && ln -sf /bin/false ~/broken/{} && PATH=~/broken:$PATH"
CHROOT = (
    "unshare -m sh -ec 'mkdir -p /srv/tree && cd / && for name in *; do if [ -L $name ]; "
    "then cp -P $name /srv/tree/; elif [ -d $name ]; then mkdir -p /srv/tree/$name; mount --rbind $name "
    '/srv/tree/$name; fi; done; exec chroot /srv/tree "$@"\' sh'
)
VERSION_1 = (
    "unshare -m sh -ec 'mount -t tmpfs none /sys/fs/cgroup; mkdir /sys/fs/cgroup/systemd; "
    'mount -t cgroup -o none,name=other none /sys/fs/cgroup/systemd; exec "$@"\' sh'
)
SMALL_DISK = (
    "truncate -s 1300M /srv/disk; mke2fs -q -F -m 0 -N 20400 /srv/disk; mkdir -p /mnt/disk; "
    f"mount -o loop /srv/disk /mnt/disk; install -d -o {USER} /mnt/disk/data; "
    "as_user 'mkdir -p many && cd many && seq 600 | xargs touch && "
    "tar -c . | XDG_DATA_HOME=/mnt/disk/data rpod import -q - localhost/many'"
)
CASES = (
    Case("account-root", "account", as_root=True),
    Case("ranges-missing", "subordinate-ids", root=f"sed -i /^{USER}:/d /etc/subuid /etc/subgid"),
    Case("ranges-small", "subordinate-ids", root=f"sed -i 's/^{USER}:.*/{USER}:400000:1000/' /etc/subuid /etc/subgid"),
    Case("ranges-shared", "subordinate-ids", root=f"sed -n s/{USER}/mallory/p /etc/subuid >> /etc/subuid"),
    Case("maps-refused", "id-maps", root=f"sed -i 's/^{USER}:.*/{USER}:4294930000:65536/' /etc/subuid"),
    Case(
        "ids-moved",
        "stored-ids",
        root="as_user 'mkdir owned && touch owned/file && "
        "tar -C owned --owner=5 -c . | rpod import -q - localhost/owned'"
        f"; sed -i 's/^{USER}:.*/{USER}:400000:65536/' /etc/subuid /etc/subgid",
    ),
    Case("tools-missing", "id-map-tools", root="apt-get -qq remove -y uidmap"),
    Case("tools-mode", "id-map-tools", root="chmod u-s /usr/bin/newuidmap"),
    Case(
        "tools-nosuid",
        "id-map-tools",
        root="mount --bind /usr/bin /usr/bin && mount -o remount,bind,nosuid /usr/bin",
        undo="umount -l /usr/bin",
    ),
    Case("no-new-privs", "id-map-tools", around="setpriv --no-new-privs"),
    Case("userns-limit", "user-namespace", root="sysctl -q -w user.max_user_namespaces=0"),
    Case("userns-sysctl", "user-namespace", root="sysctl -q -w kernel.unprivileged_userns_clone=0"),
    Case(
        "userns-profile",
        "user-namespace",
        root=f"echo '{PROFILE}' | apparmor_parser -r",
        around="aa-exec -p narrow --",
        undo=f"echo '{PROFILE}' | apparmor_parser -R",
    ),
    Case("userns-chroot", "user-namespace", outer=CHROOT),
    Case(
        "userns-seccomp",
        "user-namespace",
        around="systemd-run --user --quiet --pipe --wait -p RestrictNamespaces=yes",
    ),
    Case("namespaces-limit", "namespaces", root="sysctl -q -w user.max_net_namespaces=0"),
    Case(
        "data-unusable",
        "data-directory",
        root="install -d -m 0755 /mnt/closed",
        user="export XDG_DATA_HOME=/mnt/closed",
    ),
    Case(
        "data-filesystem",
        "data-directory",
        root="mkdir -p /mnt/ram && mount -t ramfs none /mnt/ram && chmod 777 /mnt/ram",
        user="export XDG_DATA_HOME=/mnt/ram",
        tidy="umount /mnt/ram",
    ),
    Case(
        "disk-full",
        "disk",
        root=SMALL_DISK,
        user="export XDG_DATA_HOME=/mnt/disk/data",
        tidy="umount /mnt/disk; rm /srv/disk",
    ),
    Case(
        "overlay-refused",
        "overlay",
        root="echo install overlay /bin/false > /etc/modprobe.d/no-overlay.conf; modprobe -r overlay; "
        "apt-get -qq remove -y fuse-overlayfs",
        another=True,
        tidy="rm /etc/modprobe.d/no-overlay.conf",
    ),
    Case("fuse-missing", "fuse-overlayfs", root="apt-get -qq remove -y fuse-overlayfs"),
    Case("fuse-device-missing", "fuse-overlayfs", root="umount -a -t fusectl; modprobe -r fuse && rm -f /dev/fuse"),
    Case("fuse-device-closed", "fuse-overlayfs", root="chmod 0600 /dev/fuse"),
    Case("fuse-refused", "fuse-overlayfs", user=BROKEN.format("fuse-overlayfs")),
    Case("slirp-missing", "slirp4netns", root="apt-get -qq remove -y slirp4netns"),
    Case("slirp-refused", "slirp4netns", user=BROKEN.format("slirp4netns")),
    Case("tun-device-missing", "slirp4netns", root="modprobe -r tun && rm -f /dev/net/tun"),
    Case("tun-device-closed", "slirp4netns", root="chmod 0600 /dev/net/tun"),
    Case("pasta-missing", "pasta", root="apt-get -qq remove -y passt"),
    Case("pasta-refused", "pasta", root="ip route del default", undo=f"ip route add default via {machine.HOST}"),
    Case("cgroup-v1", "cgroup-v2", outer=VERSION_1),
    Case(
        "controllers-systemd",
        "delegation",
        root=f"rm -f {DROP_IN} && systemctl daemon-reload && systemctl restart user@{UID}",
    ),
    Case("bus-missing", "session-bus", root=f"apt-get -qq remove -y dbus-user-session && systemctl restart user@{UID}"),
    Case("manager-missing", "user-manager", root=NOBODY),
    Case("runtime-unset", "runtime-directory", user="unset XDG_RUNTIME_DIR"),
    Case("runtime-systemd", "runtime-directory", root=NOBODY),
    Case(
        "runtime-unusable",
        "runtime-directory",
        root=f"{NOBODY} && rm -rf /tmp/rpod-run-{UID} && install -d -m 0700 /tmp/rpod-run-{UID}",
        tidy=f"rm -r /tmp/rpod-run-{UID}; {LINGER}",
    ),
    Case("linger-off", "lingering", root=f"loginctl disable-linger {USER}"),
)
ELSEWHERE = {
    **dict.fromkeys(
        ("kernel-old", "kernel-seccomp", "userns-kernel", "namespaces-kernel"), "another kernel than Debian's"
    ),
    "userns-apparmor": "the setting is Ubuntu's; test_apparmor.py has the same by a profile",
    "helpers-missing": "rpod's source and a compiler are not in the machine",
    "userns-unknown": "what no other cause explains",
    "selinux-confined": "Debian's kernel is booted with AppArmor",
    **dict.fromkeys(
        ("delegation-none", "controllers-none", "runtime-none"), "machines without systemd, as the other tests' is"
    ),
}


def test_no_cause_is_forgotten() -> None:
    assert sorted([*ELSEWHERE, *(case.cause for case in CASES)]) == sorted(CAUSES)


@pytest.fixture
def tidy() -> None:
    """There are no containers here, and the machine is not used again."""


@pytest.fixture(scope="module")
def told(vm: Machine) -> dict[str, dict[str, Any]]:
    """What was found in each case, before and after it was mended."""
    cases = [{**case._asdict(), "command": bool(CAUSES[case.cause].command)} for case in CASES]
    vm.ok(REPOSITORY, user="root")
    vm.write("findings.py", PROGRAM.read_text())
    vm.write("cases.json", json.dumps(cases))
    lines = vm.ok(f"python3 ~{USER}/findings.py < ~{USER}/cases.json", user="root", timeout_s=1500).splitlines()
    return {found["cause"]: found for found in map(json.loads, lines)}


@pytest.mark.parametrize("case", CASES, ids=[case.cause for case in CASES])
def test_a_finding_is_seen_and_what_it_says_mends_it(told: dict[str, dict[str, Any]], case: Case) -> None:
    found = told[case.cause]
    assert "trouble" not in found, found["trouble"]
    assert (found["before"]["cause"], found["before"]["ok"]) == (case.cause, False), found
    assert found["before"]["fix"]
    assert found["gone"], found["after"]

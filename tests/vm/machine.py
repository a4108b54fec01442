"""A Debian machine with systemd, in qemu: made once, booted in a minute, lost without regret.

Nothing here needs root. ``mmdebstrap`` and ``mke2fs`` work in user namespaces, qemu emulates the
processor (or uses /dev/kvm where that works), and the machine is reached over ssh through a port of
the loopback interface. The image is kept under a hash of its recipe, so a changed recipe makes a new
one, and so is a machine that sleeps right after its boot; each test run works on a copy.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

import qemu

USER = "dora"
UID = 1000
APPS = f"/sys/fs/cgroup/user.slice/user-{UID}.slice/user@{UID}.service/app.slice"
OTHER_SSH = 2222  # ports of the machine that can be reached from here, beside ssh's own
WEB = 8080
HOST = "10.0.2.2"  # what the machine calls this one (qemu's user network)
PACKAGES = (
    "apparmor busybox-static cron dbus dbus-user-session dmsetup e2fsprogs fuse-overlayfs iproute2 libpam-systemd "
    "linux-image-cloud-amd64 openssh-server passt procps python3 python3-venv slirp4netns systemd systemd-sysv udev "
    "uidmap"
).split()
PROGRAMS = (qemu.PROGRAM, "mmdebstrap", "mke2fs", "newuidmap", "unshare", "ssh", "ssh-keygen")
_SIZE = "3G"
_SETUP = f"""
set -e
useradd --uid {UID} --create-home --shell /bin/bash {USER}
grep -q ^{USER}: /etc/subuid || usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {USER}
mkdir -p /var/lib/systemd/linger /etc/systemd/network /home/{USER}/.ssh /root/.ssh
touch /var/lib/systemd/linger/{USER}
echo machine > /etc/hostname
echo '/dev/vda / ext4 defaults 0 1' > /etc/fstab
echo 'nameserver 10.0.2.3' > /etc/resolv.conf
printf '[Match]\\nName=e*\\n[Network]\\nAddress=10.0.2.15/24\\nGateway=10.0.2.2\\n' > /etc/systemd/network/all.network
printf 'UseDNS no\\nUsePAM yes\\nMaxStartups 50\\n' > /etc/ssh/sshd_config.d/test.conf
systemctl enable systemd-networkd
systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer systemd-networkd-wait-online \
    e2scrub_all.timer e2scrub_reap systemd-timesyncd fstrim.timer getty@tty1
echo "$KEY" | tee /root/.ssh/authorized_keys > /home/{USER}/.ssh/authorized_keys
python3 -m venv /home/{USER}/venv
chown -R {USER}: /home/{USER}
"""


class MachineError(Exception):
    """The machine could not be made or reached."""


def missing() -> list[str]:
    """The programs that are not installed here and that a machine needs."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [name for name in PROGRAMS if shutil.which(name, path=path) is None]


def cache() -> Path:
    """Where images are kept: RPOD_TEST_CACHE, else ~/.cache/rpod-tests."""
    chosen = os.environ.get("RPOD_TEST_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "rpod-tests"


def _call(argv: list[str], timeout_s: float) -> None:
    env = {**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout_s, env=env, check=False)
    if done.returncode:
        raise MachineError(f"{argv[0]} ended with {done.returncode}: {(done.stdout + done.stderr)[-2000:]}")


def build() -> Path:
    """The directory of the finished image: ``disk``, ``vmlinuz``, ``initrd``, ``key``."""
    recipe = hashlib.sha256(repr((PACKAGES, _SIZE, _SETUP, _PACK)).encode()).hexdigest()[:16]
    home = cache() / f"machine-{recipe}"
    if (home / "disk").exists():
        return home
    work = home.with_name(f"{home.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    _call(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / "key")], 60)
    key = (work / "key.pub").read_text().strip()
    setup = f'KEY={shlex.quote(key)} chroot "$1" sh -c {shlex.quote(_SETUP)}'
    _call(
        [
            *("mmdebstrap", "--mode=unshare", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
            f"--customize-hook={setup}",
            *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/man/*"),
            *("bookworm", str(work / "root.tar")),
        ],
        1800,
    )
    _call(["unshare", "--map-root-user", "--map-auto", "sh", "-euc", _PACK, "sh", str(work), _SIZE], 600)
    os.rename(work, home)
    for old in cache().glob("machine-*"):
        if old != home and "." not in old.name:
            shutil.rmtree(old)
    return home


def _copy(source: Path, target: Path) -> None:
    _call(["cp", "--sparse=always", "--reflink=auto", str(source), str(target)], 300)


def _sleeping(image: Path) -> Path:
    """The folder of a machine that was put to sleep after its boot: ``memory`` and ``disk``."""
    home = image / qemu.warm_name()
    if (home / "disk").exists():
        return home
    fresh = home.with_name(f"{home.name}.{os.getpid()}")
    fresh.mkdir()
    with tempfile.TemporaryDirectory() as work, Machine(Path(work), cold=True) as machine:
        machine.fall_asleep(fresh)
    os.rename(fresh, home)
    return home


# Runs in a user namespace where the owners of the files exist. The device nodes come from devtmpfs.
_PACK = """
mkdir "$1/tree"
tar -xf "$1/root.tar" -C "$1/tree" --exclude='./dev/*'
cp "$1"/tree/boot/vmlinuz-* "$1/vmlinuz"
cp "$1"/tree/boot/initrd.img-* "$1/initrd"
mke2fs -q -t ext4 -d "$1/tree" "$1/disk" "$2"
rm -rf "$1/tree" "$1/root.tar"
"""


class Machine:
    """One machine on a copy of the image's disk, in ``work``; a context manager that ends it.

    Where the processor is emulated, it is the sleeping one that wakes up; ``cold``: it is booted all the same.
    """

    def __init__(self, work: Path, *, cold: bool = False) -> None:
        self._image = build()
        self._work = work
        self._qemu: subprocess.Popen[bytes] | None = None
        self._ports = {inside: _free_port() for inside in (22, OTHER_SSH, WEB)}
        self._disk = work / "disk"
        self.console = work / "console.log"
        self._accelerator = qemu.accelerator(self._image)
        asleep = None if cold or self._accelerator != "tcg" else _sleeping(self._image)
        self._memory = asleep / "memory" if asleep else None
        _copy((asleep or self._image) / "disk", self._disk)

    def __enter__(self) -> Machine:
        if self._memory is None or not self._wake(self._memory):
            self.boot()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._disk.unlink()

    def _wake(self, memory: Path) -> bool:
        """Go on where the sleeping machine was; whether that works. Its clock is set right."""
        self._start("-incoming", f"exec:cat {shlex.quote(str(memory))}")
        try:
            qemu.go_on(self._work / "qmp")
            self.wait_for_ssh(120)
        except (MachineError, OSError):
            self.kill()
            _copy(self._image / "disk", self._disk)
            return False
        self.ok(f"date -s @{time.time():.0f}", user="root")
        return True

    def fall_asleep(self, folder: Path) -> None:
        """Be kept in ``folder`` as it is now, and end."""
        qemu.save(self._work / "qmp", folder / "memory")
        assert self._qemu is not None
        self._qemu.wait(60)
        _copy(self._disk, folder / "disk")

    def _forwards(self) -> str:
        return ",".join(f"hostfwd=tcp:127.0.0.1:{port}-:{inside}" for inside, port in self._ports.items())

    def web(self) -> str:
        """The page that port 8080 serves, "" if it serves none now."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._ports[WEB]}/", timeout=20) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    def boot(self, timeout_s: float = 300, *, login: bool = True) -> None:
        """Switch it on and (with ``login``) wait until ssh answers."""
        self._start()
        if login:
            self.wait_for_ssh(timeout_s)

    def _start(self, *more: str) -> None:
        argv = qemu.command(self._image, self._disk, self.console, self._forwards(), self._accelerator)
        argv += ["-qmp", f"unix:{self._work}/qmp,server=on,wait=off", *more]
        self._qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def wait_for_ssh(self, timeout_s: float = 300) -> None:
        """Wait until the user can log in."""
        deadline = time.monotonic() + timeout_s
        while self.run("true", timeout_s=60).returncode:
            if self._qemu is None or self._qemu.poll() is not None or time.monotonic() > deadline:
                said = self.console.read_bytes()[-3000:].decode("utf-8", "replace") if self.console.exists() else ""
                raise MachineError(f"the machine does not answer: {said}")
            time.sleep(1)

    def ssh(self, user: str = USER, port: int = 22) -> list[str]:
        """The beginning of a command line that logs in."""
        options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "LogLevel=ERROR", "ConnectTimeout=20")
        flags = [word for option in options for word in ("-o", option)]
        return [
            "ssh",
            "-F",
            "none",
            "-i",
            str(self._image / "key"),
            "-p",
            str(self._ports[port]),
            *flags,
            f"{user}@127.0.0.1",
        ]

    def run(
        self, command: str, *, user: str = USER, timeout_s: float = 300, port: int = 22
    ) -> subprocess.CompletedProcess[str]:
        """Run a shell command in a login session of its own, as a user at a terminal would."""
        argv = [*self.ssh(user, port), f"PATH=~/venv/bin:$PATH; {command}"]
        return subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False
        )

    def ok(self, command: str, *, user: str = USER, timeout_s: float = 300, port: int = 22) -> str:
        """What a command printed that must succeed, without the last line end."""
        done = self.run(command, user=user, timeout_s=timeout_s, port=port)
        assert done.returncode == 0, f"$ {command}\n{done.stdout}{done.stderr}[{done.returncode}]"
        return done.stdout.rstrip("\n")

    def fails(self, command: str, code: int) -> str:
        """Standard error of a command that must end with ``code``."""
        done = self.run(command)
        assert done.returncode == code, f"$ {command}\n{done.stdout}{done.stderr}[{done.returncode}]"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stderr.rstrip("\n")

    def write(self, path: str, text: str) -> None:
        """Write a file below the user's home."""
        target = shlex.quote(path)
        done = subprocess.run(
            [*self.ssh(), f"mkdir -p $(dirname {target}) && cat > {target}"],
            input=text.encode(),
            timeout=60,
            check=False,
        )
        if done.returncode:
            raise MachineError(f"{path} could not be written")

    def copy_in(self, source: Path, target: str) -> None:
        """Copy a directory's files into a new directory of the user's home."""
        with subprocess.Popen(["tar", "-C", str(source), "-c", "."], stdout=subprocess.PIPE) as tar:
            done = subprocess.run(
                [*self.ssh(), f"mkdir -p {target} && tar -C {target} -x"], stdin=tar.stdout, timeout=300, check=False
            )
        if done.returncode or tar.returncode:
            raise MachineError(f"{source} could not be copied in")

    def reboot(self, timeout_s: float = 200, *, login: bool = True) -> None:
        """Restart in good order: systemd stops everything first. qemu ends at the reset and is started anew."""
        self.run("systemctl reboot", user="root")
        assert self._qemu is not None
        self._qemu.wait(timeout_s)
        self.boot(login=login)

    def lose_power(self) -> None:
        """Switch it off at once and on again: what was not written to the disk is gone."""
        self.kill()
        self.boot()

    def sleep(self, seconds: float) -> None:
        """Stop it, as a laptop whose lid is closed, and let it go on. Its clock is then behind, until it is set."""
        qemu.suspend(self._work / "qmp", seconds)
        self.ok(f"date -s @{time.time():.0f}", user="root")

    def kill(self) -> None:
        """Switch it off."""
        if self._qemu is not None:
            self._qemu.kill()
            self._qemu.wait()
            self._qemu = None


def _free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])

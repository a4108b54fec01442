"""Network drivers: the choice that ``--network`` makes, and the two halves of each driver.

The launcher's half, ``start``, begins to connect the network namespace of the container's
init and returns at once; ``Started.finish`` waits until it is ready and publishes the ports.
Init's half, ``configure_inside``, is what has to be done in the namespace itself.
"""

from __future__ import annotations

import _socket
import fcntl
import os
import select
import time

from rootless import paths
from rootless.errors import NetworkError, UnsupportedError, UsageError, os_reason
from rootless.kernel import files, spawn
from rootless.network.names import Addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from rootless.network.ports import PortMapping

READY_TIMEOUT_S = 10.0
_STOP_TIMEOUT_S = 1.0
_WORDS_BYTES = 16384
_NOISE = ("WARNING", "Failed to send")  # the second: pasta without a syslog
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_IFREQ_BYTES = 40  # struct ifreq of netdevice(7): 16 bytes of name, then the value
# Any routable address: connecting a UDP socket asks the routing table and sends nothing (RFC 5737).
_ELSEWHERE = ("198.51.100.1", 9)


class NetworkChoice:
    """What ``--network`` chose.

    ``kind`` is a driver's name, host, none, container or ns; ``target`` the container or path;
    ``options`` the driver's; ``text`` all of it without the options, as records keep it.
    """

    __slots__ = ("kind", "options", "target")

    def __init__(self, kind: str, target: str = "", options: dict[str, str] | None = None) -> None:
        self.kind = kind
        self.target = target
        self.options = options or {}

    @property
    def text(self) -> str:
        """``KIND`` or ``KIND:TARGET``."""
        return f"{self.kind}:{self.target}" if self.target else self.kind


def parse(values: list[str], default: str = "slirp4netns") -> NetworkChoice:
    """The choice of ``--network`` values; without one, or with "private", the ``default``.

    Raises UsageError, or UnsupportedError for networks by name.
    """
    if len(values) > 1:
        raise UnsupportedError("a container has one network for now", "give --network once")
    kind, _, rest = (values[0] if values else default).partition(":")
    if kind in ("private", "default", ""):
        if rest:
            raise UsageError(f"--network {values[0]}: {kind} takes no options")
        kind, _, rest = default.partition(":")
    if kind in ("container", "ns"):
        if not rest or (kind == "ns" and not rest.startswith("/")):
            raise UsageError(f"--network {kind}: what to join is missing", "container:NAME or ns:/PATH")
        return NetworkChoice(kind, rest)
    if kind in ("host", "none"):
        if rest:
            raise UsageError(f"--network {kind}:{rest}: {kind} takes no options")
        return NetworkChoice(kind)
    if kind not in ("slirp4netns", "pasta"):
        raise UnsupportedError(
            f"--network {kind}: networks by name and bridges are not there yet",
            "slirp4netns, pasta, host, none, container:NAME and ns:PATH are",
        )
    return NetworkChoice(kind, options=get(kind).parse_options(rest))


def get(name: str) -> Driver:
    """The driver called ``name``: slirp4netns, pasta or none; anything else is a UsageError."""
    if name == "slirp4netns":
        from rootless.network.slirp4netns import Slirp4netns

        return Slirp4netns()
    if name == "pasta":
        from rootless.network.pasta import Pasta

        return Pasta()
    if name == "none":
        return Driver()
    raise UsageError(f"there is no network driver {name!r}", "slirp4netns, pasta and none are there")


class Connection:
    """What a driver is asked for: the network of process ``pid``, which has its id maps.

    ``run_dir`` is the container's private directory for sockets; ``mtu`` in bytes, unless
    ``options`` say another. ``user_namespace`` (a descriptor) is where the helper has its
    rights when that is not the user namespace of ``pid``; the caller is a child subreaper then.
    ``lifeline`` (a descriptor that the driver closes) is the pipe whose end the helper ends by,
    where it is not a new one.
    """

    __slots__ = ("lifeline", "mtu", "options", "pid", "ports", "run_dir", "user_namespace")

    def __init__(
        self,
        pid: int,
        run_dir: str,
        ports: list[PortMapping],
        mtu: int,
        options: Mapping[str, str],
        user_namespace: int = -1,
        lifeline: int = -1,
    ) -> None:
        self.pid = pid
        self.run_dir = run_dir
        self.ports = ports
        self.mtu = mtu
        self.options = options
        self.user_namespace = user_namespace
        self.lifeline = lifeline


class Started:
    """A network that is being connected. This one, of ``none``, is ready.

    ``helpers`` are pids of child processes, which the owner ends and reaps; ``held`` are
    descriptors that must stay open as long as the container lives.
    """

    __slots__ = ("held", "helpers")

    def __init__(self, helpers: list[int] | None = None, held: list[int] | None = None) -> None:
        self.helpers = helpers or []
        self.held = held or []

    def finish(self) -> None:
        """Wait until the network is ready and publish the ports. NetworkError, and all is undone, on failure."""

    def stop(self) -> None:
        """End the helpers and close what is held. May be called twice."""
        for fd in self.held:
            os.close(fd)
        self.held.clear()
        for pid in self.helpers:
            end_child(pid)
        self.helpers.clear()


class Driver:
    """The base of all drivers, and the driver ``none``: a namespace with nothing but loopback."""

    name = "none"

    def parse_options(self, text: str) -> dict[str, str]:
        """The driver's options from what stands behind the colon. Raises UsageError."""
        if text:
            raise UsageError(f"--network {self.name} takes no options")
        return {}

    def start(self, wanted: Connection) -> Started:
        """Begin to make the connection. Raises NetworkError."""
        if wanted.ports:
            raise NetworkError(f"--network {self.name} cannot publish ports", "--network slirp4netns can")
        return Started()

    def configure_inside(self) -> None:
        """Bring up loopback. Called by init in its network namespace. Raises NetworkError."""
        try:
            bring_up("lo")
        except OSError as error:
            raise NetworkError(f"the loopback interface cannot be brought up: {os_reason(error)}") from error

    def resolver(self, options: Mapping[str, str] | None = None) -> list[str]:
        """Name servers that the driver offers inside."""
        return []

    def addresses(self, options: Mapping[str, str] | None = None) -> Addresses:
        """The container's address and the one by which it reaches the host, for /etc/hosts."""
        return Addresses(own="127.0.0.1", gateway="")


def bring_up(interface: str) -> None:
    """Set IFF_UP of ``interface`` in this network namespace (netdevice(7)). Raises OSError."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        request = interface.encode().ljust(16, b"\0")
        answer = fcntl.ioctl(sock.fileno(), _SIOCGIFFLAGS, request.ljust(_IFREQ_BYTES, b"\0"))
        flags = int.from_bytes(answer[16:18], "little") | _IFF_UP
        request += flags.to_bytes(2, "little")
        fcntl.ioctl(sock.fileno(), _SIOCSIFFLAGS, request.ljust(_IFREQ_BYTES, b"\0"))
    finally:
        sock.close()


def host_address() -> str:
    """The host's own IPv4 address on the way out; "" when it has no route."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        sock.connect(_ELSEWHERE)
        return str(sock.getsockname()[0])
    except OSError:
        return ""
    finally:
        sock.close()


def known_options(path: str) -> frozenset[str]:
    """The long options that the program at ``path`` has; asked once per version of the file."""
    info = os.stat(path)
    stamp = f"{path} {info.st_ino} {info.st_size} {info.st_mtime_ns}"
    cache = f"{paths.cache()}/{os.path.basename(path)}-options"
    try:
        first, *names = files.read_file(cache, 65536).decode().split("\n")
        if first == stamp:
            return frozenset(names)
    except (OSError, UnicodeDecodeError):
        pass  # not asked yet, or damaged: ask
    help_text = spawn.run([path, "--help"]).text
    words = {word.split("=")[0].rstrip(",") for word in help_text.split()}
    found = sorted(word for word in words if word.startswith("--"))
    try:
        files.make_private(paths.cache())
        files.write_atomic(cache, "\n".join([stamp, *found]).encode(), sync=False)
    except OSError:
        pass  # the cache only saves time
    return frozenset(found)


def words_file() -> int:
    """A place for a helper's standard error that outlives this process and stays small.

    A pipe would kill the helper with SIGPIPE once nobody reads. This file has a fixed size: what
    is written behind its end fails with EPERM (memfd_create(2), F_SEAL_GROW) and is lost.
    """
    fd = os.memfd_create("words", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, _WORDS_BYTES)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


def words_of(fd: int) -> str:
    """The first line of sense that a helper wrote to its ``words_file``: what follows is its consequence."""
    text = os.pread(fd, _WORDS_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(_NOISE)]
    return (telling or lines or ["it said nothing"])[0]


def wait_readable(fd: int, pid: int, what: str) -> bytes:
    """The first bytes from ``fd``, a helper's sign that it is ready; b"" when the helper ended instead.

    Raises NetworkError after READY_TIMEOUT_S.
    """
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(pidfd, select.POLLIN)
        events = dict(poll.poll(READY_TIMEOUT_S * 1000))
    finally:
        os.close(pidfd)
    if events.get(fd, 0) & select.POLLIN:
        return os.read(fd, 64)
    if events:
        return b""
    raise NetworkError(f"{what} was not ready within {READY_TIMEOUT_S:.0f} s", "is the machine overloaded? try again")


def end_child(pid: int) -> None:
    """SIGTERM a child, SIGKILL it when it does not end within a second, and reap it."""
    try:
        os.kill(pid, 15)
        deadline = time.monotonic() + _STOP_TIMEOUT_S
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                return
            time.sleep(0.002)
    except (ProcessLookupError, ChildProcessError):
        pass  # it is gone already

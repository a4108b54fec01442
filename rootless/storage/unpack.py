"""The processes behind an Unpacker: one parked in a user namespace, and a worker for each layer.

::

    rpod pull ── socket ──► parked            root of the user namespace; forks, and nothing else
                              ├─ fork ─► worker   reads a layer from a pipe, writes staging/NAME/fs
                              └─ fork ─► worker

The parked process starts before any thread does, so a worker is always forked from a
process with one thread. A packet on the socket is the worker's orders (JSON) with three
descriptors: the layer's pipe, the pipe for the result, and the staging directory's lock,
which thus lasts as long as the worker.
"""

from __future__ import annotations

import _socket
import errno
import hashlib
import os
import signal
import struct

from rootless.errors import DiskFullError, RpodError, StorageError, os_reason
from rootless.kernel import fastjson, files, syscalls
from rootless.storage import implied, inflate
from rootless.storage.assembly import Recorder
from rootless.storage.extract import Extractor, Rules
from rootless.storage.tarstream import TarStream

_FDS = struct.Struct("3i")
_MAX_ORDERS = 65536


class Orders:
    """What a worker is to do: unpack into ``directory``/fs, and write ``directory``/layer.json.

    Without a ``diff_id`` the layer is new: what it turns out to be decides its ids.
    """

    __slots__ = ("chain_id", "diff_id", "digest", "directory", "media_type", "parent", "single_id")

    def __init__(
        self,
        directory: str,
        chain_id: str,
        diff_id: str,
        parent: str,
        media_type: str,
        digest: str,
        *,
        single_id: bool,
    ) -> None:
        self.directory = directory
        self.chain_id = chain_id
        self.diff_id = diff_id
        self.parent = parent
        self.media_type = media_type
        self.digest = digest
        self.single_id = single_id

    def name(self, diff_id: str) -> None:
        """The ids of a new layer (image-spec config.md, "Layer ChainID"); uncompressed is the one form that it has."""
        text = f"{self.parent} {diff_id}".encode()
        self.diff_id = self.digest = diff_id
        self.chain_id = f"sha256:{hashlib.sha256(text).hexdigest()}" if self.parent else diff_id

    def to_bytes(self) -> bytes:
        """For the socket."""
        return fastjson.dumps({name: getattr(self, name) for name in self.__slots__}).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Orders:
        """From the socket; the sender is our own parent."""
        fields = fastjson.loads(data)
        assert isinstance(fields, dict)
        return cls(**fields)


def send(channel: _socket.socket, orders: Orders, source: int, result: int, lock: int) -> None:
    """Have a worker started: it reads the layer from ``source``, answers on ``result`` and keeps ``lock``."""
    rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _FDS.pack(source, result, lock))
    channel.sendmsg([orders.to_bytes()], [rights])


def park(channel: _socket.socket) -> None:
    """Fork a worker for each packet until the other side closes the socket."""
    # A Ctrl-C reaches the whole foreground process group; the parent decides what ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        data, ancillary, _, _ = channel.recvmsg(_MAX_ORDERS, _socket.CMSG_SPACE(_FDS.size))
        if not data:
            return
        fds: tuple[int, int, int] = _FDS.unpack(ancillary[0][2])
        if os.fork() == 0:
            try:
                channel.close()
                _work(Orders.from_bytes(data), fds[0], fds[1])
            finally:
                os._exit(0)
        for fd in fds:
            os.close(fd)


def _work(orders: Orders, source: int, result: int) -> None:
    """A worker's life: the answer is JSON with ``chain_id``, or with ``error``, ``hint`` and ``full``."""
    try:
        answer = _unpack(orders, source)
    except RpodError as error:
        answer = {"error": error.message, "hint": error.hint, "full": isinstance(error, DiskFullError)}
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        answer = {"error": f"cannot unpack the layer: {os_reason(error)}", "hint": "", "full": full}
    except Exception as error:
        # Nobody sees a traceback of this process, and a worker that dies silently would be worse.
        answer = {"error": f"cannot unpack the layer: {type(error).__name__}: {error}", "hint": ""}
    files.write_all(result, fastjson.dumps(answer).encode())


def _unpack(orders: Orders, source: int) -> dict[str, object]:
    chunks = inflate.open_stream(lambda size: os.read(source, size), orders.media_type)
    hashing = hashlib.sha256()
    size_bytes = 0

    def next_chunk() -> bytes:
        nonlocal size_bytes
        chunk = chunks()
        hashing.update(chunk)
        size_bytes += len(chunk)
        return chunk

    staged = os.open(orders.directory, os.O_RDONLY | os.O_DIRECTORY)
    record = Recorder(staged)
    _enter_root(staged)
    rules = Rules(layer=True, base=not orders.parent, single_id=orders.single_id)
    extractor = Extractor(TarStream(next_chunk, keep=record.raw), rules, record)
    extractor.run()
    record.finish()
    found = f"sha256:{hashing.hexdigest()}"
    if not orders.diff_id:
        orders.name(found)
    elif found != orders.diff_id:
        raise StorageError(f"the layer unpacks to {found}, but the image's config names {orders.diff_id}")
    if extractor.implied:
        implied.note(staged, extractor.implied)
    _write_record(staged, orders, size_bytes)
    # One call for the files and the record: 15,000 calls of fsync would take minutes on a disk.
    syscalls.syncfs(staged)
    return {"chain_id": orders.chain_id, "notes": extractor.notes, "details": extractor.details}


def _enter_root(staged: int) -> None:
    """Make ``fs`` and make it this process's root; nothing of the surroundings is inherited in it."""
    os.mkdir("fs", 0o755, dir_fd=staged)
    fd = os.open("fs", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=staged)
    if "system.posix_acl_default" in os.listxattr(fd):
        os.removexattr(fd, "system.posix_acl_default")
    os.fchown(fd, 0, 0)
    os.fchmod(fd, 0o755)
    os.fchdir(fd)
    os.close(fd)
    os.chroot(".")


def _write_record(staged: int, orders: Orders, size_bytes: int) -> None:
    record = {
        "diff_id": orders.diff_id,
        "chain_id": orders.chain_id,
        "parent": orders.parent,
        "size_bytes": size_bytes,
        "digest": orders.digest,
    }
    fd = os.open("layer.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=staged)
    files.write_all(fd, fastjson.dumps(record).encode())
    os.close(fd)

"""The exact archive of a stored layer, put together again from its tree and its record (``storage.assembly``)."""

from __future__ import annotations

import hashlib
import os

import zstandard

from rootless.errors import RpodError, StorageError, os_reason
from rootless.kernel import fastjson, files, process, syscalls, userns
from rootless.storage.assembly import FILE, LENGTH, NAME, PAIR, PIECE, REPLACED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rootless.storage.layers import LayerStore

_MAX_RECORD = 8 << 20
_READ_BYTES = 1 << 20
_RESOLVE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS
_FORMS = {b"R": LENGTH, b"F": FILE, b"S": PAIR, b"M": PAIR}


class Archive:
    """The exact archive of a stored layer, uncompressed, as a stream. Use it in a ``with`` statement.

    A process inside the user namespace reads the tree, since its files belong to subordinate
    ids, and compares the whole with the layer's diff id: what was read may only be used
    after ``read`` has returned b"". Raises StorageError, also for a layer without a record.
    """

    def __init__(self, store: LayerStore, chain_id: str) -> None:
        self._ended = False
        self._info = store.info(chain_id)
        self._directory = os.path.dirname(store.path(chain_id))
        if not os.path.exists(f"{self._directory}/{NAME}"):
            raise StorageError(
                f"layer {chain_id[:19]} was stored without the record of its archive, so its exact bytes are lost",
                "remove the images that use it (rpod rmi) and pull them again",
            )

    def __enter__(self) -> Archive:
        self._data, data = os.pipe()
        self._verdict, verdict = os.pipe()

        def work() -> None:
            # Also those of other archives that are open: their readers would never be told that nobody reads.
            process.close_all_but((data, verdict))
            files.write_all(verdict, _send(self._directory, self._info.diff_id, data))

        try:
            self._pid = userns.fork_inside(work)
        except BaseException:
            os.close(self._data)
            os.close(self._verdict)
            raise
        finally:
            os.close(data)
            os.close(verdict)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._data)
        os.close(self._verdict)
        os.waitpid(self._pid, 0)

    @property
    def size_bytes(self) -> int:
        """The length of the whole."""
        return self._info.size_bytes

    @property
    def diff_id(self) -> str:
        """The digest of the whole."""
        return self._info.diff_id

    def read(self, size: int = _READ_BYTES) -> bytes:
        """Up to ``size`` bytes; b"" at the end, when the whole was right."""
        data = b"" if self._ended else os.read(self._data, size)
        if not data and not self._ended:
            self._ended = True
            answer = os.read(self._verdict, 65536)
            said = fastjson.loads(answer) if answer else ["the process that reads the layer was killed", ""]
            assert isinstance(said, list)
            if said:
                raise StorageError(*said)
        return data


def _send(directory: str, diff_id: str, target: int) -> bytes:
    """Write the archive of the layer in ``directory`` to ``target``: [] or [message, hint], as JSON."""
    hashing = hashlib.sha256()

    def write(data: bytes) -> None:
        hashing.update(data)
        files.write_all(target, data)

    said: list[str] = []
    try:
        _Reader(directory, write).run()
        if (found := f"sha256:{hashing.hexdigest()}") != diff_id:
            raise _damaged(directory, f"its archive comes back as {found[:19]} instead of {diff_id[:19]}")
    except RpodError as error:
        said = [error.message, error.hint]
    except OSError as error:
        said = [f"a layer cannot be read: {os_reason(error)}", ""]
    return fastjson.dumps(said).encode()


def _damaged(directory: str, why: str) -> StorageError:
    return StorageError(
        f"layer {os.path.basename(directory)[:12]} is damaged: {why}",
        "remove the images that use it (rpod rmi --force) and pull them again",
    )


class _Reader:
    """Puts the archive together again."""

    def __init__(self, directory: str, write: Callable[[bytes], None]) -> None:
        self._directory = directory
        self._write = write
        self._tree = os.open(f"{directory}/fs", os.O_RDONLY | os.O_DIRECTORY)
        # In order: at which record a name was moved aside, and where to.
        self._moves: list[tuple[int, bytes, bytes]] = []
        self._replaced = -1
        if os.path.isdir(f"{directory}/{REPLACED}"):
            self._replaced = os.open(f"{directory}/{REPLACED}", os.O_RDONLY | os.O_DIRECTORY)
            self._moves = [
                (number, record[2], b"%d" % PAIR.unpack_from(record[1])[1])
                for number, record in enumerate(self._records())
                if record[0] == b"M"
            ]

    def run(self) -> None:
        """Write everything."""
        for number, (kind, head, rest) in enumerate(self._records()):
            if kind == b"R":
                self._write(rest)
            elif kind == b"F":
                size = FILE.unpack(head)[1]
                self._content(number, rest, [(0, size)], size)
            elif kind == b"S":
                length = PAIR.unpack(head)[0]
                self._content(number, rest[:length], list(PIECE.iter_unpack(rest[length:])))

    def _records(self) -> Iterator[tuple[bytes, bytes, bytes]]:
        """Each record: its letter, its numbers, and what follows them."""
        with open(f"{self._directory}/{NAME}", "rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file)
            source = _Exact(reader.read, lambda: _damaged(self._directory, "the record of its archive is torn"))
            while kind := source.take(1, end=True):
                form = _FORMS.get(kind)
                if form is None:
                    raise _damaged(self._directory, "the record of its archive makes no sense")
                head = source.take(form.size)
                numbers = form.unpack(head)
                length = numbers[0] + (numbers[1] * PIECE.size if kind == b"S" else 0)
                yield kind, head, source.take(length)

    def _content(self, number: int, name: bytes, pieces: list[tuple[int, int]], size: int | None = None) -> None:
        """The pieces of a file, which has no more than ``size`` bytes where that is known."""
        fd = self._open(number, name)
        try:
            if size is not None and os.fstat(fd).st_size > size:
                raise _damaged(self._directory, f"{os.fsdecode(name)!r} is too long")
            for offset, length in pieces:
                position = offset
                while position < offset + length:
                    data = os.pread(fd, min(offset + length - position, _READ_BYTES), position)
                    if not data:
                        raise _damaged(self._directory, f"{os.fsdecode(name)!r} is too short")
                    self._write(data)
                    position += len(data)
        finally:
            os.close(fd)

    def _open(self, number: int, name: bytes) -> int:
        tree = self._tree
        for moved_at, moved, aside in self._moves:
            if moved_at > number and (name == moved or name.startswith(moved + b"/")):
                tree, name = self._replaced, aside + name[len(moved) :]
                break
        try:
            return syscalls.openat2(tree, os.fsdecode(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, _RESOLVE)
        except OSError as error:
            raise _damaged(self._directory, os_reason(error)) from error


class _Exact:
    """Exact numbers of bytes out of a stream."""

    def __init__(self, read: Callable[[int], bytes], torn: Callable[[], StorageError]) -> None:
        self._read = read
        self._torn = torn
        self._buffer = b""
        self._position = 0

    def take(self, size: int, *, end: bool = False) -> bytes:
        """``size`` bytes; with ``end`` b"" where the stream is over."""
        if size > _MAX_RECORD:
            raise self._torn()
        while len(self._buffer) - self._position < size:
            try:
                more = self._read(_READ_BYTES)
            except zstandard.ZstdError:
                raise self._torn() from None
            if not more:
                if end and self._position == len(self._buffer):
                    return b""
                raise self._torn()
            self._buffer = self._buffer[self._position :] + more
            self._position = 0
        start = self._position
        self._position += size
        return self._buffer[start : self._position]

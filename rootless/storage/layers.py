"""Layers on the disk: ``layers/CHAINHEX/fs`` and a record; and the way in for new ones.

A layer is unpacked in the staging area, put on the disk, and renamed to its place: what
stands there is whole. Who loses the race for a layer uses the winner's.
"""

from __future__ import annotations

import errno
import os

from rootless import config, log
from rootless.errors import DiskFullError, NotFoundError, StorageError, os_reason
from rootless.kernel import fastjson, files, userns
from rootless.storage.staging import Staged, Staging

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_HEX = frozenset("0123456789abcdef")
_REPAIR = "rpod rmi -f the images that use it, then pull them again"
_PIPE_BYTES = 1 << 20
_MAX_DEPTH = 1000
_F_SETPIPE_SZ = 1031


def _hex(chain_id: str) -> str:
    """The directory name of a chain id. Raises StorageError for what is not sha256:HEX."""
    algorithm, _, digits = chain_id.partition(":")
    if algorithm != "sha256" or len(digits) != 64 or not _HEX.issuperset(digits):
        raise StorageError(f"{chain_id[:80]!r} is not a layer's chain id")
    return digits


class LayerInfo:
    """A layer's record. ``size_bytes`` is the length of the uncompressed archive, ``digest`` the compressed one's."""

    __slots__ = ("chain_id", "diff_id", "digest", "parent", "size_bytes")

    def __init__(self, chain_id: str, diff_id: str, parent: str, size_bytes: int, digest: str) -> None:
        self.chain_id = chain_id
        self.diff_id = diff_id
        self.parent = parent
        self.size_bytes = size_bytes
        self.digest = digest

    @classmethod
    def from_json(cls, value: object, chain_id: str) -> LayerInfo:
        """From layer.json. Raises StorageError for a damaged record."""
        fields = value if isinstance(value, dict) else {}
        texts = [fields.get(name) for name in ("chain_id", "diff_id", "parent", "digest")]
        size_bytes = fields.get("size_bytes")
        if texts[0] != chain_id or not isinstance(size_bytes, int) or not all(isinstance(text, str) for text in texts):
            raise StorageError(f"the record of layer {chain_id} is damaged", _REPAIR)
        return cls(chain_id, str(texts[1]), str(texts[2]), size_bytes, str(texts[3]))


class LayerStore:
    """The layers of a data directory."""

    __slots__ = ("data_dir", "directory")

    def __init__(self, data_dir: str) -> None:
        self.data_dir = data_dir
        self.directory = f"{data_dir}/layers"

    def owns(self, chain_id: str) -> bool:
        """Whether the layer is here, and not only in an additional store."""
        return os.path.exists(f"{self.directory}/{_hex(chain_id)}/layer.json")

    def has(self, chain_id: str) -> bool:
        """Whether the layer is there."""
        return self.owns(chain_id) or self._place(chain_id) != f"{self.directory}/{_hex(chain_id)}"

    def path(self, chain_id: str) -> str:
        """The directory of the layer's tree."""
        return f"{self._place(chain_id)}/fs"

    def _place(self, chain_id: str) -> str:
        """The layer's directory: here, unless only an additional store has it."""
        digits = _hex(chain_id)
        own = f"{self.directory}/{digits}"
        if not config.load().storage.additional or os.path.exists(f"{own}/layer.json"):
            return own
        from rootless.storage import additional

        places = (f"{folder}/layers/{digits}" for folder in additional.folders())
        return next((place for place in places if os.path.exists(f"{place}/layer.json")), own)

    def info(self, chain_id: str) -> LayerInfo:
        """The layer's record. Raises NotFoundError, StorageError."""
        try:
            value = files.read_json(f"{self._place(chain_id)}/layer.json")
        except FileNotFoundError:
            raise NotFoundError(f"no such layer: {chain_id}") from None
        except (OSError, fastjson.JSONError) as error:
            raise StorageError(f"the record of layer {chain_id} cannot be read: {error}", _REPAIR) from error
        return LayerInfo.from_json(value, chain_id)

    def all(self) -> list[LayerInfo]:
        """Every layer of this store, by chain id."""
        try:
            names = sorted(os.listdir(self.directory))
        except FileNotFoundError:
            return []
        ids = [f"sha256:{name}" for name in names if len(name) == 64 and _HEX.issuperset(name)]
        return [self.info(chain_id) for chain_id in ids if self.owns(chain_id)]

    def chain(self, chain_id: str) -> list[str]:
        """The chain ids of the layer and of all below it, base first. Raises NotFoundError, StorageError."""
        found: list[str] = []
        while chain_id:
            if len(found) == _MAX_DEPTH:
                raise StorageError(f"the parents of layer {found[0]} have no end", _REPAIR)
            found.append(chain_id)
            chain_id = self.info(chain_id).parent
        return found[::-1]

    def remove(self, chain_id: str) -> None:
        """Remove a layer; one that is gone is fine. Whether anything uses it is the caller's question."""
        path = f"{self.directory}/{_hex(chain_id)}"
        with Staging(self.data_dir).make() as staged:
            try:
                os.rename(path, f"{staged.path}/layer")
            except FileNotFoundError:
                return
            except OSError as error:
                raise StorageError(f"layer {chain_id} cannot be removed: {os_reason(error)}") from error


class Sink:
    """Where the bytes of one layer go. End it with ``finish`` or ``abort``."""

    __slots__ = ("_chain_id", "_pipe", "_result", "_staged", "_store")

    def __init__(self, store: LayerStore, chain_id: str, staged: Staged, pipe: int, result: int) -> None:
        self._store = store
        self._chain_id = chain_id
        self._staged = staged
        self._pipe = pipe
        self._result = result

    def write(self, data: bytes | memoryview) -> None:
        """Hand over the next bytes of the (compressed) layer; waits until the worker takes them.

        Raises the worker's StorageError when it failed.
        """
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._pipe, view) :]
        except BrokenPipeError:
            self._answer()
            raise StorageError("the worker stopped in the middle of a layer") from None

    def fill(self, produce: Callable[[Callable[[bytes], None]], None]) -> None:
        """Have ``produce(write)`` write the layer, in a process that is root of the default user namespace.

        Raises its RpodError, or the worker's StorageError where that was the first to fail.
        """

        def write(data: bytes) -> None:
            view = memoryview(data)
            while view:
                view = view[os.write(self._pipe, view) :]

        def work() -> object:
            try:
                produce(write)
            except BrokenPipeError:
                return False
            return True

        if not userns.call_inside(work):
            self._answer()
            raise StorageError("the worker stopped in the middle of a layer")

    def finish(self) -> LayerInfo:
        """The stream is complete: wait for the worker and put the layer in its place.

        Raises the worker's StorageError: damaged data, a digest other than the diff id, a full disk.
        """
        try:
            answer = self._answer()
            for line in answer["notes"]:
                log.warn(line)
            for line in answer["details"]:
                log.debug(line)
            self._chain_id = answer["chain_id"]
            self._publish()
        finally:
            self._staged.close()
        return self._store.info(self._chain_id)

    def abort(self) -> None:
        """Forget the layer. Harmless after ``finish`` or a second time."""
        try:
            self._answer()
        except StorageError:
            pass  # that the stream ended early is no news
        finally:
            self._staged.close()

    def _answer(self) -> dict[str, Any]:
        """Close the stream and read what the worker says, once it has ended. {} when it was read before."""
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1
        if self._result < 0:
            return {}
        with os.fdopen(self._result, "rb") as file:
            self._result = -1
            data = file.read()
        if not data:
            raise StorageError("the worker that unpacked the layer was killed", "is memory short? see dmesg")
        answer = fastjson.loads(data)
        assert isinstance(answer, dict)
        if answer.get("full"):
            raise DiskFullError(answer["error"])
        if "error" in answer:
            raise StorageError(answer["error"], answer["hint"])
        return answer

    def _publish(self) -> None:
        """Rename the finished directory: it replaces an empty one at most, so an existing layer wins."""
        target = f"{self._store.directory}/{_hex(self._chain_id)}"
        try:
            os.makedirs(self._store.directory, mode=0o700, exist_ok=True)
            try:
                os.rename(self._staged.path, target)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                if self._store.owns(self._chain_id):
                    return
                self._store.remove(self._chain_id)  # something without a record: it has been tampered with
                os.rename(self._staged.path, target)
            files.sync_directory(self._store.directory)
        except OSError as error:
            raise StorageError(f"layer {self._chain_id} cannot be stored: {os_reason(error)}") from error


class Unpacker:
    """Unpacks layers, several at once from several threads, in one user namespace (see ``storage.unpack``).

    Enter it before threads start: it forks.
    """

    __slots__ = ("_channel", "_parked", "_single_id", "_store")

    def __init__(self, store: LayerStore) -> None:
        self._store = store

    def __enter__(self) -> Unpacker:
        import _socket

        from rootless.storage import stored_map, unpack

        maps = userns.default_map(userns.read_ranges())
        self._single_id = maps.single
        stored_map.note(self._store.data_dir, maps)
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)

        def work() -> None:
            ours.close()
            unpack.park(theirs)

        try:
            self._parked = userns.fork_inside(work, maps)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._channel = ours
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()
        os.waitpid(self._parked, 0)

    def begin(self, chain_id: str, diff_id: str, parent_chain_id: str, media_type: str, compressed_digest: str) -> Sink:
        """A place for one layer's bytes, in any form that ``media_type`` allows ("" for all).

        ``parent_chain_id`` is "" for the lowest layer. What the bytes unpack to must have the
        digest ``diff_id``; the compressed digest is recorded only, whoever reads the bytes checks it.
        """
        _hex(chain_id)
        return self._begin(chain_id, diff_id, parent_chain_id, media_type, compressed_digest)

    def begin_new(self, parent_chain_id: str) -> Sink:
        """A place for a layer that is just being made, in any form: ``finish`` of the sink tells its ids."""
        return self._begin("", "", parent_chain_id, "", "")

    def _begin(
        self, chain_id: str, diff_id: str, parent_chain_id: str, media_type: str, compressed_digest: str
    ) -> Sink:
        from rootless.storage import unpack

        staged = Staging(self._store.data_dir).make()
        opened: list[int] = []
        try:
            orders = unpack.Orders(
                staged.path,
                chain_id,
                diff_id,
                parent_chain_id,
                media_type,
                compressed_digest,
                single_id=self._single_id,
            )
            opened += os.pipe()
            opened += os.pipe()
            source, pipe, result, report = opened
            _enlarge(pipe)
            unpack.send(self._channel, orders, source, report, staged.lock_fd)
        except BaseException as error:
            for fd in opened:
                os.close(fd)
            staged.close()
            if isinstance(error, OSError):
                raise StorageError(f"cannot start unpacking: {os_reason(error)}") from error
            raise
        os.close(source)
        os.close(report)
        return Sink(self._store, chain_id, staged, pipe, result)


def _enlarge(pipe: int) -> None:
    """Fewer switches between the threads and a worker; a user has a limited amount of that."""
    import fcntl

    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_BYTES)
    except PermissionError:
        pass

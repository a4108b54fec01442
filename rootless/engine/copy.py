"""``cp``: files between a container and the host, another container, or a tar stream.

::

    reader (a process beside the source) ── tar ──► writer (a process beside the target)

Either runs in the container's own namespaces, or on the host as the user. Both find their
path with openat2(RESOLVE_IN_ROOT) and go on from that descriptor, and the writer's root
directory is the container's, or the target directory on the host: a program that swaps
links meanwhile changes what is copied inside its container and nothing else.
"""

from __future__ import annotations

import errno
import os
import stat

from rootless.engine import enter, facts
from rootless.errors import NotFoundError, RpodError, StorageError, UsageError, os_reason
from rootless.kernel import fastjson, syscalls, userns
from rootless.runtime import users
from rootless.runtime.mounts import Root
from rootless.state import events
from rootless.state.containers import Containers
from rootless.storage.extract import Extractor, Rules
from rootless.storage.pack import Packer
from rootless.storage.staging import Staging
from rootless.storage.tarstream import TarStream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.state.container import Container

_RESOLVE = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_MAX_LINKS = 40  # as the kernel
_CHUNK = 1 << 20
_MAX_NAME = 255
_STREAM = "-"
# One side lost the other, whose own error says why: this one has nothing to add.
_NOTHING_TO_SAY = ""


def copy(source: str, target: str, *, archive: bool = True, follow_link: bool = True, overwrite: bool = False) -> None:
    """Copy ``source`` to ``target``: a host path, ``CONTAINER:PATH``, or ``-`` for a tar stream on stdin, stdout.

    With ``archive`` what goes into a container belongs to the container's user, else it keeps
    its owner as the container sees it; what goes to the host belongs to the caller. With
    ``follow_link`` a link named as the source stands for what it points to, as in Podman.
    ``overwrite`` lets a directory replace a file and the reverse.
    """
    origin, destination = _parse(source), _parse(target)
    if origin.container is None and destination.container is None:
        raise UsageError(
            f"neither {source} nor {target} is in a container", "rpod cp CONTAINER:PATH PATH, or the reverse"
        )
    reader = _Reader(origin, follow_link, _translation(origin, destination, archive=archive))
    writer = _Writer(destination, origin.path == _STREAM, archive=archive, overwrite=overwrite)
    if origin.path == _STREAM:
        writer.run(0)
    elif destination.path == _STREAM:
        if os.isatty(1):
            raise UsageError("a tar stream is not written to a terminal", f"rpod cp {source} - > archive.tar")
        reader.run(1)
    elif origin.same_container(destination):
        _through_file(reader, writer, origin)
    else:
        _through_pipe(reader, writer)
    for side in (origin, destination):
        if side.container is not None:
            events.of_container(side.container.record, "copy")


class _Place:
    """One argument: ``container`` is None on the host; ``path`` is absolute, or ``-``; ``typed`` for messages.

    What has to be known of the container is read now: its record cannot be seen from inside it.
    """

    __slots__ = ("container", "groups", "path", "typed", "user", "where")

    def __init__(self, container: Container | None, path: str, typed: str) -> None:
        self.container = container
        self.path = path
        self.typed = typed
        self.where, self.user = "the host", ""
        self.groups: list[str] = []
        if container is not None:
            record = container.record
            self.where, self.user, self.groups = f"container {record.name}", record.user, record.groups

    def same_container(self, other: _Place) -> bool:
        return self.container is not None and other.container is not None and self.container.id == other.container.id

    def missing(self) -> NotFoundError:
        """As Podman says it."""
        return NotFoundError(f'"{self.typed}" could not be found on {self.where}: no such file or directory')


def _parse(text: str) -> _Place:
    if text == _STREAM:
        return _Place(None, _STREAM, text)
    name, colon, path = text.partition(":")
    if not colon or text.startswith(("/", ".")):
        if not text:
            raise UsageError("a path to copy from or to is empty")
        return _Place(None, text if text.startswith("/") else f"{os.getcwd()}/{text}", text)
    if not name or not path:
        raise UsageError(f"{text!r} is not CONTAINER:PATH")
    path = path if path.startswith("/") else f"/{path}"
    return _Place(Containers().resolve(name), path, path)


def _translation(origin: _Place, destination: _Place, *, archive: bool) -> Callable[[int, int], tuple[int, int]] | None:
    """What the host's ids are in the target container; only needed when they are to be kept."""
    if archive or origin.container is not None or destination.container is None:
        return None
    maps = facts.id_map(destination.container.record, userns.read_ranges())

    def inside(host: int, extents: list[userns.Extent]) -> int:
        for extent in extents:
            if 0 <= host - extent.outside < extent.size:
                return extent.inside + host - extent.outside
        return 0  # somebody that the container cannot name

    return lambda uid, gid: (inside(uid, maps.uids), inside(gid, maps.gids))


def _through_pipe(reader: _Reader, writer: _Writer) -> None:
    """Both at once: the reader in a process of its own. The reader's error explains the writer's."""
    source, sink = os.pipe()

    def read() -> None:
        os.close(source)
        reader.run(sink)

    try:
        background = _Background(read)
    finally:
        os.close(sink)
    errors: list[RpodError] = []
    try:
        writer.run(source)
    except RpodError as error:
        errors.append(error)
    finally:
        os.close(source)
        errors[:0] = background.result()
    for known in errors:
        if known.message != _NOTHING_TO_SAY:
            raise known
    if errors:
        raise StorageError("the copy was interrupted")


def _through_file(reader: _Reader, writer: _Writer, place: _Place) -> None:
    """One after the other, within one container: a stopped one's root can be mounted only once."""
    assert place.container is not None
    with Staging(os.path.dirname(os.path.dirname(place.container.directory))).make() as staged:
        fd = os.open(f"{staged.path}/archive", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            reader.run(fd)
            os.lseek(fd, 0, os.SEEK_SET)
            writer.run(fd)
        finally:
            os.close(fd)


class _Background:
    """Work in a forked process; ``result`` waits for its end and returns its error, if any."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._report, report = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            try:
                os.close(self._report)
                answer = _outcome(work)
                os.write(report, fastjson.dumps(answer).encode())
            finally:
                os._exit(0)
        os.close(report)

    def result(self) -> list[RpodError]:
        with os.fdopen(self._report, "rb") as file:
            data = file.read()
        os.waitpid(self._pid, 0)
        if not data:
            return [StorageError("the process that read the source was killed")]
        answer = fastjson.loads(data)
        assert isinstance(answer, dict)
        return [RpodError(answer["error"], answer["hint"])] if "error" in answer else []


def _outcome(work: Callable[[], None]) -> dict[str, str]:
    try:
        work()
    except RpodError as error:
        return {"error": error.message[:2000], "hint": error.hint[:1000]}
    except OSError as error:
        return {"error": os_reason(error), "hint": ""}
    return {}


def _open(root_fd: int, path: str, flags: int) -> int:
    return syscalls.openat2(root_fd, path, flags, _RESOLVE)


def _find(root_fd: int, path: str, *, follow: bool) -> tuple[int, str]:
    """(directory descriptor, name in it) of ``path``; the name is "." where the path can only be a directory.

    Links are followed inside the root. The name itself need not exist. Raises OSError.
    """
    for _ in range(_MAX_LINKS):
        folder, _, base = path.rpartition("/")
        if base in ("", ".", ".."):
            return _open(root_fd, path or "/", _DIRECTORY), "."
        parent = _open(root_fd, folder or "/", _DIRECTORY)
        try:
            link = os.readlink(base, dir_fd=parent) if follow else ""
        except FileNotFoundError:
            link = ""
        except OSError as error:
            if error.errno != errno.EINVAL:  # that is: not a link
                os.close(parent)
                raise
            link = ""
        if not link:
            return parent, base
        os.close(parent)
        path = link if link.startswith("/") else f"{folder}/{link}"
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)


class _Reader:
    """The source's side. The stream begins with ``f`` or ``d``, the length of the name in two bytes, and the name."""

    def __init__(self, place: _Place, follow_link: bool, ids: Callable[[int, int], tuple[int, int]] | None) -> None:
        self._place = place
        self._follow = follow_link
        self._ids = ids

    def run(self, sink: int) -> None:
        """Write the stream to ``sink``, with the introduction unless it is standard output."""
        if self._place.container is None:
            root_fd = os.open("/", _DIRECTORY)
            try:
                self._send(root_fd, sink)
            finally:
                os.close(root_fd)
        else:
            enter.inside(self._place.container, lambda root_fd: self._send(root_fd, sink))

    def _send(self, root_fd: int, sink: int) -> None:
        try:
            parent, base = _find(root_fd, self._place.path, follow=self._follow)
            info = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            raise self._place.missing() from None
        except OSError as error:
            raise StorageError(f"cannot read {self._place.typed}: {os_reason(error)}") from error
        name = os.fsencode(base if base != "." else os.path.basename(os.path.normpath(self._place.path)))
        if self._place.path.endswith("/.") or not name:
            name = b"."  # the content, not the directory
        if sink != 1:
            kind = b"d" if stat.S_ISDIR(info.st_mode) else b"f"
            _write(sink, kind + len(name).to_bytes(2, "big") + name)
        packer = Packer(lambda data: _write(sink, data), self._ids)
        packer.add(parent, os.fsencode(base), name, link=not self._follow)
        packer.finish()


def _write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except BrokenPipeError:
        raise StorageError(_NOTHING_TO_SAY) from None


class _Writer:
    """The target's side. ``plain``: the stream is a tar archive without an introduction."""

    def __init__(self, place: _Place, plain: bool, *, archive: bool, overwrite: bool) -> None:
        self._place = place
        self._plain = plain
        self._archive = archive
        self._overwrite = overwrite

    def run(self, source: int) -> None:
        """Unpack the stream from ``source`` at the target."""
        if self._place.container is not None:
            enter.inside(self._place.container, lambda root_fd: self._receive(root_fd, source))
            return
        # A namespace of the user alone gives the right to change the root directory, and no other id.
        maps = userns.IdMap([userns.Extent(0, os.geteuid(), 1)], [userns.Extent(0, os.getegid(), 1)])
        userns.call_inside(lambda: self._receive(os.open("/", _DIRECTORY), source), maps)

    def _receive(self, root_fd: int, source: int) -> None:
        kind, name = (b"t", b".") if self._plain else _introduction(source)
        folder, new_name = self._destination(root_fd, kind, name)
        rules = Rules(
            owner=self._owner(root_fd),
            keep_directories=True,
            overwrite=self._overwrite,
            rename=None if new_name == name else (b"" if name == b"." else name, new_name),
        )
        # In a container links may lead anywhere in it; on the host nowhere out of the target directory.
        os.fchdir(root_fd if self._place.container else folder)
        os.chroot(".")
        os.fchdir(folder)
        Extractor(TarStream(lambda: os.read(source, _CHUNK)), rules).run()

    def _owner(self, root_fd: int) -> tuple[int, int] | None:
        """Who gets what is copied; None: whoever the archive names."""
        if self._place.container is None:
            return 0, 0
        if not self._archive:
            return None
        user = users.look_up(Root(root_fd), self._place.user, self._place.groups)
        return user.uid, user.gid

    def _destination(self, root_fd: int, kind: bytes, name: bytes) -> tuple[int, bytes]:
        """(directory to unpack in, name there of what is copied) by the rules of podman-cp(1)."""
        path = self._place.path
        if kind == b"d" and path.endswith("/") and path != "/":
            path = path.rstrip("/")  # a directory may be made, with or without the slash
        try:
            parent, base = _find(root_fd, path, follow=True)
            there = _mode(parent, base)
        except FileNotFoundError:
            raise self._place.missing() if kind != b"t" else _must_be_directory("from stdin") from None
        except OSError as error:
            raise StorageError(f"cannot copy to {self._place.typed}: {os_reason(error)}") from error
        if stat.S_ISDIR(there):
            return os.open(base, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent), name
        if kind == b"t":
            raise _must_be_directory("from stdin")
        if there and kind == b"d" and not self._overwrite:
            raise _must_be_directory("a directory")
        return parent, os.fsencode(base)


def _must_be_directory(what: str) -> StorageError:
    return StorageError(f"destination must be a directory when copying {what}")


def _mode(parent: int, base: str) -> int:
    """The mode of an entry, 0 if it does not exist."""
    try:
        return os.stat(base, dir_fd=parent, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return 0


def _introduction(source: int) -> tuple[bytes, bytes]:
    """(kind, name) of what is coming."""
    start_ = _exactly(source, 3)
    length = int.from_bytes(start_[1:], "big")
    name = _exactly(source, length)
    if not 0 < length <= _MAX_NAME or b"/" in name or name == b"..":
        raise StorageError("the source has an impossible name")
    return start_[:1], name


def _exactly(source: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(source, size - len(data))
        if not piece:
            raise StorageError(_NOTHING_TO_SAY)
        data += piece
    return data

"""The compiled code of rpod's modules in one file of the user's cache.

Python opens, checks and reads two files for each of the 75 modules of a ``run``, which takes 4 ms
of its 40. Here an index says where each module's code lies in one file. By the rule of pyc files
(PEP 3147) code is good while its source has the size and the time that it had; what is missing or
stale is imported by Python itself, and stands in the file when the command has ended.
"""

from __future__ import annotations

import _frozen_importlib as bootstrap
import _frozen_importlib_external as bootstrap_external
import _imp
import marshal
import os
import stat
import sys

from rootless.kernel import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType

    Entry = tuple[int, int, int, int, bool]  # mtime of the source in ns, its size, offset and length here, a package?
    Part = tuple[str, int, int, bool, bytes]  # name, mtime in ns and size of the source, a package?, marshalled code

# The index comes after its length; a file that begins otherwise was written by another Python or rpod.
_MAGIC = b"rpod-code-1 " + bootstrap_external.MAGIC_NUMBER
_HEADER_BYTES = len(_MAGIC) + 8


class CodeCache:
    """A finder and loader of the modules of one package; ``install`` puts it in front of Python's own."""

    def __init__(self, package: ModuleType, directory: str) -> None:
        self._name = package.__name__
        self._base = os.path.dirname(os.path.dirname(package.__file__ or ""))
        self._directory = directory
        # Each installation has a file of its own, and so has each level of optimization.
        place = _imp.source_hash(sys.flags.optimize, os.fsencode(self._base)).hex()
        self._path = f"{directory}/code-{sys.implementation.cache_tag}-{place}"
        self._fd = -1
        self._start = 0  # where the first code lies
        self._index: dict[str, Entry] = {}
        self._missed: list[str] = []

    def install(self) -> None:
        """Serve imports from now on. A cache that cannot be read serves nothing."""
        try:
            self._open()
        except (OSError, ValueError, EOFError, TypeError):
            self._index = {}
        sys.meta_path.insert(0, self)

    def _open(self) -> None:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        info = os.fstat(self._fd)
        if info.st_uid != os.geteuid() or info.st_mode & 0o022 or not stat.S_ISREG(info.st_mode):
            raise PermissionError(self._path)
        header = os.pread(self._fd, _HEADER_BYTES, 0)
        if header.startswith(_MAGIC):
            length = int.from_bytes(header[len(_MAGIC) :], "little")
            self._index = marshal.loads(os.pread(self._fd, length, _HEADER_BYTES))  # noqa: S302 - a file of ours
            self._start = _HEADER_BYTES + length

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of a module whose code is here and good (importlib.abc.MetaPathFinder)."""
        entry = self._index.get(name)
        if entry is None:
            if name.startswith(self._name):
                self._missed.append(name)
            return None
        modified_ns, size, offset, length, is_package = entry
        stem = f"{self._base}/{name.replace('.', '/')}"
        source = f"{stem}/__init__.py" if is_package else f"{stem}.py"
        try:
            info = os.stat(source)
            if (info.st_mtime_ns, info.st_size) != (modified_ns, size):
                raise ValueError
            code = marshal.loads(os.pread(self._fd, length, self._start + offset))  # noqa: S302 - the same
        except (OSError, ValueError, EOFError, TypeError):
            self._missed.append(name)
            return None
        spec = bootstrap.ModuleSpec(name, self, origin=source, loader_state=code, is_package=is_package)  # type: ignore[arg-type]
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [stem]
        return spec

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Python's usual module."""
        return None

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code."""
        assert module.__spec__ is not None
        exec(module.__spec__.loader_state, module.__dict__)  # noqa: S102 - it is what an import is

    @property
    def incomplete(self) -> bool:
        """Whether this process had to import something by itself."""
        return any(name in sys.modules for name in self._missed)

    def save(self) -> None:
        """Add what this process had to import by itself. A cache that cannot be written stays as it is.

        One that was there at the start and has gone with its directory was removed on purpose (``system reset``).
        """
        fresh = [name for name in self._missed if name in sys.modules]
        if not fresh or sys.dont_write_bytecode or (self._fd >= 0 and not os.path.exists(self._directory)):
            return
        try:
            parts = [self._part(name) for name in self._index if name not in fresh]
            parts += [_compiled(sys.modules[name]) for name in fresh]
            files.make_private(self._directory)
            # Synced, unlike pyc files: half a file after a power cut could crash the interpreter.
            files.write_atomic(self._path, _layout(parts))
        except (OSError, ImportError, ValueError):
            pass

    def _part(self, name: str) -> Part:
        modified_ns, size, offset, length, is_package = self._index[name]
        return name, modified_ns, size, is_package, os.pread(self._fd, length, self._start + offset)


def _compiled(module: ModuleType) -> Part:
    """What Python itself took for ``module``, from its pyc file."""
    spec = module.__spec__
    assert spec is not None
    assert spec.origin is not None
    info = os.stat(spec.origin)  # before the code: a source that changes in between makes it stale, not wrong
    code: CodeType = spec.loader.get_code(spec.name)  # type: ignore[union-attr]
    return spec.name, info.st_mtime_ns, info.st_size, spec.submodule_search_locations is not None, marshal.dumps(code)


def _layout(parts: list[Part]) -> bytes:
    """The bytes of a file: header, index, code after code."""
    entries: dict[str, Entry] = {}
    offset = 0
    for name, modified_ns, size, is_package, code in parts:
        entries[name] = (modified_ns, size, offset, len(code), is_package)
        offset += len(code)
    index = marshal.dumps(entries)
    return b"".join((_MAGIC, len(index).to_bytes(8, "little"), index, *(part[4] for part in parts)))

"""The C library, called through ``_ctypes`` alone.

``import ctypes`` adds 2.5 ms of Python on top of the C module: types that nobody here needs. A
function takes bytes and None as pointers, ``word(n)`` as 64 bits, plain integers as C's int.
"""

from __future__ import annotations

import _ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class _Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class _Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class word(_ctypes._SimpleCData):  # type: ignore[type-arg]
    """An unsigned 64-bit argument."""

    _type_ = "L"


class Pair(_ctypes.Array):  # type: ignore[type-arg]
    """Room for a C structure of two 64-bit members, which a call fills."""

    _type_ = word
    _length_ = 2


class _Pointer(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"


# With FUNCFLAG_PYTHONAPI the interpreter lock is kept: a raw clone must not come back without it.
_FLAGS = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI | _ctypes.FUNCFLAG_USE_ERRNO


class _IntFunction(_ctypes.CFuncPtr):
    _flags_ = _FLAGS
    _restype_ = _Int


class _LongFunction(_ctypes.CFuncPtr):
    _flags_ = _FLAGS
    _restype_ = _Long


_handle = _ctypes.dlopen(None, 0)  # type: ignore[arg-type]


def function(name: str) -> Callable[..., int]:
    """A function of the C library or of the interpreter by its name; its result is an int."""
    return _IntFunction(_ctypes.dlsym(_handle, name))


def system_call() -> Callable[..., int]:
    """syscall(2), the one function here whose result is a long."""
    return _LongFunction(_ctypes.dlsym(_handle, "syscall"))


def check(result: int, name: str | bytes | None = None) -> int:
    """``result`` of a call that says -1 and errno on failure: then OSError with ``name``."""
    if result < 0:
        raise error(name)
    return result


def error(name: str | bytes | None = None) -> OSError:
    """The OSError of the call that just failed."""
    number = _ctypes.get_errno()
    return OSError(number, os.strerror(number), name)


def words(*values: int) -> bytes:
    """A C structure of unsigned 64-bit members."""
    return b"".join(value.to_bytes(8, "little") for value in values)


class Address:
    """Where ``data`` lies in memory, as the 8 bytes of a pointer; valid as long as this object lives."""

    __slots__ = ("_pointer", "packed")

    def __init__(self, data: bytes) -> None:
        self._pointer = _Pointer(data)
        self.packed = bytes(memoryview(self._pointer))

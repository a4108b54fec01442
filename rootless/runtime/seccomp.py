"""Seccomp profiles as users and the OCI spec write them, and their programs, compiled once.

``program_for`` is what the launch uses: the BPF program of an OCI ``linux.seccomp`` object,
kept in the cache with its length and checksum. ``load_profile`` reads a user's file, in the
OCI form or in Docker's, whose rules depend on capabilities, architecture and kernel.
"""

from __future__ import annotations

import os

import rootless
from rootless import log, paths
from rootless.errors import UnsupportedError, UsageError, os_reason
from rootless.kernel import digest, fastjson, files, syscalls
from rootless.kernel.numbers import decimal
from rootless.runtime.seccomp_profile import ARCHITECTURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT = b"rpod-bpf-1"  # part of the cache key: changes with the compiler or the tables
_HEADER_BYTES = 8 + 32
_LARGEST_PROGRAM_BYTES = 8 * 4096


def compile_profile(profile: Mapping[str, object], machine: str) -> bytes:
    """The BPF program of ``profile`` for a kernel of ``machine``; see ``seccomp_compile``."""
    from rootless.runtime import seccomp_compile

    return seccomp_compile.compile_profile(profile, machine)


def program_for(profile: Mapping[str, object], machine: str = "") -> bytes:
    """``compile_profile`` for this machine, from the cache when the profile was compiled before.

    A damaged or unreadable cache file is compiled anew; a cache that cannot be written costs
    time, nothing else. Raises UsageError, UnsupportedError.
    """
    machine = machine or syscalls.MACHINE
    words = fastjson.dumps(profile).encode()
    name = digest.sha256_hex(b"\0".join((_FORMAT, rootless.__version__.encode(), words)))
    directory = f"{paths.cache()}/seccomp"
    path = f"{directory}/{name}-{machine}"
    try:
        program = _unwrap(files.read_file(path, _HEADER_BYTES + _LARGEST_PROGRAM_BYTES, own=True))
    except OSError:
        program = b""
    if program:
        return program
    try:
        program = compile_profile(profile, machine)
    except (UsageError, UnsupportedError) as error:
        raise type(error)(f"config.json: linux.seccomp: {error.message}", error.hint) from error
    try:
        files.make_private(directory)
        files.write_atomic(path, _wrap(program), sync=False)
    except OSError as error:
        log.debug(f"the seccomp cache cannot be written: {os_reason(error)}")
    return program


def _wrap(program: bytes) -> bytes:
    """Length and checksum before the program: without fsync a power cut may leave half a file."""
    return len(program).to_bytes(8, "little") + digest.sha256_bytes(program) + program


def _unwrap(data: bytes) -> bytes:
    """The program, or b"" when the file is not what ``_wrap`` wrote."""
    program = data[_HEADER_BYTES:]
    return program if data == _wrap(program) else b""


# ---- a user's file ----

_GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64", "riscv64": "riscv64"}  # as Docker's "arches" say it
_TOP_KEYS = ("defaultAction", "defaultErrnoRet", "defaultErrno", "architectures", "archMap", "flags", "syscalls")
_ENTRY_KEYS = ("names", "name", "action", "errnoRet", "errno", "args", "comment", "includes", "excludes")
_FILTER_KEYS = ("arches", "caps", "minKernel")


def load_profile(path: str, capabilities: frozenset[str]) -> dict[str, object]:
    """The OCI ``linux.seccomp`` object of the profile in the file ``path``.

    ``capabilities`` ("CAP_…") and this machine decide which of a Docker profile's conditional
    rules apply. Raises UsageError naming the file and what is wrong with it.
    """
    try:
        value = fastjson.loads(files.read_file(path, 4 << 20))
    except OSError as error:
        raise UsageError(f"the seccomp profile {path} cannot be read: {os_reason(error)}") from error
    except fastjson.JSONError as error:
        raise UsageError(f"the seccomp profile {path} is not JSON: {error}") from error
    try:
        return _convert(_object(value, "it", _TOP_KEYS), capabilities)
    except (UsageError, UnsupportedError) as error:
        raise type(error)(f"the seccomp profile {path}: {error.message}", error.hint) from error


def _object(value: object, what: str, keys: tuple[str, ...]) -> dict[str, object]:
    """``value`` as an object that has no key but ``keys``: a misspelt one would widen the profile."""
    if not isinstance(value, dict):
        raise UsageError(f"{what} must be an object")
    for key in value:
        if key not in keys:
            raise UsageError(f"{what} has an unknown key {key!r}", f"known are {', '.join(keys)}")
    return value


def _list(value: object, what: str) -> list[object]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise UsageError(f"{what} must be a list")
    return value


def _convert(profile: dict[str, object], capabilities: frozenset[str]) -> dict[str, object]:
    machine = syscalls.MACHINE
    converted: dict[str, object] = {"defaultAction": profile.get("defaultAction")}
    errno = _errno(profile.get("defaultErrnoRet"), profile.get("defaultErrno"))
    if errno is not None:
        converted["defaultErrnoRet"] = errno
    converted["architectures"] = _architectures(profile, machine)
    if profile.get("flags"):
        converted["flags"] = profile["flags"]
    rules = []
    for item in _list(profile.get("syscalls"), "syscalls"):
        entry = _object(item, "an element of syscalls", _ENTRY_KEYS)
        includes = _object(entry.get("includes") or {}, "includes", _FILTER_KEYS)
        excludes = _object(entry.get("excludes") or {}, "excludes", _FILTER_KEYS)
        if _included(includes, capabilities, machine) and not _excluded(excludes, capabilities, machine):
            rules.append(_rule(entry))
    converted["syscalls"] = rules
    compile_profile(converted, machine)  # what is malformed is said before anything is started
    return converted


def _architectures(profile: dict[str, object], machine: str) -> list[object]:
    """``architectures``, or what ``archMap`` has for this machine."""
    architectures = _list(profile.get("architectures"), "architectures")
    for item in _list(profile.get("archMap"), "archMap"):
        entry = _object(item, "an element of archMap", ("architecture", "subArchitectures"))
        if entry.get("architecture") == ARCHITECTURES.get(machine, ("",))[0]:
            return [entry["architecture"], *_list(entry.get("subArchitectures"), "subArchitectures")]
    return architectures


def _errno(number: object, name: object) -> object:
    """The number of an errno given as a number, or by name as Podman's profiles also do."""
    if number is not None or not name:
        return number
    import errno

    found = getattr(errno, name, None) if isinstance(name, str) and name.startswith("E") else None
    if not isinstance(found, int):
        raise UsageError(f"unknown errno {name!r}")
    return found


def _rule(entry: dict[str, object]) -> dict[str, object]:
    """The OCI form of one of Docker's rules."""
    names = _list(entry.get("names"), "names")
    if entry.get("name"):
        if names:
            raise UsageError("a rule has both name and names")
        names = [entry["name"]]
    rule: dict[str, object] = {"names": names, "action": entry.get("action")}
    errno = _errno(entry.get("errnoRet"), entry.get("errno"))
    if errno is not None:
        rule["errnoRet"] = errno
    if entry.get("args"):
        rule["args"] = entry["args"]
    return rule


def _included(condition: dict[str, object], capabilities: frozenset[str], machine: str) -> bool:
    """Whether a rule's ``includes`` holds: this architecture, all capabilities, a new enough kernel."""
    arches = _list(condition.get("arches"), "arches")
    if arches and _GO_NAMES.get(machine) not in arches:
        return False
    if not all(name in capabilities for name in _list(condition.get("caps"), "caps")):
        return False
    return not condition.get("minKernel") or _kernel() >= _version(condition["minKernel"])


def _excluded(condition: dict[str, object], capabilities: frozenset[str], machine: str) -> bool:
    """Whether a rule's ``excludes`` holds: this architecture, any of the capabilities, a new enough kernel."""
    if _GO_NAMES.get(machine) in _list(condition.get("arches"), "arches"):
        return True
    if any(name in capabilities for name in _list(condition.get("caps"), "caps")):
        return True
    return bool(condition.get("minKernel")) and _kernel() >= _version(condition["minKernel"])


def _version(text: object) -> tuple[int, int]:
    major, minor = (decimal(part, 1 << 16) for part in str(text).partition(".")[::2])
    if major is None or minor is None:
        raise UsageError(f"minKernel must be like 4.8, not {text!r}")
    return major, minor


def _kernel() -> tuple[int, int]:
    major, minor = os.uname().release.split(".")[:2]
    return int(major), int("".join(c for c in minor if c.isdecimal()) or "0")

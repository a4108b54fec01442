"""The compiler against the profile's meaning, against libseccomp, and in the kernel."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rootless.errors import UnsupportedError, UsageError
from rootless.kernel import syscalls
from rootless.runtime import seccomp, seccomp_profile
from rootless.runtime.syscall_table import TABLES

ALLOW, KILL = 0x7FFF0000, 0
MASK32, MASK64 = 0xFFFFFFFF, (1 << 64) - 1
TOKENS = {
    "x86_64": 0xC000003E,
    "x32": 0xC000003E,
    "x86": 0x40000003,
    "aarch64": 0xC00000B7,
    "arm": 0x40000028,
    "riscv64": 0xC00000F3,
}
MACHINES = {"x86_64": ("x86_64", "x86", "x32"), "aarch64": ("aarch64", "arm"), "riscv64": ("riscv64",)}
SAMPLES = (0, 1, 2, 3, 12, 16, 38, 40, 45, 0x20008, 0x10000000, MASK32, 1 << 32, (1 << 32) + 38, 1 << 63, MASK64)


def numbers(table: str) -> dict[str, int]:
    found, number = {}, 0
    for word in TABLES[table].split():
        if word.isdecimal():
            number = int(word)
        elif word != "+":
            found[word] = number
            number += 1
    return found


def run(program: bytes, token: int, number: int, args: tuple[int, ...]) -> int:
    """Interpret a filter as the kernel does (Documentation/networking/filter.rst)."""
    data = number.to_bytes(4, "little") + token.to_bytes(4, "little") + bytes(8)
    data += b"".join(arg.to_bytes(8, "little") for arg in args)
    at, accumulator = 0, 0
    while True:
        code, true, false = int.from_bytes(program[at : at + 2], "little"), program[at + 2], program[at + 3]
        value = int.from_bytes(program[at + 4 : at + 8], "little")
        at += 8
        if code == 0x20:
            accumulator = int.from_bytes(data[value : value + 4], "little")
        elif code == 0x54:
            accumulator &= value
        elif code == 0x06:
            return value
        elif code == 0x05:
            at += 8 * value
        else:
            holds = {
                0x15: accumulator == value,
                0x25: accumulator > value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }
            at += 8 * (true if holds[code] else false)


def holds(argument: dict[str, int | str], args: tuple[int, ...], *, wide: bool) -> bool:
    mask = MASK64 if wide else MASK32
    value, two = int(argument["value"]), int(argument.get("valueTwo") or 0)
    arg = args[int(argument["index"])] & mask
    if argument["op"] == "SCMP_CMP_MASKED_EQ":
        return (arg & value & mask) == (two & mask)
    value &= mask
    return {
        "SCMP_CMP_NE": arg != value,
        "SCMP_CMP_LT": arg < value,
        "SCMP_CMP_LE": arg <= value,
        "SCMP_CMP_EQ": arg == value,
        "SCMP_CMP_GE": arg >= value,
        "SCMP_CMP_GT": arg > value,
    }[str(argument["op"])]


def meaning(profile: dict, name: str, args: tuple[int, ...], *, wide: bool) -> int:
    """What the profile says in words, straight from its rules."""
    rules = [rule for rule in profile["syscalls"] if name in rule["names"]]
    for rule in sorted(rules, key=lambda rule: bool(rule.get("args"))):
        if all(holds(argument, args, wide=wide) for argument in rule.get("args") or ()):
            return ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else 0x50000 | rule.get("errnoRet", 1)
    return 0x50000 | profile["defaultErrnoRet"]


def argument_samples(profile: dict, name: str) -> list[tuple[int, ...]]:
    indexes = {a["index"] for rule in profile["syscalls"] if name in rule["names"] for a in rule.get("args") or ()}
    samples = [(0,) * 6]
    for index in indexes:
        samples += [(*(0,) * index, value, *(0,) * (5 - index)) for value in SAMPLES]
    return samples


CAPABILITY_SETS = (frozenset(), frozenset(("CAP_SYS_CHROOT", "CAP_SYS_PTRACE")), frozenset(("CAP_SYS_ADMIN",)))


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("capabilities", CAPABILITY_SETS)
def test_every_call_of_the_default_profile(machine, capabilities):
    profile = seccomp_profile.default(capabilities, machine)
    program = seccomp.compile_profile(profile, machine)
    assert len(program) // 8 <= 4096
    for table in MACHINES[machine]:
        for name, number in numbers(table).items():
            for args in argument_samples(profile, name):
                wide = table not in ("x86", "arm")
                expected = meaning(profile, name, args, wide=wide)
                assert run(program, TOKENS[table], number, args) == expected, (table, name, args)


def test_the_default_profile_with_every_capability():
    """Nothing is left then that is refused with EPERM: an entry without names would be no profile at all."""
    everything = frozenset(name for name, _ in seccomp_profile._BY_CAPABILITY)
    assert seccomp.compile_profile(seccomp_profile.default(everything, "x86_64"), "x86_64")


def test_numbers_between_and_beyond_the_calls():
    program = seccomp.compile_profile(seccomp_profile.default(frozenset(), "x86_64"), "x86_64")
    nothing = (0,) * 6
    for number in (337, 400, 5000, 0x3FFFFFFF, 0x40000000 + 5000, MASK32):
        assert run(program, TOKENS["x86_64"], number, nothing) == 0x50026
    assert run(program, 0x12345678, 0, nothing) == KILL
    alone = {"defaultAction": "SCMP_ACT_ALLOW"}
    program = seccomp.compile_profile(alone, "x86_64")
    assert run(program, TOKENS["x86_64"], 0, nothing) == ALLOW
    assert run(program, TOKENS["x86_64"], 0x40000000, nothing) == KILL  # x32 was not asked for
    assert run(program, TOKENS["x86_64"], MASK32, nothing) == ALLOW  # a tracer skips a call
    assert run(program, TOKENS["x86"], 0, nothing) == KILL


OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")


def one_rule(*args: dict[str, object], action: str = "SCMP_ACT_ALLOW") -> dict:
    rule = {"names": ["read", "no_such_call"], "action": action, "args": list(args)}
    return {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38, "syscalls": [rule]}


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("value", [0, 1, 38, MASK32, 1 << 32, (1 << 32) + 38, 1 << 63, MASK64])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_operators(operator, value, machine):
    profile = one_rule({"index": 2, "op": f"SCMP_CMP_{operator}", "value": value, "valueTwo": value & 0x1_0000_0026})
    profile["architectures"] = list(seccomp_profile.ARCHITECTURES[machine])
    program = seccomp.compile_profile(profile, machine)
    for table in MACHINES[machine]:
        for sample in SAMPLES:
            args = (7, 7, sample, 7, 7, 7)
            wide = table not in ("x86", "arm")
            got = run(program, TOKENS[table], numbers(table)["read"], args)
            assert got == meaning(profile, "read", args, wide=wide), (table, hex(sample))


def test_several_arguments_and_the_same_argument_twice():
    equal = [{"index": index, "op": "SCMP_CMP_EQ", "value": 5} for index in (0, 1)]
    both = seccomp.compile_profile(one_rule(*equal), "x86_64")
    assert run(both, TOKENS["x86_64"], 0, (5, 5, 0, 0, 0, 0)) == ALLOW
    assert run(both, TOKENS["x86_64"], 0, (5, 6, 0, 0, 0, 0)) == 0x50026
    either = seccomp.compile_profile(one_rule(equal[0], equal[0] | {"value": 9}), "x86_64")
    assert [run(either, TOKENS["x86_64"], 0, (v, 0, 0, 0, 0, 0)) == ALLOW for v in (5, 9, 7)] == [True, True, False]


def test_far_jumps():
    """Rules enough that conditional jumps must go through trampolines."""
    rules = [
        {"names": [name], "action": "SCMP_ACT_ERRNO", "errnoRet": number + 1, "args": [
            {"index": 0, "op": "SCMP_CMP_EQ", "value": number << 33}]}
        for name, number in numbers("x86_64").items() if number < 330
    ]  # fmt: skip
    profile = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    program = seccomp.compile_profile(profile, "x86_64")
    for name, number in numbers("x86_64").items():
        got = run(program, TOKENS["x86_64"], number, (number << 33, 0, 0, 0, 0, 0))
        assert got == (0x50000 | number + 1 if number < 330 else ALLOW), name
        assert run(program, TOKENS["x86_64"], number, (1, 0, 0, 0, 0, 0)) == ALLOW


def test_too_long():
    args = [{"index": 0, "op": "SCMP_CMP_EQ", "value": value << 32 | value} for value in range(2000)]
    with pytest.raises(UsageError, match="instructions"):
        seccomp.compile_profile(one_rule(*args), "x86_64")


@pytest.mark.parametrize(
    ("action", "value"),
    [
        ("SCMP_ACT_KILL", 0),
        ("SCMP_ACT_KILL_THREAD", 0),
        ("SCMP_ACT_KILL_PROCESS", 0x80000000),
        ("SCMP_ACT_TRAP", 0x30000),
        ("SCMP_ACT_ERRNO", 0x50001),
        ("SCMP_ACT_TRACE", 0x7FF00001),
        ("SCMP_ACT_LOG", 0x7FFC0000),
        ("SCMP_ACT_ALLOW", ALLOW),
    ],
)
def test_actions(action, value):
    program = seccomp.compile_profile(one_rule(action=action), "x86_64")
    assert run(program, TOKENS["x86_64"], 0, (0,) * 6) == value


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"defaultAction": "SCMP_ACT_MAYBE"}, UsageError, "unknown action 'SCMP_ACT_MAYBE'"),
        ({"defaultAction": "SCMP_ACT_NOTIFY"}, UnsupportedError, "there is no listenerPath"),
        ({"defaultAction": None}, UsageError, "unknown action None"),
        ({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000}, UsageError, "errnoRet must be a number"),
        ({"defaultAction": "SCMP_ACT_TRACE", "defaultErrnoRet": -1}, UsageError, "errnoRet must be a number"),
        ({"flags": ["SECCOMP_FILTER_FLAG_LOUD"]}, UsageError, "unknown flag"),
        ({"syscals": []}, UsageError, "there is no key 'syscals'"),
        ({"syscalls": [{"names": [], "action": "SCMP_ACT_ALLOW"}]}, UsageError, "names of syscalls must be"),
        ({"syscalls": [{"names": ["read"], "action": "SCMP_ACT_ALLOW", "arg": []}]}, UsageError, "has no key 'arg'"),
        (
            {"syscalls": one_rule({"index": 6, "op": "SCMP_CMP_EQ", "value": 1})["syscalls"]},
            UsageError,
            "index of an argument must be",
        ),
        (
            {"syscalls": one_rule({"index": 0, "op": "SCMP_CMP_IN", "value": 1})["syscalls"]},
            UsageError,
            "unknown operator 'SCMP_CMP_IN'",
        ),
        (
            {"syscalls": one_rule({"index": 0, "op": "SCMP_CMP_EQ", "value": 1 << 64})["syscalls"]},
            UsageError,
            "value of an argument must be",
        ),
        ({"architectures": ["x86"]}, UsageError, "unknown architecture 'x86'"),
    ],
)
def test_refused(change, error, words):
    with pytest.raises(error, match=words):
        seccomp.compile_profile({"defaultAction": "SCMP_ACT_ALLOW"} | change, "x86_64")


class LibseccompArgument(ctypes.Structure):
    _fields_ = (
        ("index", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


def libseccomp_program(profile: dict, table: str, path: Path) -> bytes:
    """Libseccomp's filter of one architecture."""
    lib = ctypes.CDLL("libseccomp.so.2")
    lib.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(lib.seccomp_init(ctypes.c_uint32(0x50000 | profile["defaultErrnoRet"])))
    native = lib.seccomp_arch_native()
    lib.seccomp_arch_remove(context, ctypes.c_uint32(native))
    assert lib.seccomp_arch_add(context, ctypes.c_uint32(TOKENS[table])) == 0
    for rule in profile["syscalls"]:
        action = ALLOW if rule["action"] == "SCMP_ACT_ALLOW" else 0x50000 | rule["errnoRet"]
        for name in rule["names"]:
            number = lib.seccomp_syscall_resolve_name(name.encode())  # of this machine, even for another's filter
            if number == -1:
                continue
            args = [
                LibseccompArgument(a["index"], 7, a["value"], a["valueTwo"]) for a in rule.get("args") or ()
            ]  # 7: SCMP_CMP_MASKED_EQ, the only one of the default profile
            array = (LibseccompArgument * max(1, len(args)))(*args)
            lib.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, ctypes.c_uint(len(args)), array)
    with path.open("wb") as file:
        assert lib.seccomp_export_bpf(context, file.fileno()) == 0
    lib.seccomp_release(context)
    return path.read_bytes()


@pytest.mark.parametrize("table", ["x86_64", "x86", "aarch64", "arm", "riscv64"])
def test_against_libseccomp(table, tmp_path):
    if not Path("/usr/lib/x86_64-linux-gnu/libseccomp.so.2").exists():
        pytest.skip("libseccomp is not installed")
    machine = next(machine for machine, tables in MACHINES.items() if table in tables)
    profile = seccomp_profile.default(frozenset(("CAP_SYS_CHROOT",)), machine)
    ours = seccomp.compile_profile(profile, machine)
    theirs = libseccomp_program(profile, table, tmp_path / "bpf")
    lib = ctypes.CDLL("libseccomp.so.2")
    for name, number in numbers(table).items():
        if lib.seccomp_syscall_resolve_name_arch(ctypes.c_uint32(TOKENS[table]), name.encode()) < 0:
            continue  # newer than this libseccomp
        for args in argument_samples(profile, name):
            if table in ("x86", "arm"):
                args = tuple(arg & MASK32 for arg in args)  # noqa: PLW2901
            assert run(ours, TOKENS[table], number, args) == run(theirs, TOKENS[table], number, args), (name, args)


INSTALL = """
import ctypes, os, sys
from rootless.runtime import security, seccomp, seccomp_profile
libc = ctypes.CDLL(None, use_errno=True)
security.no_new_privileges()
security.install(seccomp.program_for(seccomp_profile.default(frozenset())))
def call(number, *args):
    result = libc.syscall(number, *args)
    return ctypes.get_errno() if result < 0 else 0
assert os.getpid() > 0
assert call(272, 0x10000000) == 1, "unshare"
assert call(169, 0, 0, 0, 0) == 1, "reboot"
assert call(41, 38, 5, 0) == 38, "AF_ALG"
assert call(41, ctypes.c_ulong((1 << 32) | 38), 5, 0) == 38, "AF_ALG above the upper half"
assert call(41, ctypes.c_ulong((1 << 32) | 1), 1, 0) == 0, "AF_UNIX: the kernel reads 32 bits"
assert call(41, 40, 1, 0) == 38, "AF_VSOCK"
assert call(135, ctypes.c_ulong(0xffffffff)) == 0, "personality, the question"
assert call(135, 0x40000) == 38, "ADDR_NO_RANDOMIZE"
assert call(435, 0, 0) == 38, "clone3"
assert call(250, 0, 0, 0) == 38, "keyctl"
os.waitpid(os.fork(), 0) if os.fork() else os._exit(0)
"""


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the numbers are those of x86_64")
def test_in_the_kernel():
    done = subprocess.run([sys.executable, "-c", INSTALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    profile = seccomp_profile.default(frozenset(), "x86_64")
    first = seccomp.program_for(profile, "x86_64")
    (path,) = (tmp_path / "rpod/seccomp").iterdir()
    written = path.read_bytes()
    for damaged in (b"", written[:-8], written[:100] + b"\0" + written[101:], bytes(len(written))):
        path.write_bytes(damaged)
        assert seccomp.program_for(profile, "x86_64") == first
        assert path.read_bytes() == written
    assert seccomp.program_for(profile, "aarch64") != first
    # A cache that cannot be written costs time only.
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc")
    assert seccomp.program_for(profile, "x86_64") == first


def test_dockers_form(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(
        """{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrno": "ENOSYS",
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
                    {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": []}],
        "syscalls": [
          {"name": "read", "action": "SCMP_ACT_ALLOW", "args": []},
          {"names": ["write"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_CHOWN"]}},
          {"names": ["close"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_CHOWN"]}},
          {"names": ["open"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
          {"names": ["stat"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "99.0"}},
          {"names": ["brk"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["s390x"]}},
          {"names": ["acct"], "action": "SCMP_ACT_ERRNO", "errno": "EPERM", "comment": "why"}]}"""
    )
    profile = seccomp.load_profile(str(path), frozenset(("CAP_CHOWN",)))
    assert profile["defaultErrnoRet"] == 38
    assert [(r["names"], r.get("errnoRet")) for r in profile["syscalls"]] == [
        (["read"], None), (["write"], None), (["open"], None), (["acct"], 1)]  # fmt: skip
    without = seccomp.load_profile(str(path), frozenset())
    assert [r["names"][0] for r in without["syscalls"]] == ["read", "close", "open", "acct"]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"defaultAction": "X"}', '{"defaultActoin": "SCMP_ACT_ALLOW"}'])
def test_bad_files(text, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"^the seccomp profile .*p\.json(: | is not JSON)"):
        seccomp.load_profile(str(path), frozenset())
    with pytest.raises(UsageError, match="cannot be read"):
        seccomp.load_profile(str(tmp_path / "none"), frozenset())


def test_debians_profile_compiles():
    path = "/usr/share/containers/seccomp.json"
    if not os.path.exists(path):
        pytest.skip("containers-common is not installed")
    profile = seccomp.load_profile(path, frozenset(("CAP_SYS_ADMIN",)))
    program = seccomp.compile_profile(profile, os.uname().machine)
    assert syscalls.SECCOMP_MODE_FILTER == 2
    assert len(program) < 4096 * 8


@pytest.mark.skipif(not os.path.exists("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), reason="no kernel headers")
@pytest.mark.parametrize(("table", "header"), [("x86_64", "64"), ("x86", "32"), ("x32", "x32")])
def test_numbers_against_the_kernels_headers(table, header):
    found = numbers(table)
    checked = 0
    for line in Path(f"/usr/include/x86_64-linux-gnu/asm/unistd_{header}.h").read_text().splitlines():
        words = line.replace("(__X32_SYSCALL_BIT + ", "").replace(")", "").split()
        if words[:1] == ["#define"] and len(words) == 3 and words[1].startswith("__NR_") and words[2].isdecimal():
            number = int(words[2]) + (0x40000000 if table == "x32" else 0)
            assert found[words[1].removeprefix("__NR_")] == number
            checked += 1
    assert checked > 300

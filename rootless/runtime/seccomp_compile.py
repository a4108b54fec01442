"""An OCI runtime-spec ``linux.seccomp`` object (config-linux.md, "Seccomp") becomes a BPF program.

The program looks at the architecture, finds the number by binary search over the runs of
numbers with one answer, and compares arguments where rules ask for it. What libseccomp does,
and runtimes built on it, holds here:

* a name that an architecture does not have is skipped there;
* an architecture that the profile does not list kills the thread;
* a rule without arguments wins over rules with arguments for the same call; among those with
  arguments the first that fits decides;
* several conditions on different arguments must all hold; when one argument is named twice,
  each condition is a rule of its own (as runc and crun do it).

One thing is stricter: on x86, ``socket`` means the direct call and says nothing about
``socketcall``, whose arguments no filter can see.
"""

from __future__ import annotations

from rootless.errors import UnsupportedError, UsageError
from rootless.kernel.syscalls_rare import SECCOMP_FLAGS
from rootless.runtime.bpf import IF_AT_LEAST, IF_EQUAL, IF_GREATER, Assembler
from rootless.runtime.seccomp_profile import ARCHITECTURES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
_NUMBER_AT, _ARCH_AT, _ARGS_AT = 0, 4, 16
_X32_BIT = 0x40000000
_TOKEN_X86_64 = 0xC000003E  # shared by x32
_NO_CALL = 0xFFFFFFFF  # a tracer's way to skip a call

_KILL_THREAD = 0
ACTIONS = {  # linux/seccomp.h, SECCOMP_RET_*
    "SCMP_ACT_KILL": _KILL_THREAD,
    "SCMP_ACT_KILL_THREAD": _KILL_THREAD,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
}
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_EPERM = 1
_MAX_ERRNO = 4095
# Table name, AUDIT_ARCH_* token, whether arguments are 64 bits wide (x32 has the registers of x86_64).
ARCHES = {
    "SCMP_ARCH_X86_64": ("x86_64", _TOKEN_X86_64, True),
    "SCMP_ARCH_X32": ("x32", _TOKEN_X86_64, True),
    "SCMP_ARCH_X86": ("x86", 0x40000003, False),
    "SCMP_ARCH_AARCH64": ("aarch64", 0xC00000B7, True),
    "SCMP_ARCH_ARM": ("arm", 0x40000028, False),
    "SCMP_ARCH_RISCV64": ("riscv64", 0xC00000F3, True),
}
OPERATORS = ("NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ")
_PROFILE_KEYS = frozenset(
    "defaultAction defaultErrnoRet architectures flags listenerPath listenerMetadata syscalls".split()
)
_U32 = 0xFFFFFFFF
_U64 = (1 << 64) - 1
HINT = "see the OCI runtime-spec, config-linux.md, for the form of a profile"


class Condition:
    """One comparison of an argument: ``operator`` without its SCMP_CMP_, values of 64 bits."""

    __slots__ = ("index", "operator", "value", "value_two")

    def __init__(self, index: int, operator: str, value: int, value_two: int) -> None:
        self.index = index
        self.operator = operator
        self.value = value
        self.value_two = value_two

    @property
    def key(self) -> tuple[int, str, int, int]:
        """What makes two conditions equal."""
        return self.index, self.operator, self.value, self.value_two


class Rule:
    """When all ``conditions`` hold, the program returns ``action`` (SECCOMP_RET_* with its data)."""

    __slots__ = ("action", "conditions")

    def __init__(self, action: int, conditions: list[Condition]) -> None:
        self.action = action
        self.conditions = conditions

    @property
    def key(self) -> tuple[int, tuple[tuple[int, str, int, int], ...]]:
        """What makes two rules equal."""
        return self.action, tuple(condition.key for condition in self.conditions)


def _integer(value: object, what: str, largest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= largest:
        raise UsageError(f"{what} must be a number from 0 to {largest}, not {value!r}", HINT)
    return value


def _action(name: object, errno: object) -> int:
    """SECCOMP_RET_* with its data for an action's name and errnoRet (None: EPERM)."""
    if not isinstance(name, str) or name not in ACTIONS:
        raise UsageError(f"unknown action {name!r}", f"known are {', '.join(ACTIONS)}")
    if name not in _WITH_ERRNO:
        return ACTIONS[name]
    return ACTIONS[name] | (_EPERM if errno is None else _integer(errno, "errnoRet", _MAX_ERRNO))


def _condition(argument: object) -> Condition:
    if not isinstance(argument, dict):
        raise UsageError(f"an argument must be an object, not {argument!r}", HINT)
    if unknown := [key for key in argument if key not in ("index", "value", "valueTwo", "op")]:
        raise UsageError(f"an argument has no key {unknown[0]!r}", HINT)
    name = argument.get("op")
    operator = name.removeprefix("SCMP_CMP_") if isinstance(name, str) else ""
    if operator not in OPERATORS:
        raise UsageError(f"unknown operator {name!r}", f"known are SCMP_CMP_ with {', '.join(OPERATORS)}")
    return Condition(
        _integer(argument.get("index"), "index of an argument", 5),
        operator,
        _integer(argument.get("value"), "value of an argument", _U64),
        _integer(argument.get("valueTwo") or 0, "valueTwo of an argument", _U64),
    )


def _entry_rules(entry: object) -> tuple[list[str], list[Rule]]:
    """The names of one element of ``syscalls`` and the rules that it gives each of them."""
    if not isinstance(entry, dict):
        raise UsageError(f"an element of syscalls must be an object, not {entry!r}", HINT)
    if unknown := [key for key in entry if key not in ("names", "action", "errnoRet", "args")]:
        raise UsageError(f"an element of syscalls has no key {unknown[0]!r}", HINT)
    names = entry.get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError("names of syscalls must be a list of strings", HINT)
    action = _action(entry.get("action"), entry.get("errnoRet"))
    arguments = entry.get("args") or []
    if not isinstance(arguments, list):
        raise UsageError("args of syscalls must be a list", HINT)
    conditions = [_condition(argument) for argument in arguments]
    if len({condition.index for condition in conditions}) < len(conditions):
        return names, [Rule(action, [condition]) for condition in conditions]
    return names, [Rule(action, conditions)]


def _rules_by_name(profile: Mapping[str, object]) -> dict[str, list[Rule]]:
    """The rules of every system call that the profile names, in the order in which they are tried."""
    entries = profile.get("syscalls") or []
    if not isinstance(entries, list):
        raise UsageError("syscalls must be a list", HINT)
    found: dict[str, list[Rule]] = {}
    for entry in entries:
        names, rules = _entry_rules(entry)
        for name in names:
            found.setdefault(name, []).extend(rules)
    for name, rules in found.items():
        always = [rule for rule in rules if not rule.conditions]
        if always:
            found[name] = always[:1]
    return found


def _numbers(table: str) -> dict[str, int]:
    from rootless.runtime.syscall_table import TABLES

    numbers: dict[str, int] = {}
    number = 0
    for line in TABLES[table].split("\n"):
        for word in line.split():
            if word.isdecimal():
                number = int(word)
            elif word != "+":
                numbers[word] = number
                number += 1
    return numbers


def _compare(assembler: Assembler, condition: Condition, wide: bool, true: int, false: int) -> int:
    """Code that goes to ``true`` when the argument satisfies ``condition``, else to ``false``."""
    low_at = _ARGS_AT + 8 * condition.index
    low, high = condition.value & _U32, condition.value >> 32
    if condition.operator == "MASKED_EQ":
        wanted_low, wanted_high = condition.value_two & _U32, condition.value_two >> 32
        label = assembler.masked(low_at, low, wanted_low, true, false)
        if wide and (high or wanted_high):
            label = assembler.masked(low_at + 4, high, wanted_high, label, false)
        return label
    operator = condition.operator
    if operator in ("NE", "LT", "LE"):  # the opposites of EQ, GE, GT
        operator = {"NE": "EQ", "LT": "GE", "LE": "GT"}[operator]
        true, false = false, true
    operation = {"EQ": IF_EQUAL, "GE": IF_AT_LEAST, "GT": IF_GREATER}[operator]
    label = assembler.load(low_at, assembler.branch(operation, low, true, false, low_at))
    if not wide:
        return label
    equal = assembler.branch(IF_EQUAL, high, label, false)
    if operator != "EQ":
        equal = assembler.branch(IF_GREATER, high, true, equal)
    return assembler.load(low_at + 4, equal)


def _answer(assembler: Assembler, rules: list[Rule], wide: bool, default: int) -> int:
    """Code that tries ``rules`` in order and returns ``default`` when none fits."""
    label = assembler.ret(default)
    only_default = True
    for rule in reversed(rules):
        if only_default and rule.action == default:
            continue  # it says what would happen anyway
        only_default = False
        true = assembler.ret(rule.action)
        for condition in reversed(rule.conditions):
            true = _compare(assembler, condition, wide, true, label)
        label = true
    return label


class _Runs:
    """Numbers of one token, cut where the answer changes: [(first number, rules, wide)]."""

    __slots__ = ("starts",)

    def __init__(self) -> None:
        self.starts: list[tuple[int, list[Rule], bool]] = []

    def add(self, start: int, rules: list[Rule], wide: bool) -> None:
        """From ``start`` on, ``rules`` answer; the same answer as before lengthens the run."""
        if self.starts:
            _, before, before_wide = self.starts[-1]
            same = [rule.key for rule in before] == [rule.key for rule in rules]
            if same and (wide == before_wide or not any(rule.conditions for rule in rules)):
                return
        self.starts.append((start, rules, wide))

    def fill(self, calls: list[tuple[int, list[Rule]]], first: int, wide: bool) -> None:
        """The sorted ``calls`` of one table, whose numbers begin at ``first``."""
        position = first
        self.add(first, [], wide)
        for number, rules in calls:
            if number > position:
                self.add(position, [], wide)
            self.add(number, rules, wide)
            position = number + 1
        self.add(position, [], wide)


def _runs_of(token: int, architectures: list[str], rules: dict[str, list[Rule]]) -> _Runs:
    """The runs of numbers of all ``architectures`` that share ``token``."""
    runs = _Runs()
    for name in architectures:
        table, own_token, wide = ARCHES[name]
        if own_token == token:
            numbers = _numbers(table)
            calls = sorted((numbers[call], call) for call in rules if call in numbers)
            first = _X32_BIT if table == "x32" else 0
            runs.fill([(number, rules[call]) for number, call in calls], first, wide)
    if token == _TOKEN_X86_64:
        if "SCMP_ARCH_X32" not in architectures:
            runs.add(_X32_BIT, [Rule(_KILL_THREAD, [])], True)
        runs.add(_NO_CALL, [], True)
    return runs


def _search(assembler: Assembler, runs: list[tuple[int, list[Rule], bool]], default: int) -> int:
    """A binary search tree over ``runs``: the accumulator holds the number."""
    if len(runs) == 1:
        _, rules, wide = runs[0]
        return _answer(assembler, rules, wide, default)
    middle = len(runs) // 2
    low = _search(assembler, runs[:middle], default)
    high = _search(assembler, runs[middle:], default)
    return assembler.branch(IF_AT_LEAST, runs[middle][0], high, low)


def _architectures(profile: Mapping[str, object], machine: str) -> list[str]:
    """The profile's architectures that a kernel of ``machine`` runs, its own always among them."""
    if machine not in ARCHITECTURES:
        raise UnsupportedError(
            f"rpod cannot compile a seccomp profile for {machine}", "use --security-opt seccomp=unconfined"
        )
    wanted = profile.get("architectures") or []
    if not isinstance(wanted, list):
        raise UsageError("architectures must be a list", HINT)
    for name in wanted:
        if not isinstance(name, str) or not name.startswith("SCMP_ARCH_"):
            raise UsageError(f"unknown architecture {name!r}", HINT)
    own, *others = ARCHITECTURES[machine]
    return [own, *(name for name in others if name in wanted)]


def _check_top(profile: Mapping[str, object]) -> None:
    if unknown := [key for key in profile if key not in _PROFILE_KEYS]:
        raise UsageError(f"there is no key {unknown[0]!r}", HINT)
    flags = profile.get("flags") or []
    if not isinstance(flags, list):
        raise UsageError("flags must be a list", HINT)
    for flag in flags:
        if flag not in SECCOMP_FLAGS:
            raise UsageError(f"unknown flag {flag!r}", f"known are {', '.join(SECCOMP_FLAGS)}")
    entries = profile.get("syscalls") or []
    actions = [profile.get("defaultAction")]
    actions += (
        [entry.get("action") for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    )
    if "SCMP_ACT_NOTIFY" in actions and not profile.get("listenerPath"):
        raise UnsupportedError("SCMP_ACT_NOTIFY needs an agent: there is no listenerPath")


def compile_profile(profile: Mapping[str, object], machine: str) -> bytes:
    """The BPF program (an array of 8-byte struct sock_filter) of an OCI ``linux.seccomp`` object.

    ``machine`` is what uname(2) calls the kernel's architecture. Raises UsageError for what is
    malformed, UnsupportedError for what is known and not possible; where it stands is the caller's to say.
    """
    _check_top(profile)
    default = _action(profile.get("defaultAction"), profile.get("defaultErrnoRet"))
    rules = _rules_by_name(profile)
    architectures = _architectures(profile, machine)
    assembler = Assembler()
    label = assembler.ret(_KILL_THREAD)
    for token in dict.fromkeys(ARCHES[name][1] for name in reversed(architectures)):
        runs = _runs_of(token, architectures, rules)
        tree = assembler.load(_NUMBER_AT, _search(assembler, runs.starts, default))
        label = assembler.branch(IF_EQUAL, token, tree, label)
    assembler.load(_ARCH_AT, label)
    return assembler.program()

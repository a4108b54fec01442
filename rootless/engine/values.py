"""Values as people type them: sizes, signals, numbers, KEY=VALUE lists."""

from __future__ import annotations

import _signal
import errno
import os

from rootless.errors import UsageError, os_reason
from rootless.kernel.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_DURATIONS_NS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
# What says who and where the caller is, and what systemd gave the caller and nobody else.
_OWN_VARIABLES = frozenset(
    "HOME PATH HOSTNAME NOTIFY_SOCKET WATCHDOG_USEC WATCHDOG_PID LISTEN_FDS LISTEN_PID LISTEN_FDNAMES".split()
)
_MAX_LINES_BYTES = 16 << 20
_HIGHEST_SIGNAL = 64
_UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def size(text: str, option: str) -> int:
    """``64m`` -> bytes. Units b k m g t, also as kb, mb, kib …, powers of 1024."""
    number = text.strip().lower()
    digits = number.rstrip("bikmgt")
    unit = number[len(digits) :].removesuffix("ib").removesuffix("b") or ""
    try:
        value = float(digits)
        if not 0 <= value <= 1 << 62:
            raise ValueError
        return int(value * _UNITS[unit])
    except (ValueError, KeyError):
        raise UsageError(f"{option}: {text!r} is not a size", "a number with b, k, m, g or t") from None


def integer(text: str, option: str, *, low: int, high: int = 1 << 62) -> int:
    """A decimal number between ``low`` and ``high``."""
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if not low <= value <= high:
        raise UsageError(f"{option}: {text!r} is not a number from {low} on")
    return value


def signal_number(text: str) -> int:
    """``TERM``, ``SIGTERM``, ``15``, ``RTMIN+3`` -> the number of a signal."""
    name = text.upper().removeprefix("SIG")
    number = 0
    if name.isdecimal():
        number = decimal(name, _HIGHEST_SIGNAL) or 0
    elif name.startswith(("RTMIN", "RTMAX")):
        base = int(_signal.SIGRTMIN if name.startswith("RTMIN") else _signal.SIGRTMAX)
        offset = decimal(name[6:], _HIGHEST_SIGNAL)
        if not name[5:]:
            number = base
        elif name[5] in "+-" and offset is not None:
            number = base + offset if name[5] == "+" else base - offset
    elif name.isalnum():
        value = getattr(_signal, f"SIG{name}", None)
        number = int(value) if value is not None else 0
    if not 1 <= number <= _HIGHEST_SIGNAL:
        raise UsageError(f"{text!r} is no signal", "TERM, SIGTERM or 15")
    return number


def duration_ns(text: str, option: str) -> int:
    """``1m30s``, ``1.5s``, ``250ms``, ``0`` -> nanoseconds, as Go writes durations; also d for days."""
    if text == "0":  # the only number that Go takes without a unit
        return 0
    total, digits, unit = 0.0, "", ""
    try:
        for character in f"{text}\0":
            if unit and not character.isalpha():
                total += float(digits) * _DURATIONS_NS[unit]
                digits = unit = ""
            if character.isalpha():
                unit += character
            else:
                digits += character
        if digits != "\0" or not text or "-" in text or total >= 1 << 62:
            raise ValueError
    except (ValueError, KeyError):
        raise UsageError(f"{option} {text}: not a time", "numbers with ms, s, m or h: 1m30s") from None
    return int(total)


def check_descriptors(numbers: Iterable[int], option: str) -> None:
    """They must be the caller's and open: what this process opened itself would not survive an exec."""
    for fd in numbers:
        try:
            inherited = os.get_inheritable(fd)
        except OSError:
            inherited = False
        if not inherited:
            raise UsageError(f"{option}: descriptor {fd} is not open")


def pairs(items: list[str], option: str) -> dict[str, str]:
    """``KEY=VALUE`` items -> a dict; a key without ``=`` has the empty value."""
    result = {}
    for item in items:
        key, _, value = item.partition("=")
        if not key:
            raise UsageError(f"{option}: {item!r} has no name before '='")
        result[key] = value
    return result


def lines(path: str, option: str) -> list[str]:
    """The lines of an --env-file or --label-file, without comments and empty ones.

    The user may name a pipe as well: ``--env-file <(…)``.
    """
    try:
        with open(path, "rb") as stream:
            data = stream.read(_MAX_LINES_BYTES + 1)
        if len(data) > _MAX_LINES_BYTES:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    except OSError as error:
        raise UsageError(f"{option}: {os_reason(error)}") from error
    found = []
    for line in data.decode("utf-8", "surrogateescape").splitlines():
        stripped = line.strip(" \t")
        if stripped and not stripped.startswith("#"):
            found.append(line.lstrip(" \t"))
    return found


def typed_environment(env_files: list[str], items: list[str]) -> list[str]:
    """What the user gives: the lines of --env-file, then -e."""
    return [line for path in env_files for line in lines(path, "--env-file")] + items


def environment(image: list[str], typed: list[str], *, host: bool) -> list[str]:
    """The program's environment: the image's, the host's if asked for, then what is typed; a bare NAME copies ours."""
    result: dict[str, str] = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    for entry in image:
        name, equals, value = entry.partition("=")
        if name and equals:
            result[name] = value
    if host:
        result.update({k: v for k, v in os.environ.items() if k not in _OWN_VARIABLES})
    for entry in typed:
        name, equals, value = entry.partition("=")
        if not name or "\0" in entry:
            raise UsageError(f"--env: {entry!r} has no name before '='")
        if name.endswith("*") and not equals:
            result.update({k: v for k, v in os.environ.items() if k.startswith(name[:-1])})
        elif equals:
            result[name] = value
        elif name in os.environ:
            result[name] = os.environ[name]
        else:
            result.pop(name, None)
    return [f"{name}={value}" for name, value in result.items()]


def restart_policy(text: str) -> tuple[str, int]:
    """``no``, ``always``, ``unless-stopped``, ``on-failure[:N]`` -> (policy, N or 0 for no bound)."""
    name, colon, count = text.partition(":")
    name = {"": "no", "never": "no"}.get(name, name)
    if name not in ("no", "always", "unless-stopped", "on-failure") or (colon and name != "on-failure"):
        raise UsageError(f"--restart {text}: unknown policy", "no, on-failure[:N], always or unless-stopped")
    return name, integer(count, "--restart", low=1) if colon else 0


def stop_time(seconds: int, option: str) -> int:
    """How long a stop waits: seconds, or -1 for ever, as Docker has it. Raises UsageError for less."""
    if seconds < -1:
        raise UsageError(f"{option} {seconds}: must be 0 or more, or -1 to wait for ever")
    return seconds

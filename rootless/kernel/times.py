"""RFC 3339 times and nanoseconds since the epoch, without ``datetime`` (which drops nanoseconds, too)."""

from __future__ import annotations

import time

NS = 1_000_000_000


def parse_rfc3339(text: str) -> int:
    """``2026-11-23T10:00:00.5Z`` or with an offset; a date alone, or a time without a zone, is local.

    Returns nanoseconds since the epoch. Raises ValueError for anything else.
    """
    date, separator, rest = text.replace("t", "T", 1).partition("T")
    year, month, day = (int(part) for part in date.split("-"))
    clock, offset_s = _split_offset(rest if separator else "00:00:00")
    whole, _, fraction = clock.partition(".")
    hour, minute, second = (int(part) for part in f"{whole}:0:0".split(":")[:3])
    if not (0 <= hour < 24 and 0 <= minute < 60 and 0 <= second <= 60):
        raise ValueError("no such time")
    seconds = _days(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset_s
    return seconds * NS + int((fraction + "000000000")[:9])


def _split_offset(rest: str) -> tuple[str, int]:
    if rest.endswith(("Z", "z")):
        return rest[:-1], 0
    for sign in "+-":
        clock, found, offset = rest.rpartition(sign)
        if found:
            hours, _, minutes = offset.partition(":")
            return clock, (1 if sign == "+" else -1) * (int(hours) * 3600 + int(minutes or 0) * 60)
    return rest, -time.timezone


def _days(year: int, month: int, day: int) -> int:
    """Days since 1970-01-01 in the proleptic Gregorian calendar, years counted from March."""
    if not (1 <= month <= 12 and 1 <= day <= 31):
        raise ValueError("no such date")
    shifted = year - (month <= 2)
    era = shifted // 400
    of_era = shifted - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719468


def format_rfc3339(time_ns: int) -> str:
    """Nanoseconds since the epoch as a local time with nanoseconds and offset."""
    seconds, fraction = divmod(time_ns, NS)
    local = time.localtime(seconds)
    zone = time.strftime("%z", local)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{fraction:09d}{zone[:3]}:{zone[3:]}"


def format_duration(time_ns: int) -> str:
    """A span as Go's time.Duration prints it: ``0s``, ``1.5ms``, ``2.000000001s``, ``1h0m3.5s``."""
    if time_ns < NS:
        for size, unit in ((1_000_000, "ms"), (1000, "µs"), (1, "ns")):
            if time_ns >= size:
                return f"{_decimal(time_ns, size)}{unit}"
        return "0s"
    minutes, rest_ns = divmod(time_ns, 60 * NS)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(rest_ns, NS)}s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def _decimal(value: int, unit: int) -> str:
    """``value`` counted in ``unit`` (a power of 1000), with all its digits and no zeros at the end."""
    whole, rest = divmod(value, unit)
    return f"{whole}.{rest:0{len(str(unit)) - 1}d}".rstrip("0").rstrip(".") if rest else str(whole)

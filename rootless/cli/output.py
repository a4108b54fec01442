"""What people and scripts read: lines, tables, sizes, times, JSON and errors, in Podman's form."""

from __future__ import annotations

import os
import sys
import time

from rootless import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from rootless.errors import RpodError

_NS = 1_000_000_000


def emit(text: str) -> None:
    """A line on standard output; control characters of foreign names are escaped on a terminal."""
    print(log.printable(text) if sys.stdout.isatty() else text)


def agreed(warning: str) -> bool:
    """Ask before something is lost; whether the answer is yes."""
    emit(warning)
    sys.stdout.write("Are you sure you want to continue? [y/N] ")
    sys.stdout.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def report(error: RpodError) -> None:
    """An error and its hint on standard error, a line each."""
    text = f"rpod: error: {_line(error.message)}\n"
    if hint := _diagnosed(error.hint):
        text += f"rpod: hint: {_line(hint)}\n"
    try:
        os.write(2, text.encode("utf-8", "surrogateescape"))
    except OSError:
        pass  # standard error is closed; the exit code is all that is left


def _diagnosed(hint: str) -> str:
    """For the hint ``rpod doctor CHECK``, what that check says to do; the hint where it finds nothing."""
    before, doctor, name = hint.partition("rpod doctor ")
    if before or not doctor:
        return hint
    from rootless.engine.doctor import remedy

    return remedy(name) or hint


def _line(text: str) -> str:
    """One line of ``text``; a last line end is dropped, the others are shown."""
    return log.printable(text.rstrip("\n").replace("\n", "\\n").replace("\t", " "))


def size(size_bytes: float, space: str = "", digits: int = 3) -> str:
    """``7.45MB``: powers of 1000 and three digits, as Podman prints sizes (those of stats with four)."""
    value = float(size_bytes)
    units = ("B", "kB", "MB", "GB", "TB", "PB", "EB")
    index = 0
    while value >= 1000 and index < len(units) - 1:
        value /= 1000
        index += 1
    text = f"{value:.{digits}g}"
    if "e" in text:
        text = str(int(float(text)))  # 999.9 rounds up to 1e+03
    return f"{text}{space}{units[index]}"


def span(seconds: float) -> str:
    """``3 seconds``, ``About a minute``, ``2 hours`` …: Go's units.HumanDuration."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(seconds / 3600)
    if whole < 1:
        return "Less than a second"
    if whole < 60:
        return "1 second" if whole == 1 else f"{whole} seconds"
    if minutes < 60:
        return "About a minute" if minutes == 1 else f"{minutes} minutes"
    if hours < 48:
        return "About an hour" if hours == 1 else f"{hours} hours"
    for unit, length, limit in (("days", 24, 14 * 24), ("weeks", 7 * 24, 60 * 24), ("months", 30 * 24, 730 * 24)):
        if hours < limit:
            return f"{hours // length} {unit}"
    return f"{int(seconds / 3600 / 24 / 365)} years"


def ago(when_s: float) -> str:
    """``2 minutes ago``."""
    return f"{span(max(0.0, time.time() - when_s))} ago"


def timestamp(when_ns: int) -> str:
    """``2024-05-01 12:00:00.123456789 +0200 CEST``, as Go prints a local time."""
    local = time.localtime(when_ns // _NS)
    fraction = f".{when_ns % _NS:09d}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%d %H:%M:%S", local) + fraction + time.strftime(" %z %Z", local)


def rfc3339(when_ns: int) -> str:
    """``2024-05-01T12:00:00.123456789Z``."""
    fraction = f".{when_ns % _NS:09d}".rstrip("0").rstrip(".")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when_ns // _NS)) + fraction + "Z"


def table(rows: Sequence[Sequence[str]]) -> None:
    """Columns side by side: at least 12 wide and two spaces apart, as Podman's tabwriter sets them."""
    widths: list[int] = []
    for row in rows:
        for index, cell in enumerate(row[:-1]):
            if index == len(widths):
                widths.append(12)
            widths[index] = max(widths[index], len(cell) + 2)
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        emit("".join([*cells, row[-1]]))


class Layout:
    """How a list is printed: the title of every field, and the fields that are shown without --format."""

    __slots__ = ("shown", "titles")

    def __init__(self, titles: Mapping[str, str], shown: Sequence[str]) -> None:
        self.titles = titles
        self.shown = shown


def listing(
    rows: Sequence[Mapping[str, Any]],
    layout: Layout,
    format_: str,
    json_rows: Sequence[Any],
    *,
    noheading: bool = False,
) -> None:
    """Print a list: a table, with ``--format json`` the ``json_rows``, else the template applied to each row."""
    if format_ == "json":
        print_json(json_rows, "  ")
    elif not format_ or format_ == "table":
        cells = [[str(row[name]) for name in layout.shown] for row in rows]
        heading = [] if noheading else [[layout.titles[name] for name in layout.shown]]
        table(heading + cells)
    else:
        _by_template(rows, layout.titles, format_, noheading=noheading)


def _by_template(
    rows: Sequence[Mapping[str, Any]], titles: Mapping[str, str], format_: str, *, noheading: bool
) -> None:
    from rootless.cli.templates import Heading, Headings, Template, unescape

    as_table = format_.startswith(("table ", "table\\t"))
    template = Template(unescape(format_[6:].lstrip(" "), columns=True) if as_table else unescape(format_))
    lines = [template.render(row) for row in rows]
    if not as_table:
        for line in lines:
            emit(line)
        return
    if not noheading:
        lines.insert(0, template.render(Headings({name: Heading(title) for name, title in titles.items()})))
    table([line.split("\t") for line in lines])


def single(value: Any, format_: str, indent: str = "  ") -> bool:
    """Print one object as ``--format`` says; False, with nothing printed, if there is no format."""
    if not format_:
        return False
    if format_ == "json":
        print_json(value, indent)
    else:
        from rootless.cli.templates import Template, unescape

        emit(Template(unescape(format_)).render(value))
    return True


def print_json(value: Any, indent: str) -> None:
    """JSON, indented as Podman does it."""
    from rootless.cli.template_functions import to_json

    emit(to_json(value, indent))


def yaml(value: Any) -> None:
    """Dicts, lists and scalars as YAML, keys sorted, as ``podman info`` prints them."""
    for line in _yaml(value):
        emit(line)


def _yaml(value: Any) -> list[str]:
    lines: list[str] = []
    if isinstance(value, dict) and value:
        for key in sorted(value):
            inner = _yaml(value[key])
            if isinstance(value[key], (dict, list)) and value[key]:
                lines += [f"{key}:", *(f"  {line}" for line in inner)]
            else:
                lines.append(f"{key}: {inner[0]}")
        return lines
    if isinstance(value, list) and value:
        for item in value:
            first, *rest = _yaml(item)
            lines += [f"- {first}", *(f"  {line}" for line in rest)]
        return lines
    return [_yaml_scalar(value)]


def _yaml_scalar(value: Any) -> str:
    from rootless.cli.template_functions import to_json

    if not isinstance(value, str):
        return to_json(value)
    plain = value.replace("-", "a").replace("_", "a").replace("/", "a").replace(".", "a").replace(" ", "a")
    words = ("true", "false", "null", "yes", "no", "on", "off")
    simple = plain.isalnum() and value[0].isalpha() and value == value.strip() and value.lower() not in words
    return value if simple or (value.startswith("/") and plain.isalnum()) else to_json(value)

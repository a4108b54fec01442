"""The fast path: command lines parsed by tables, without Typer, which costs 100 ms and more.

The tables (``_tables``, a module for each command) are generated from the declarations. Whatever this parser does not
understand, ``--help`` and every mistake included, it leaves to Typer by returning None; nothing
has been done by then. A test compares the two on generated command lines.
"""

from __future__ import annotations

from rootless import log
from rootless.cli import words
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Options = dict[str, tuple[str, str]]  # option as typed -> field, kind: flag, str, int or list
    Parsed = tuple[str, dict[str, Any]]  # action, values


class _NotUnderstoodError(Exception):
    """Typer's turn."""


def run(argv: list[str]) -> int | None:
    """Run a command line; None, with nothing done, if it is not understood."""
    from rootless.cli._tables import GLOBALS  # not above: their generator needs this module before they are there

    try:
        before: dict[str, Any] = {}
        rest = _options(argv, GLOBALS, before, interspersed=False)
        parsed = parse(rest)
    except (_NotUnderstoodError, UsageError):
        return None
    apply_globals(before)
    return words.perform(*parsed)


def understands(argv: list[str]) -> bool:
    """Whether ``run`` would carry out this command line. Nothing is done."""
    from rootless.cli._tables import GLOBALS

    try:
        parse(_options(argv, GLOBALS, {}, interspersed=False))
    except (_NotUnderstoodError, UsageError):
        return False
    return True


def values(argv: list[str]) -> dict[str, Any]:
    """The fields of a command line without global options; {} for one that is not understood. Nothing is done."""
    try:
        return parse(argv)[1]
    except (_NotUnderstoodError, UsageError):
        return {}


def apply_globals(values: dict[str, Any]) -> None:
    """Put the options that stand before the command into force."""
    level = values.get("log_level", "warn")
    if level not in log.LEVELS:
        raise UsageError(f"--log-level {level}: there is no such level", ", ".join(log.LEVELS))
    log.set_level(level)
    for name, key in (("storage_driver", "storage.driver"), ("runtime", "engine.runtime")):
        if values.get(name):
            from rootless import config

            config.override(key, values[name])


def parse(argv: list[str]) -> Parsed:
    """The action and the values of a command line without global options."""
    from rootless.cli._tables import MODULES, NOUNS

    if not argv:
        raise _NotUnderstoodError
    path, rest = argv[0], argv[1:]
    if path in NOUNS and rest:
        path, rest = f"{path} {rest[0]}", rest[1:]
    module = MODULES.get(path)
    if module is None:
        raise _NotUnderstoodError
    table = __import__(f"rootless.cli._tables.{module}", fromlist=["SPEC"])
    action, interspersed, arguments, options, defaults = table.SPEC
    values: dict[str, Any] = {name: list(v) if isinstance(v, tuple) else v for name, v in defaults.items()}
    _arguments(_options(rest, options, values, interspersed=interspersed), arguments, values)
    return action, values


def _options(argv: list[str], options: Options, values: dict[str, Any], *, interspersed: bool) -> list[str]:
    """Put the options of ``argv`` into ``values`` and return the other words."""
    others: list[str] = []
    index, count = 0, len(argv)
    while index < count:
        word = argv[index]
        index += 1
        if word == "--":
            return others + argv[index:]
        if len(word) < 2 or word[0] != "-":
            if not interspersed:
                return argv[index - 1 :]
            others.append(word)
            continue
        name, equals, value = word.partition("=")
        known = options.get(name)
        if known is None and word[1] != "-":
            known, name, equals, value = _cluster(word, options, values)
            if known is None:
                continue
        if known is None:
            raise _NotUnderstoodError
        field, kind = known
        if kind == "flag":
            values[field] = words.boolean(value, name) if equals else True
            continue
        if not equals:
            if index >= count:
                raise _NotUnderstoodError
            value = argv[index]
            index += 1
        _set(values, field, kind, value)
    return others


def _cluster(word: str, options: Options, values: dict[str, Any]) -> tuple[tuple[str, str] | None, str, str, str]:
    """Short options in one word: sets the flags, and returns the one that takes the rest as its value.

    ``-itv=/a:/b`` sets ``-i`` and ``-t``, and returns ``-v``, "=", "/a:/b".
    """
    for position in range(1, len(word)):
        known = options.get(f"-{word[position]}")
        if known is None:
            raise _NotUnderstoodError
        rest = word[position + 1 :]
        if known[1] != "flag":
            return known, word, "=" if rest else "", rest.removeprefix("=")
        values[known[0]] = True
    return None, word, "", ""


def _set(values: dict[str, Any], field: str, kind: str, value: str) -> None:
    if kind == "list":
        values[field].append(value)
    elif kind == "int":
        try:
            values[field] = int(value)
        except ValueError:
            raise _NotUnderstoodError from None
    else:
        values[field] = value


def _arguments(given: list[str], arguments: tuple[tuple[str, bool, bool], ...], values: dict[str, Any]) -> None:
    """Share the words out to the arguments: (field, takes all that are left, required)."""
    rest = given
    for field, many, required in arguments:
        if required and not rest:
            raise _NotUnderstoodError
        if many:
            values[field], rest = rest, []
        elif rest:
            values[field], rest = rest[0], rest[1:]
    if rest:
        raise _NotUnderstoodError

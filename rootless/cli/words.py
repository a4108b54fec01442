"""Words of a command line: Go's spelling of booleans, and the way from a command to its action."""

from __future__ import annotations

from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from typing import Any

# What Go's strconv.ParseBool takes.
_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


def boolean(text: str, name: str) -> bool:
    """``true``, ``1``, ``f`` … as a value of option ``name``."""
    try:
        return _BOOLEANS[text]
    except KeyError:
        raise UsageError(f"{name}={text}: neither true nor false") from None


def perform(runs: str, values: Mapping[str, Any]) -> int:
    """Run the action ``MODULE:FUNCTION`` with a command's values; returns the exit code."""
    module, _, function = runs.partition(":")
    action = getattr(__import__(f"rootless.cli.actions.{module}", fromlist=[function]), function)
    return int(action(**values))


def translate(
    args: list[str], flags: Mapping[str, str], valued: Collection[str], *, interspersed: bool
) -> tuple[list[str], dict[str, bool]]:
    """Go's flags as Click takes them, and the booleans that Click has no spelling for.

    ``flags`` maps option names to fields, ``valued`` are the options with a value. The last word on a
    flag counts. Raises UsageError for a flag whose value is no boolean.
    """
    plain: list[str] = []
    overrides: dict[str, bool] = {}
    index = 0
    while index < len(args):
        word = args[index]
        index += 1
        if word == "--" or not word.startswith("-") or word == "-":
            plain.append(word)
            if word != "--" and interspersed:
                continue
            break
        name, equals, value = word.partition("=")
        spelled = [word]
        if not name.startswith("--") and len(name) > 1 and not (equals and name in flags):
            spelled, taken = _cluster(word, flags, valued, overrides)
        elif name in flags:
            overrides.pop(flags[name], None)
            if equals:
                overrides[flags[name]] = boolean(value, name)
                spelled = [name]
            taken = True
        else:
            taken = bool(equals) or name not in valued
        plain += spelled
        if not taken and index < len(args):
            plain.append(args[index])
            index += 1
    return plain + args[index:], overrides


def _cluster(
    word: str, flags: Mapping[str, str], valued: Collection[str], overrides: dict[str, bool]
) -> tuple[list[str], bool]:
    """One word of short options; returns it with Go's ``=`` taken apart, and whether no value has to follow."""
    for index in range(1, len(word)):
        name = f"-{word[index]}"
        if name in flags:
            overrides.pop(flags[name], None)
            continue
        if name in valued:
            rest = word[index + 1 :]
            if rest.startswith("="):
                return [word[: index + 1], rest[1:]], True
            return [word], bool(rest)
        break
    return [word], True

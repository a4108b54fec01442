"""The command line of rpod-runtime, as runc and crun have it.

Options are written ``--name VALUE``, ``--name=VALUE`` or with one dash (Go's way); after a
command's first word that is no option they may go on, except where the rest is a program's.
"""

from __future__ import annotations

from rootless.errors import UnsupportedError, UsageError
from rootless.kernel.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

FLAG, VALUE, MANY = "flag", "value", "many"

GLOBAL = {
    "root": VALUE,
    "log": VALUE,
    "log-format": VALUE,
    "log-level": VALUE,
    "debug": FLAG,
    "systemd-cgroup": FLAG,
    "cgroup-manager": VALUE,
    "rootless": VALUE,
    "help": FLAG,
    "version": FLAG,
}
_CREATE = {
    "bundle": VALUE,
    "console-socket": VALUE,
    "pid-file": VALUE,
    "no-pivot": FLAG,
    "no-new-keyring": FLAG,
    "preserve-fds": VALUE,
}
_LIMITS = (
    "memory memory-reservation memory-swap cpu-period cpu-quota cpu-share cpu-burst cpu-idle cpuset-cpus cpuset-mems "
    "blkio-weight pids-limit"
).split()


class Command:
    """One command: its options, its words, and whether the words after the id are a program's."""

    __slots__ = ("help", "options", "program", "words")

    def __init__(self, words: str, help_: str, options: Mapping[str, str], *, program: bool = False) -> None:
        self.words = words
        self.help = help_
        self.options = {**options, "help": FLAG}
        self.program = program


COMMANDS = {
    "create": Command("ID", "make a container that waits for start", _CREATE),
    "start": Command("ID", "run the program of a created container", {}),
    "run": Command(
        "ID", "create and start a container, and wait for its end", {**_CREATE, "detach": FLAG, "keep": FLAG}
    ),
    "state": Command("ID", "print the state of a container", {}),
    "kill": Command("ID [SIGNAL]", "send a signal to the program (default TERM)", {"all": FLAG}),
    "delete": Command("ID", "remove a stopped container", {"force": FLAG}),
    "exec": Command(
        "ID PROGRAM ARGUMENTS...",
        "run a second program in a container",
        {
            "process": VALUE,
            "detach": FLAG,
            "pid-file": VALUE,
            "tty": FLAG,
            "console-socket": VALUE,
            "user": VALUE,
            "additional-gids": MANY,
            "env": MANY,
            "cwd": VALUE,
            "cap": MANY,
            "apparmor": VALUE,
            "no-new-privs": FLAG,
            "preserve-fds": VALUE,
            "ignore-paused": FLAG,
        },
        program=True,
    ),
    "ps": Command("ID [PS-OPTIONS]", "show the processes of a container", {"format": VALUE}, program=True),
    "list": Command("", "show all containers", {"format": VALUE, "quiet": FLAG}),
    "pause": Command("ID", "freeze all processes of a container", {}),
    "resume": Command("ID", "thaw them", {}),
    "update": Command("ID", "change the limits of a container", {"resources": VALUE, **dict.fromkeys(_LIMITS, VALUE)}),
    "events": Command("ID", "print statistics", {"stats": FLAG, "interval": VALUE}),
    "features": Command("", "print what this runtime can do", {}),
    "spec": Command("", "write a config.json to begin with", {"bundle": VALUE, "rootless": FLAG}),
}
_REFUSED = {
    "checkpoint": "CRIU needs privileges that an ordinary user does not have",
    "restore": "CRIU needs privileges that an ordinary user does not have",
}
_SHORT = {
    ("b", ""): "bundle",
    ("h", ""): "help",
    ("v", ""): "version",
    ("d", ""): "detach",
    ("p", "exec"): "process",
    ("t", "exec"): "tty",
    ("u", "exec"): "user",
    ("g", "exec"): "additional-gids",
    ("e", "exec"): "env",
    ("c", "exec"): "cap",
    ("a", "kill"): "all",
    ("f", "delete"): "force",
    ("f", ""): "format",
    ("q", "list"): "quiet",
    ("r", "update"): "resources",
}


class Parsed:
    """What was typed: the command, its options by name, and its words."""

    __slots__ = ("command", "options", "words")

    def __init__(self) -> None:
        self.command = ""
        self.options: dict[str, str] = {}  # a flag is "" or "true"
        self.words: list[str] = []

    def flag(self, name: str) -> bool:
        """Whether a flag was given."""
        return self.options.get(name) == "true"

    def text(self, name: str, default: str = "") -> str:
        """An option's value."""
        return self.options.get(name, default)

    def many(self, name: str) -> list[str]:
        """The values of an option that may be given several times."""
        joined = self.options.get(name)
        return joined.split("\0") if joined is not None else []

    def number(self, name: str) -> int:
        """A whole number, 0 without the option."""
        text = self.options.get(name, "0")
        number = decimal(text, (1 << 31) - 1)
        if number is None:
            raise UsageError(f"--{name} {text}: it is a whole number")
        return number

    @property
    def ident(self) -> str:
        """The container's id, the first word."""
        return self.words[0]


def parse(argv: list[str]) -> Parsed:
    """A whole command line, without the program's name. Raises UsageError."""
    parsed = Parsed()
    rest = _options(argv, GLOBAL, parsed, "", stop=True)
    if not rest:
        return parsed
    parsed.command = rest[0]
    if parsed.command in _REFUSED:
        raise UnsupportedError(f"{parsed.command} is not there: {_REFUSED[parsed.command]}")
    command = COMMANDS.get(parsed.command)
    if command is None:
        raise UsageError(f"unknown command {parsed.command!r}", "rpod-runtime --help")
    parsed.words = _options(rest[1:], command.options, parsed, parsed.command, stop=command.program)
    if not parsed.flag("help"):
        _count(parsed, command)
    return parsed


def _count(parsed: Parsed, command: Command) -> None:
    wanted = command.words.split()
    least = sum(not word.startswith("[") for word in wanted if word.isupper())
    if command.program:
        least = 1  # exec's program may come in a file
    if len(parsed.words) < least or (not command.program and len(parsed.words) > len(wanted)):
        raise UsageError(
            f"{parsed.command} takes {command.words or 'no words'}", f"rpod-runtime {parsed.command} --help"
        )


def _options(argv: list[str], known: Mapping[str, str], parsed: Parsed, command: str, *, stop: bool) -> list[str]:
    """Take options out of ``argv`` into ``parsed``; returns the words. ``stop``: at the first of them."""
    words: list[str] = []
    position = 0
    while position < len(argv):
        word = argv[position]
        position += 1
        if word == "--":
            return words + argv[position:]
        if not word.startswith("-") or word == "-":
            words.append(word)
            if stop:
                return words + argv[position:]
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = _SHORT.get((name, command)) or _SHORT.get((name, "")) or name
        kind = known.get(name)
        if kind is None:
            raise UsageError(f"unknown option {word}", f"rpod-runtime {command} --help".replace("  ", " "))
        if kind == FLAG:
            parsed.options[name] = value if equals else "true"
            continue
        if not equals:
            if position == len(argv):
                raise UsageError(f"{word} needs a value")
            value = argv[position]
            position += 1
        if kind == MANY and name in parsed.options:
            value = f"{parsed.options[name]}\0{value}"
        parsed.options[name] = value
    return words


def usage(name: str = "") -> str:
    """The help of a command, or of all."""
    if name:
        command = COMMANDS[name]
        lines = [f"Usage: rpod-runtime {name} [OPTIONS] {command.words}".rstrip(), "", command.help, "", "Options:"]
        return "\n".join(lines + _listed(command.options))
    lines = ["Usage: rpod-runtime [OPTIONS] COMMAND ...", "", "An OCI runtime for ordinary users.", "", "Commands:"]
    lines += [f"  {each:<10}{command.help}" for each, command in COMMANDS.items()]
    return "\n".join([*lines, "", "Options:", *_listed(GLOBAL)])


def _listed(options: Mapping[str, str]) -> list[str]:
    return [f"  --{name}{'' if kind == FLAG else ' VALUE'}" for name, kind in options.items()]

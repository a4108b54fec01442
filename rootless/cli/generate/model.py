"""The commands as the manual and the completion see them."""

from __future__ import annotations

import inspect
from typing import Any

from rootless.cli import app, declare

# What completes a command's arguments, where its usage line does not say it well enough.
_KINDS = {
    "start": "stopped",
    "rm": "containers",
    "inspect": "containers",
    "images": "images",
    **dict.fromkeys(("attach", "exec", "kill", "stop", "top", "port"), "running"),
    "volume create": "",
    "help": "",
    **dict.fromkeys(("unshare", "cp"), "files"),
}
# What a word of the usage line stands for.
_NAMED = {"CONTAINER": "containers", "IMAGE": "images", "VOLUME": "volumes"}


class OptionText:
    """One option: its names, its value's name ("" for a flag), its help."""

    __slots__ = ("metavar", "names", "repeats", "text")

    def __init__(self, param: Any) -> None:
        self.names: list[str] = sorted(param.opts, key=lambda name: (name.startswith("--"), -len(name)))
        self.metavar = "" if param.is_flag else param.metavar or "VALUE"
        self.text: str = param.help or ""
        self.repeats = bool(param.multiple)


class CommandText:
    """One command: all the paths it can be typed as, its usage line, help, options and examples."""

    __slots__ = ("aliases", "arguments", "examples", "kind", "name", "options", "text")

    def __init__(self, declared: declare.Declared, command: Any) -> None:
        self.name = declared.paths[0]
        self.aliases = [*declared.paths[1:], *declared.aliases]
        self.text = inspect.cleandoc(declared.options.__doc__ or "")
        self.examples = declared.examples
        self.options = [OptionText(param) for param in command.params if param.param_type_name == "option"]
        self.arguments = [str(param.metavar) for param in command.params if param.param_type_name == "argument"]
        self.kind = _KINDS.get(self.name, self._kind())

    @property
    def summary(self) -> str:
        """The first sentence, on one line and without its full stop."""
        return " ".join(self.text.partition("\n\n")[0].split()).partition(". ")[0].rstrip(".")

    def _kind(self) -> str:
        """What its arguments are: containers, images, volumes or nothing that is known."""
        words = " ".join(self.arguments)
        return next((kind for word, kind in _NAMED.items() if word in words), "")

    @property
    def usage(self) -> str:
        """``rpod run [OPTIONS] IMAGE [COMMAND] [ARG]...``."""
        return " ".join(["rpod", self.name, *(["[OPTIONS]"] if self.options else []), *self.arguments])


def commands() -> list[CommandText]:
    """Every command that is shown, by name."""
    tree = app.tree()
    shown = [declared for declared in declare.COMMANDS if not declared.hidden]
    texts = [CommandText(declared, find(tree, declared.paths[0])) for declared in shown]
    return sorted(texts, key=lambda text: text.name)


def global_options() -> list[OptionText]:
    """The options that stand before the command."""
    return [OptionText(param) for param in app.tree().params]


def find(group: Any, path: str) -> Any:
    """Typer's command object of a path like ``container ps``."""
    for word in path.split():
        group = group.commands[word]
    return group

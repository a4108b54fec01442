"""How commands are declared: a class per command, its annotated fields are Typer's options and arguments.

``@command`` turns such a class into Typer commands, one for each path it can be typed as
(``ps``, ``container ps``, ``container ls``), and notes which action runs it. Groups of options
that commands share are base classes. The fast parser's table, the manual pages and the completion are
generated from what stands here.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo

from rootless.cli import later, words
from rootless.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rootless.errors import RpodError

_T = TypeVar("_T", bound=type)


class Declared:
    """A command: ``paths`` it can be typed as (the first is its name), the action, and the class."""

    __slots__ = ("aliases", "examples", "hidden", "interspersed", "options", "paths", "runs")

    def __init__(self, options: type, runs: str, paths: Sequence[str], aliases: Sequence[str]) -> None:
        self.options = options
        self.runs = runs
        self.paths = list(paths)
        self.aliases = list(aliases)
        self.examples: list[str] = []
        self.interspersed = True
        self.hidden = False

    def defaults(self) -> dict[str, Any]:
        """The default of every field that has one."""
        found = {}
        for name in hints(self.options):
            if hasattr(self.options, name):
                found[name] = getattr(self.options, name)
        return found


COMMANDS: list[Declared] = []


def hints(options: Any) -> dict[str, Any]:
    """Field names and annotations of a class (those of its bases first) or parameters of a function."""
    found: dict[str, Any] = get_type_hints(options, include_extras=True)
    return found


class RpodCommand(TyperCommand):
    """A command that takes booleans as Go's programs do: ``--tty=false``, ``-t=true``, ``-e=A=B``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse, with the spelling of Go's flags translated first."""
        flags, valued = {}, set()
        for param in self.params:
            if param.param_type_name == "option" and param.name:
                for name in param.opts:
                    if getattr(param, "is_flag", False):
                        flags[name] = param.name
                    else:
                        valued.add(name)
        plain, overrides = words.translate(args, flags, valued, interspersed=ctx.allow_interspersed_args)
        try:
            rest = super().parse_args(ctx, plain)
        except typer.TyperException as error:
            error.ctx = ctx  # type: ignore[attr-defined]  # the option parser does not know whose options they are
            raise
        ctx.params.update(overrides)
        return rest

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """``[OPTIONS] [CONTAINER] COMMAND [ARG]...``: the arguments as they are declared."""
        return ["[OPTIONS]", *(str(param.metavar) for param in self.params if param.param_type_name == "argument")]


class RpodGroup(TyperGroup):
    """A noun, or rpod itself: without a verb it shows its help, and it knows what is not there yet."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; nothing at all means ``--help``."""
        return super().parse_args(ctx, args or ["--help"])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names. UnsupportedError or UsageError if there is none."""
        if self.get_command(ctx, args[0]) is None:
            path = ctx.command_path.partition(" ")[2]
            raise later.no_command(path, args[0], [name for name in self.commands if not name.startswith("_")])
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: Any) -> list[str]:
        """Names in alphabetical order for the help."""
        return sorted(super().list_commands(ctx))


def _group(text: str, *examples: str) -> typer.Typer:
    return typer.Typer(
        cls=RpodGroup,
        help=text,
        epilog=_epilog(examples),
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )


def _epilog(examples: Sequence[str]) -> str | None:
    """What stands below the options in the help, as lines, which Click keeps after a backspace."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in examples) if examples else None


APP = _group(
    "Run containers as an ordinary user: no daemon, no root.",
    "rpod run hello",
    "rpod run --rm -it debian",
    "rpod doctor",
)
NOUNS = {
    "": APP,
    "config": _group("Look at rpod's settings.", "rpod config show", "rpod config check"),
    "container": _group("Manage containers.", "rpod container ls --all", "rpod container prune"),
    "image": _group("Manage images.", "rpod image ls", "rpod image tree debian", "rpod image prune --all"),
    "manifest": _group(
        "Manage lists of images for several platforms.",
        "rpod manifest create app:1.0 app-amd64 app-arm64",
        "rpod manifest push app:1.0 docker://registry.example/team/app:1.0",
    ),
    "generate": _group("Describe containers for other programs.", "rpod generate systemd --new --name web"),
    "healthcheck": _group("Check the health of containers.", "rpod healthcheck run web && echo fine"),
    "quadlet": _group(
        "Run containers as systemd user services.",
        "rpod quadlet install web.container && systemctl --user start web",
        "rpod quadlet list",
    ),
    "system": _group("Manage rpod itself.", "rpod system df", "rpod system prune"),
    "volume": _group("Manage volumes.", "rpod volume create data", "rpod run --rm -v data:/data debian ls /data"),
}
for _noun, _app in NOUNS.items():
    if _noun:
        APP.add_typer(_app, name=_noun)


def command(
    *paths: str,
    runs: str,
    aliases: Sequence[str] = (),
    examples: Sequence[str] = (),
    interspersed: bool = True,
    hidden: bool = False,
) -> Callable[[_T], _T]:
    """Declare a command that runs action ``MODULE:FUNCTION`` of ``rootless.cli.actions``.

    The docstring is the help. ``aliases`` work and are not shown. Without ``interspersed`` options
    end at the first argument, because what follows belongs to the container.
    """

    def declare(options: _T) -> _T:
        declared = Declared(options, runs, paths, aliases)
        declared.examples, declared.interspersed, declared.hidden = list(examples), interspersed, hidden
        COMMANDS.append(declared)
        for path in (*paths, *aliases):
            _register(declared, path, hidden=hidden or path in aliases)
        return options

    return declare


def _register(declared: Declared, path: str, *, hidden: bool) -> None:
    noun, _, verb = path.rpartition(" ")
    help_names = ["--help"] if _uses_short_h(declared.options) else ["-h", "--help"]
    NOUNS[noun].command(
        verb,
        cls=RpodCommand,
        help=inspect.cleandoc(declared.options.__doc__ or ""),
        epilog=_epilog(declared.examples),
        hidden=hidden,
        context_settings={"allow_interspersed_args": declared.interspersed, "help_option_names": help_names},
    )(_callback(declared))


def _uses_short_h(options: type) -> bool:
    return any("-h" in (note.param_decls or ()) for hint in hints(options).values() for note in hint.__metadata__)


def _callback(declared: Declared) -> Callable[..., None]:
    """A function with one keyword parameter per field, as Typer wants it."""

    def callback(**values: Any) -> None:
        raise typer.Exit(words.perform(declared.runs, values))

    parameters = [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            annotation=hint,
            default=getattr(declared.options, name, inspect.Parameter.empty),
        )
        for name, hint in sorted(hints(declared.options).items(), key=_place)
    ]
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = {}
    return callback


def _place(field: tuple[str, Any]) -> tuple[bool, str]:
    """Where the help has a field: arguments as they are declared, then options by name, whatever class has them."""
    name, hint = field
    is_option = isinstance(hint.__metadata__[0], OptionInfo)
    return is_option, name if is_option else ""


def option(*names: str, text: str, metavar: str = "") -> Any:
    """An option: its ``names`` as typed, its help, and what its value is called."""
    return typer.Option(*names, help=text, metavar=metavar or None, show_default=False)


def argument(metavar: str) -> Any:
    """An argument, called ``metavar`` in the usage line; the command's text says what it is."""
    return typer.Argument(metavar=metavar, hidden=True, show_default=False)


def usage(error: Exception) -> RpodError:
    """Typer's usage error in our form: one line, and where the help is."""
    ctx = getattr(error, "ctx", None)
    path = ctx.command_path if ctx is not None else "rpod"
    name = getattr(error, "option_name", None)
    if name and "No such option" in str(error.format_message() if hasattr(error, "format_message") else error):
        typed = path.partition(" ")[2]
        command = next((c.paths[0] for c in COMMANDS if typed in (*c.paths, *c.aliases)), "")
        options = [name for param in ctx.command.params for name in param.opts] if ctx is not None else []
        return later.no_option(typed, command, str(name), options)
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    return UsageError(text[:1].lower() + text[1:].rstrip("."), f"{path} --help")

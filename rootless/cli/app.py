"""The Typer application: every command line that the fast parser does not take, and the help."""

from __future__ import annotations

import functools
from typing import Annotated, Any

import typer
from typer.main import get_command

import rootless
from rootless.cli import commands, declare, fast
from rootless.errors import RpodError, UsageError

assert commands.__all__  # importing them declares them


@declare.APP.callback(
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
def options(
    ctx: typer.Context,
    log_level: Annotated[
        str, declare.option("--log-level", metavar="LEVEL", text="What to say: error, warn, info or debug (warn).")
    ] = "warn",
    runtime: Annotated[
        str, declare.option("--runtime", metavar="NAME", text="Who starts new containers: rpod, crun, runc or a path.")
    ] = "",
    storage_driver: Annotated[
        str, declare.option("--storage-driver", metavar="DRIVER", text="auto, overlay or fuse-overlayfs.")
    ] = "",
    version: Annotated[bool, declare.option("--version", "-v", text="Print the version.")] = False,
) -> None:
    """Run containers as an ordinary user: no daemon, no root."""
    if version:
        print(f"rpod version {rootless.__version__}")
        raise typer.Exit(0)
    fast.apply_globals({"log_level": log_level, "runtime": runtime, "storage_driver": storage_driver})
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())


@functools.cache
def tree() -> Any:
    """The group of all commands, as Typer builds it."""
    return get_command(declare.APP)


def refusal(argv: list[str]) -> RpodError | None:
    """Why ``run`` would refuse this command line, None if it would not. Nothing is done."""
    command, context, name, words = tree(), None, "rpod", list(argv)
    try:
        while True:
            context = command.make_context(name, words, parent=context)
            if not hasattr(command, "commands"):
                return None
            rest = [*context._protected_args, *context.args]  # noqa: SLF001  (as Click's own Group.invoke)
            name, command, words = command.resolve_command(context, rest)
    except typer.TyperException as error:
        return declare.usage(error)
    except RpodError as error:
        return error


def run(argv: list[str]) -> int:
    """Run a command line. Returns the exit code; raises RpodError, also for Typer's usage errors."""
    try:
        result = tree().main(args=argv, prog_name="rpod", standalone_mode=False)
    except typer.TyperException as error:
        raise declare.usage(error) from None
    except typer.Abort:
        raise UsageError("aborted") from None
    return result if isinstance(result, int) else 0

"""``help completion``, ``config show``, ``config check``."""

from __future__ import annotations

import os

from rootless import config, paths
from rootless.cli import output
from rootless.errors import ConfigError, UsageError, os_reason


def help_(*, words: list[str]) -> int:
    """Show a command's help."""
    from rootless.cli import app

    return app.run([*words, "--help"])


def completion(*, file: str, shell: str) -> int:
    """Print a completion script, or write it."""
    from rootless.cli.generate import completion as generator
    from rootless.kernel import files

    scripts = generator.scripts()
    known = {"bash": "rpod.bash", "zsh": "_rpod", "fish": "rpod.fish"}
    if shell not in known:
        raise UsageError(f"completion for {shell!r} is not there", f"there is: {', '.join(known)}")
    text = scripts[known[shell]]
    if not file:
        output.emit(text.rstrip("\n"))
        return 0
    try:
        files.write_atomic(os.path.abspath(file), text.encode(), mode=0o644)
    except OSError as error:
        raise UsageError(f"--file: {os_reason(error)}") from error
    return 0


def config_show(*, tables: list[str]) -> int:
    """Print the settings in force."""
    from rootless.cli.generate.example import toml
    from rootless.config import schema

    config.load()
    known = schema.SECTIONS
    for name in tables:
        if name not in known:
            raise UsageError(f"there is no table {name!r} in containers.toml", ", ".join(known))
    given = _given()
    blocks = []
    for name, _, keys in schema.declarations():
        if not tables or name in tables:
            lines = [f"[{name}]"]
            for declared in keys:
                value, path = given.get((name, declared.key), (declared.default, ""))
                lines.append(f"{declared.key} = {toml(value)}" + (f"  # {path}" if path else ""))
            blocks.append("\n".join(lines))
    output.emit("\n\n".join(blocks))
    return 0


def _given() -> dict[tuple[str, str], tuple[object, str]]:
    """(table, key) -> value and file, of what the files say; the user's wins."""
    from rootless.config import reading

    found: dict[tuple[str, str], tuple[object, str]] = {}
    for path in (paths.SYSTEM_CONFIG, paths.user_config()):
        if os.path.exists(path):
            for section, keys in reading.tables(path).items():
                found.update({(section, key): (value, path) for key, value in keys.items()})
    return found


def config_check() -> int:
    """Look for mistakes in the configuration; each file is looked at, whatever the other one is like."""
    from rootless.config import reading

    code = 0
    for path in (paths.SYSTEM_CONFIG, paths.user_config()):
        if not os.path.lexists(path):
            output.emit(f"{path}: not there, and need not be")
            continue
        try:
            reading.tables(path)
            output.emit(f"{path}: fine")
        except ConfigError as error:
            output.report(error)
            code = error.code
    return code

"""``help completion``, ``config show``, ``config check``: how rpod is typed and set up."""

from __future__ import annotations

from typing import Annotated

from rootless.cli.declare import argument, command, option


@command("help", runs="setup:help_", examples=["rpod help run", "rpod help volume create"])
class Help:
    """Show the help of a command, as --help behind it does."""

    words: Annotated[list[str], argument("[COMMAND]...")] = []


@command(
    "completion",
    runs="setup:completion",
    examples=[
        "rpod completion bash -f ~/.local/share/bash-completion/completions/rpod",
        "rpod completion zsh -f /usr/local/share/zsh/site-functions/_rpod",
        "rpod completion fish -f ~/.config/fish/completions/rpod.fish",
    ],
)
class Completion:
    """Print what teaches a shell to complete rpod's commands, options and names: bash, zsh or fish."""

    shell: Annotated[str, argument("SHELL")]
    file: Annotated[str, option("--file", "-f", metavar="FILE", text="Write it to this file.")] = ""


@command("config show", runs="setup:config_show", examples=["rpod config show", "rpod config show network"])
class ConfigShow:
    """Print the settings in force as a containers.toml; what a file says is marked with the file's name."""

    tables: Annotated[list[str], argument("[TABLE]...")] = []


@command("config check", runs="setup:config_check", examples=["rpod config check"])
class ConfigCheck:
    """Look for mistakes in every containers.toml: wrong keys, types and values."""

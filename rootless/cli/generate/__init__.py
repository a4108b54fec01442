"""Everything that is generated from the declarations: the tables, the manual, the completion, the example."""

from __future__ import annotations

from rootless.cli.generate import completion, example, manual, table


def files() -> dict[str, str]:
    """Path in the tree -> content, for every generated file."""
    found = {"containers.toml.example": example.text()}
    found.update({f"rootless/cli/_tables/{name}": text for name, text in table.modules().items()})
    found.update({f"docs/man/{name}": text for name, text in manual.pages().items()})
    found.update({f"contrib/completions/{name}": text for name, text in completion.scripts().items()})
    return found

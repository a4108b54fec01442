"""``containers.toml.example``."""

from __future__ import annotations

import textwrap

from rootless import paths
from rootless.config import schema
from rootless.kernel import fastjson


def toml(value: object) -> str:
    """A default as TOML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(toml(item) for item in value)}]"
    return fastjson.dumps(value)


def text() -> str:
    """Every key, commented out, with its default."""
    lines = [
        "# Configuration of rpod: copy to ~/.config/rpod/containers.toml (one user)",
        f"# or {paths.SYSTEM_CONFIG} (everybody). Every key is optional; these are the defaults.",
    ]
    for name, heading, keys in schema.declarations():
        lines += ["", f"# {heading}", f"[{name}]"]
        for declared in keys:
            lines += ["", *textwrap.wrap(declared.help, 96, initial_indent="# ", subsequent_indent="# ")]
            if declared.words:
                lines.append(f"# One of: {', '.join(declared.words)}.")
            lines.append(f"#{declared.key} = {toml(declared.default)}")
    return "\n".join([*lines, ""])

"""No option is parsed and ignored: what a command declares is read by its action, or by the engine that gets it."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from pathlib import Path

import pytest

import rootless
from rootless.cli import commands, declare
from rootless.cli.actions.access import registry_access
from rootless.cli.actions.names import Each

assert commands.__all__  # importing them declares them
ROOT = Path(rootless.__file__).parent
# What Podman and Docker have and what can change nothing here; each says so in its help.
WITHOUT_EFFECT = {
    "image unmount": {"force"},  # what is busy goes away when it is free, in any case
    "unmount": {"force"},
    "ps": {"sync"},
    "images": {"all"},
    "pull": {"disable_content_trust"},
    "push": {"disable_content_trust", "remove_signatures"},
    "create": {"disable_content_trust"},
    "run": {"disable_content_trust"},
}


def _loaded(tree: ast.AST) -> set[str]:
    """Every ``NAME`` and ``something.NAME`` that is read; where getattr is, every word of the module, too."""
    nodes = list(ast.walk(tree))
    found = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    if "getattr" in found:
        found |= {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return found | {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def _parsed(function: object) -> ast.FunctionDef:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))  # type: ignore[arg-type]
    assert isinstance(tree.body[0], ast.FunctionDef)
    return tree.body[0]


def _read_by(function: object) -> set[str]:
    """The parameters that the function's body reads; ``del`` is no reading."""
    parsed = _parsed(function)
    parameters = {argument.arg for argument in [*parsed.args.args, *parsed.args.kwonlyargs]}
    return parameters & set().union(*(_loaded(statement) for statement in parsed.body))


# What those read that get an action's further options as a whole.
FURTHER = {"choice": _read_by(Each.choose), "access": _read_by(registry_access)}
ENGINE = set().union(*(_loaded(ast.parse(path.read_text())) for path in (ROOT / "engine").rglob("*.py")))


def _used(runs: str) -> set[str]:
    """The fields that an action reads or passes on."""
    module, _, name = runs.partition(":")
    action = getattr(importlib.import_module(f"rootless.cli.actions.{module}"), name)
    further = _parsed(action).args.kwarg
    if further is None:
        return _read_by(action)
    own = set().union(*(_loaded(statement) for statement in _parsed(action).body))
    assert further.arg in own
    passed_on = FURTHER.get(further.arg, ENGINE | (FURTHER["access"] if "registry_access" in own else set()))
    return _read_by(action) | passed_on | own


@pytest.mark.parametrize("command", declare.COMMANDS, ids=lambda command: command.paths[0])
def test_no_option_is_ignored(command: declare.Declared) -> None:
    fields = set(declare.hints(command.options))
    assert fields - _used(command.runs) == WITHOUT_EFFECT.get(command.paths[0], set())

"""Go's text/template language, as far as ``--format`` uses it: a template applied to a value.

What a template may hold: text, ``{{/* comments */}}``, trim marks ``{{-`` and ``-}}``, fields
``.A.B``, variables ``$x``, constants, pipelines, parentheses, ``if``/``else if``/``with``/``range``
(``break``, ``continue``), and the functions of ``template_functions``. The language is that of
https://pkg.go.dev/text/template; a mistake is a UsageError that shows the place.
"""

from __future__ import annotations

from rootless.cli.template_functions import FUNCTIONS, TemplateError, compare_truth, show
from rootless.cli.template_parser import Parser, split
from rootless.engine.gotypes import Map, Struct
from rootless.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Heading(str):
    """The title of a column: stands for a field, also for one that takes arguments."""

    __slots__ = ()

    def __call__(self, *_: object) -> Heading:
        """The title, whatever the field is asked."""
        return self


class Headings(dict[str, Heading]):
    """Field -> title: stands for a row when the heading of ``table`` is made."""

    def __missing__(self, name: str) -> Heading:
        return Heading(name.upper())


class _LeaveError(Exception):
    """``break`` (again False) or ``continue`` (again True) on its way to the loop."""

    def __init__(self, again: bool) -> None:
        super().__init__()
        self.again = again


class Template:
    """A parsed template; ``render`` applies it to one value."""

    __slots__ = ("_nodes", "_source")

    def __init__(self, source: str) -> None:
        self._source = source
        try:
            self._nodes = Parser(split(source)).parse()
        except TemplateError as error:
            raise self._explain(error) from None

    def render(self, data: object) -> str:
        """The text for ``data``: dicts are structs and maps, lists are slices."""
        state = _State(data)
        try:
            state.walk(self._nodes, data)
        except TemplateError as error:
            raise self._explain(error) from None
        except RecursionError:
            raise UsageError("--format: the template is nested too deeply") from None
        return "".join(state.parts)

    def _explain(self, error: TemplateError) -> UsageError:
        place = f" at character {error.position + 1}" if error.position >= 0 else ""
        return UsageError(f"--format: {error.reason}{place} of {self._source[:200]!r}", "man rpod: FORMAT")


def unescape(text: str, *, columns: bool = False) -> str:
    r"""``\t`` and ``\n`` as people type them in a shell's quotes, outside of ``{{ }}``.

    With ``columns`` a space there begins a new column, too, as in Podman's ``table {{.ID}} {{.Names}}``.
    """
    parts, rest = [], text
    while rest:
        before, mark, after = rest.partition("{{")
        before = before.replace("\\t", "\t").replace("\\n", "\n")
        parts.append("\t".join(before.split(" ")) if columns else before)
        inside, end, rest = after.partition("}}")
        parts.append(mark + inside + end)
    return "".join(parts)


class _State:
    """One rendering: the output, the variables, and ``$``."""

    def __init__(self, data: object) -> None:
        self.parts: list[str] = []
        self._variables: list[tuple[str, Any]] = [("$", data)]

    def walk(self, nodes: list[Any], dot: Any) -> None:
        """Run nodes with ``dot`` as the current value; variables end with the block."""
        mark = len(self._variables)
        for node in nodes:
            if node[0] == "text":
                self.parts.append(node[1])
            elif node[0] == "print":
                value = self._pipeline(node[1], dot)
                if not node[1][0]:
                    self.parts.append(show(value))
            elif node[0] == "leave":
                raise _LeaveError(node[1])
            else:
                self._control(node, dot)
        del self._variables[mark:]

    def _control(self, node: Any, dot: Any) -> None:
        word, pipeline, body, otherwise, position = node
        mark = len(self._variables)
        value = self._pipeline(pipeline, dot, assign=word != "range")
        if word == "range":
            self._range(value, pipeline, body, otherwise, dot, position)
        elif compare_truth(value):
            self.walk(body, value if word == "with" else dot)
        else:
            self.walk(otherwise, dot)
        del self._variables[mark:]

    def _range(self, value: Any, pipeline: Any, body: list[Any], otherwise: list[Any], dot: Any, position: int) -> None:
        if isinstance(value, dict):
            items = sorted(value.items())
        elif isinstance(value, (list, tuple)):
            items = list(enumerate(value))
        elif value is None:
            items = []
        elif isinstance(value, int) and not isinstance(value, bool):
            items = [(index, index) for index in range(min(value, 1 << 20))]
        else:
            raise TemplateError(f"range cannot go over {show(value)!r}", position)
        mark = len(self._variables)
        for key, item in items:
            names = pipeline[0]
            if names:
                self._variables.append((names[-1], item))
            if len(names) > 1:
                self._variables.append((names[0], key))
            try:
                self.walk(body, item)
            except _LeaveError as leave:
                if not leave.again:
                    break
            finally:
                del self._variables[mark:]
        if not items:
            self.walk(otherwise, dot)

    def _pipeline(self, pipeline: Any, dot: Any, *, assign: bool = True) -> Any:
        variables, declared, commands = pipeline
        value: Any = _ABSENT
        for command in commands:
            value = self._command(command, dot, value)
        if variables and assign:
            if declared:
                self._variables.append((variables[0], value))
            else:
                self._set(variables[0], value)
        return value

    def _set(self, name: str, value: Any) -> None:
        for index in range(len(self._variables) - 1, -1, -1):
            if self._variables[index][0] == name:
                self._variables[index] = (name, value)
                return
        raise TemplateError(f"undefined variable {name}")

    def _command(self, command: list[Any], dot: Any, last: Any) -> Any:
        first = command[0]
        given = [] if last is _ABSENT else [last]
        if first[0] == "function":
            if first[1] in ("and", "or"):
                return self._short_circuit(first[1], command[1:], dot, given)
            return _call(FUNCTIONS[first[1]], [self._operand(o, dot) for o in command[1:]] + given, first[1], first[2])
        value = self._operand(first, dot, final=False)
        if callable(value):
            return _call(value, [self._operand(o, dot) for o in command[1:]] + given, "it", first[-1])
        if len(command) > 1 or given:
            raise TemplateError("a value that is no function cannot take arguments", first[-1])
        return value

    def _short_circuit(self, word: str, operands: list[Any], dot: Any, given: list[Any]) -> Any:
        value: Any = None
        for operand in operands:
            value = self._operand(operand, dot)
            if compare_truth(value) == (word == "or"):
                return value
        return given[0] if given else value

    def _operand(self, operand: Any, dot: Any, *, final: bool = True) -> Any:
        """The value of an operand; with ``final`` a method without arguments is called."""
        kind = operand[0]
        if kind == "constant":
            return operand[1]
        if kind == "dot":
            return dot
        if kind == "variable":
            return self._variable(operand[1], operand[2])
        if kind == "group":
            return self._pipeline(operand[1], dot)
        if kind == "function":
            return _call(FUNCTIONS[operand[1]], [], operand[1], operand[2])
        value = self._operand(operand[1], dot)
        for name in operand[2]:
            value = field(value, name, operand[3])
        return _call(value, [], operand[2][-1], operand[3]) if final and callable(value) else value

    def _variable(self, name: str, position: int) -> Any:
        for known, value in reversed(self._variables):
            if known == name:
                return value
        raise TemplateError(f"undefined variable {name}", position)


_ABSENT = object()


def _call(function: Callable[..., Any], arguments: list[Any], name: str, position: int) -> Any:
    try:
        return function(*arguments)
    except TemplateError as error:
        raise TemplateError(f"{name}: {error.reason}", position) from None
    except (TypeError, ValueError, AttributeError) as error:
        raise TemplateError(f"{name}: {error}", position) from None


def field(value: Any, name: str, position: int = -1) -> Any:
    """``.name`` of a value.

    A missing key of a ``Map`` is ``<no value>``. Any other dict is a struct: its fields are found in any case and
    without underscores, since Go and JSON names differ in these, and one that is missing is a mistake.
    """
    if isinstance(value, Heading):
        return Heading(name.upper())
    if isinstance(value, Headings):
        return value[name]
    if not isinstance(value, dict):
        what = "nothing" if value is None else f"{show(value)[:40]!r}"
        raise TemplateError(f"no field {name} in {what}", position)
    if name in value or isinstance(value, Map):
        return value.get(name)
    omitted = value.omitted if isinstance(value, Struct) else {}
    folded = _folded(name)
    for fields in (value, omitted):
        for key in fields:
            if _folded(key) == folded:
                return fields[key]
    from difflib import get_close_matches

    near = get_close_matches(name, [*value, *omitted], 1, 0.5)
    raise TemplateError(f"no field {name}" + (f" (did you mean {near[0]}?)" if near else ""), position)


def _folded(name: str) -> str:
    return name.lower().replace("_", "")

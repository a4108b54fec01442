"""Go's text/template language, first half: characters -> tokens -> a tree."""

from __future__ import annotations

from rootless.cli.template_functions import FUNCTIONS, TemplateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Token = tuple[str, str, int]  # kind, text, position in the template

_KEYWORDS = ("if", "else", "end", "range", "with", "break", "continue", "define", "template", "block")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", '"': '"', "'": "'", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_PUNCTUATION = "|(),"
_SPACE = " \t\r\n"


def split(source: str) -> list[Token]:
    """Text and actions as one list of tokens; an action is closed by an ``end-action`` token."""
    tokens: list[Token] = []
    position, trim = 0, False
    while True:
        start = source.find("{{", position)
        text = source[position:] if start < 0 else source[position:start]
        if trim:
            text = text.lstrip(_SPACE)
        if start < 0:
            break
        inner = start + 2
        if source[inner : inner + 1] == "-" and source[inner + 1 : inner + 2] in _SPACE:
            text, inner = text.rstrip(_SPACE), inner + 1
        if text:
            tokens.append(("text", text, position))
        position, trim = _action(source, inner, tokens)
    if text:
        tokens.append(("text", text, position))
    return tokens


def _action(source: str, position: int, tokens: list[Token]) -> tuple[int, bool]:
    """Read one action from behind its ``{{``; returns where it ends and whether it trims what follows."""
    start = position
    if source[position:].lstrip(_SPACE).startswith("/*"):
        end = source.find("*/", position)
        rest = source[end + 2 :]
        close = rest.lstrip(_SPACE)
        if end < 0 or not close.startswith(("}}", "-}}")):
            raise TemplateError("a comment that is not closed", start)
        trim = close.startswith("-")
        return end + 2 + len(rest) - len(close) + (3 if trim else 2), trim
    while True:
        while source[position : position + 1] and source[position] in _SPACE:
            position += 1
        if source.startswith("}}", position):
            tokens.append(("end-action", "", position))
            return position + 2, False
        if source.startswith("-}}", position) and source[position - 1] in _SPACE:
            tokens.append(("end-action", "", position))
            return position + 3, True
        if position >= len(source):
            raise TemplateError("{{ that is not closed", start - 2)
        kind, text, end = _token(source, position)
        tokens.append((kind, text, position))
        position = end


def _token(source: str, position: int) -> tuple[str, str, int]:
    """Kind, text and end of the token at ``position``."""
    char = source[position]
    if char in "\"'":
        return _quoted(source, position, char)
    if char == "`":
        end = source.find("`", position + 1)
        if end < 0:
            raise TemplateError("a string that is not closed", position)
        return "string", source[position + 1 : end], end + 1
    if char in _PUNCTUATION:
        return "mark", char, position + 1
    if source.startswith(":=", position):
        return "mark", ":=", position + 2
    if char == "=":
        return "mark", "=", position + 1
    end = position + 1
    while end < len(source) and (source[end].isalnum() or source[end] == "_"):
        end += 1
    word = source[position:end]
    if char == ".":
        return "field", word[1:], end
    if char == "$":
        return "variable", word, end
    if char.isdigit() or (char in "+-" and word[1:2].isdigit()):
        if source[end : end + 1] == "." and source[end + 1 : end + 2].isdigit():
            tail = _token(source, end)
            return "number", f"{word}.{tail[1]}", tail[2]
        return "number", word, end
    if char.isalpha() or char == "_":
        return ("keyword" if word in _KEYWORDS else "name"), word, end
    raise TemplateError(f"unexpected {char!r}", position)


def _quoted(source: str, position: int, quote: str) -> tuple[str, str, int]:
    parts = []
    index = position + 1
    while index < len(source) and source[index] not in (quote, "\n"):
        char = source[index]
        if char == "\\":
            index += 1
            escape = source[index : index + 1]
            length = {"x": 2, "u": 4, "U": 8}.get(escape, 0)
            try:
                char = chr(int(source[index + 1 : index + 1 + length], 16)) if length else _ESCAPES[escape]
            except (KeyError, ValueError, OverflowError):
                raise TemplateError(f"an unknown escape \\{escape}", index - 1) from None
            index += length
        parts.append(char)
        index += 1
    if source[index : index + 1] != quote:
        raise TemplateError("a string that is not closed", position)
    text = "".join(parts)
    if quote == "'":  # a character constant is its number
        if len(text) != 1:
            raise TemplateError("a character constant of more than one character", position)
        return "number", str(ord(text)), index + 1
    return "string", text, index + 1


class Parser:
    """Tokens -> nodes. A node is (kind, …); see ``_State.walk`` for each."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._loops = 0

    def parse(self) -> list[Any]:
        """All nodes. Raises TemplateError."""
        nodes, stopped = self._block(())
        assert stopped == ""
        return nodes

    def _peek(self) -> Token:
        if self._index < len(self._tokens):
            return self._tokens[self._index]
        return ("nothing", "", -1)

    def _next(self) -> Token:
        token = self._peek()
        self._index += 1
        return token

    def _take(self, kind: str, text: str = "") -> bool:
        token = self._peek()
        if token[0] == kind and (not text or token[1] == text):
            self._index += 1
            return True
        return False

    def _expect_end(self) -> None:
        token = self._next()
        if token[0] != "end-action":
            raise TemplateError(f"unexpected {token[1]!r}" if token[1] else "unexpected end", token[2])

    def _block(self, stops: tuple[str, ...]) -> tuple[list[Any], str]:
        """Nodes up to one of the keywords ``stops``, which is consumed without its action's end."""
        nodes: list[Any] = []
        while True:
            kind, text, position = self._peek()
            if kind == "nothing":
                if stops:
                    raise TemplateError("{{end}} is missing")
                return nodes, ""
            if kind == "text":
                self._index += 1
                nodes.append(("text", text))
            elif kind == "keyword":
                self._index += 1
                if text in stops:
                    return nodes, text
                nodes.append(self._keyword(text, position))
            else:
                nodes.append(("print", self._pipeline(), position))
                self._expect_end()

    def _keyword(self, word: str, position: int) -> tuple[Any, ...]:
        if word in ("if", "with", "range"):
            return self._control(word, position)
        if word in ("break", "continue"):
            if not self._loops:
                raise TemplateError(f"{{{{{word}}}}} outside of {{{{range}}}}", position)
            self._expect_end()
            return ("leave", word == "continue")
        if word in ("else", "end"):
            raise TemplateError(f"unexpected {{{{{word}}}}}", position)
        raise TemplateError(f"{{{{{word}}}}} is not there", position)

    def _control(self, word: str, position: int) -> tuple[Any, ...]:
        pipeline = self._pipeline()
        self._expect_end()
        self._loops += word == "range"
        body, stopped = self._block(("else", "end"))
        self._loops -= word == "range"
        otherwise: list[Any] = []
        if stopped == "else":
            kind, text, at = self._peek()
            if kind == "keyword" and text in ("if", "with"):
                self._index += 1
                return (word, pipeline, body, [self._control(text, at)], position)
            self._expect_end()
            otherwise, _ = self._block(("end",))
        self._expect_end()
        return (word, pipeline, body, otherwise, position)

    def _pipeline(self) -> tuple[Any, ...]:
        """(variables, declared, commands); a command is a list of operands."""
        variables: list[str] = []
        declared = False
        start = self._index
        while self._peek()[0] == "variable":
            variables.append(self._next()[1])
            if self._take("mark", ","):
                continue
            declared = self._take("mark", ":=")
            if declared or self._take("mark", "="):
                break
            variables, self._index = [], start
            break
        commands = [self._command()]
        while self._take("mark", "|"):
            commands.append(self._command())
        return (variables, declared, commands)

    def _command(self) -> list[Any]:
        operands = []
        while (operand := self._operand()) is not None:
            operands.append(operand)
        if not operands:
            _, text, position = self._peek()
            what = f"a value is missing before {text!r}" if text else "a value is missing"
            raise TemplateError(what, position)
        return operands

    def _operand(self) -> tuple[Any, ...] | None:
        kind, text, position = self._peek()
        base: tuple[Any, ...]
        if kind in ("string", "number"):
            self._index += 1
            return ("constant", text if kind == "string" else number(text, position), position)
        if kind == "field":
            base = ("dot", None, position)
            if not text:
                self._index += 1
        elif kind == "variable":
            self._index += 1
            base = ("variable", text, position)
        elif kind == "mark" and text == "(":
            self._index += 1
            base = ("group", self._pipeline(), position)
            if not self._take("mark", ")"):
                raise TemplateError("a parenthesis that is not closed", position)
        elif kind == "name":
            self._index += 1
            if text in ("true", "false", "nil"):
                return ("constant", {"true": True, "false": False, "nil": None}[text], position)
            if text not in FUNCTIONS:
                raise TemplateError(f"no such function: {text}", position)
            return ("function", text, position)
        else:
            return None
        return self._fields(base)

    def _fields(self, base: tuple[Any, ...]) -> tuple[Any, ...]:
        """The ``.A.B`` that stands directly behind a value."""
        names: list[str] = []
        while self._peek()[0] == "field" and self._peek()[1] and (self._adjacent() or (base[0] == "dot" and not names)):
            names.append(self._next()[1])
        return ("field", base, names, base[2]) if names else base

    def _adjacent(self) -> bool:
        """Whether the next token follows the one before without a space."""
        before, here = self._tokens[self._index - 1], self._tokens[self._index]
        return here[2] == before[2] + len(before[1]) + (before[0] == "field")


def number(text: str, position: int) -> int | float:
    """A number as Go writes it: decimal, 0x, 0o, 0b, or a fraction."""
    try:
        return float(text) if "." in text else int(text, 0)
    except ValueError:
        raise TemplateError(f"{text!r} is not a number", position) from None

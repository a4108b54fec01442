"""Unit files: systemd.syntax(7) read with the line of every assignment, so that a mistake can be pointed at.

Not configparser: a unit assigns one key many times (``Volume=``), each assignment counts until an empty one makes those
before it void, sections may come again, lines go on after a backslash with comments in between, and drop-ins are laid
over the file. configparser keeps one value for a key, and no line numbers.
"""

from __future__ import annotations

from rootless.errors import RpodError, os_reason
from rootless.kernel import files
from rootless.kernel.numbers import decimal
from rootless.kernel.userns import MAX_ID
from rootless.units import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_LARGEST_BYTES = 1 << 20
_TRUE = ("1", "yes", "y", "true", "t", "on")
_FALSE = ("0", "no", "n", "false", "f", "off")


class UnitError(RpodError):
    """A unit file with a mistake: the message begins with ``FILE:LINE:``."""

    def __init__(self, path: str, line: int, reason: str, hint: str = "") -> None:
        super().__init__(f"{path}:{line}: {reason}" if line else f"{path}: {reason}", hint)


class Entry:
    """One assignment ``key=value``, and where it stands."""

    __slots__ = ("key", "line", "path", "value")

    def __init__(self, key: str, value: str, path: str, line: int) -> None:
        self.key = key
        self.value = value
        self.path = path
        self.line = line

    def error(self, reason: str, hint: str = "") -> UnitError:
        """The error for a mistake in this line."""
        return UnitError(self.path, self.line, reason, hint)

    @property
    def text(self) -> str:
        """The value as one string, without the double quotes around it."""
        value = self.value
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value

    def words(self, *, unescape: bool = True) -> list[str]:
        """The words of the value. Raises UnitError."""
        try:
            return words.split(self.value, unescape=unescape)
        except ValueError as error:
            raise self.error(f"{self.key}=: {error}") from error

    def boolean(self) -> bool:
        """The value as systemd reads booleans. Raises UnitError."""
        text = self.text.lower()
        if text not in _TRUE + _FALSE:
            raise self.error(f"{self.key}={self.value}: neither true nor false", "yes or no")
        return text in _TRUE

    def number(self) -> int:
        """A whole number from 0 to 2^32-2, as ids are. Raises UnitError."""
        number = decimal(self.text, MAX_ID)
        if number is None:
            raise self.error(f"{self.key}={self.value}: not a number")
        return number


class UnitFile:
    """A unit: section -> assignments, in the order of the file and of the drop-ins laid over it."""

    __slots__ = ("name", "path", "sections")

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.path = path
        self.sections: dict[str, list[Entry]] = {}

    @classmethod
    def read(cls, name: str, path: str) -> UnitFile:
        """Read the file at ``path`` as the unit ``name``. Raises UnitError."""
        unit = cls(name, path)
        unit.add_file(path)
        return unit

    def add_file(self, path: str) -> None:
        """Lay a file (a drop-in) over what is there."""
        try:
            text = files.read_file(path, _LARGEST_BYTES).decode()
        except OSError as error:
            raise UnitError(path, 0, os_reason(error)) from error
        except UnicodeDecodeError as error:
            raise UnitError(path, 0, "not UTF-8") from error
        self.parse(text, path)

    def parse(self, text: str, path: str) -> None:
        """Lay the text of a file over what is there."""
        section: list[Entry] | None = None
        for number, line in _logical_lines(text, path):
            if line.startswith("["):
                if not line.endswith("]") or len(line) < 3:
                    raise UnitError(path, number, f"{line[:60]!r} is no section", "[Container]")
                section = self.sections.setdefault(line[1:-1], [])
                continue
            key, equals, value = line.partition("=")
            key = key.rstrip()
            if not equals or not key:
                raise UnitError(path, number, f"{line[:60]!r} is neither a section nor KEY=VALUE")
            if section is None:
                raise UnitError(path, number, f"{key}= stands before any section", "begin with [Container]")
            section.append(Entry(key, value.strip(), path, number))

    def entries(self, section: str) -> list[Entry]:
        """All assignments of a section."""
        return self.sections.get(section, [])

    def all(self, section: str, key: str) -> list[Entry]:
        """The assignments of ``key`` that count: an empty one makes those before it void."""
        found: list[Entry] = []
        for entry in self.entries(section):
            if entry.key == key:
                found = [*found, entry] if entry.value else []
        return found

    def last(self, section: str, key: str) -> Entry | None:
        """The assignment of ``key`` that counts where there can be only one."""
        found = self.all(section, key)
        return found[-1] if found else None

    def text(self, section: str, key: str) -> str:
        """The value that counts, "" if there is none."""
        entry = self.last(section, key)
        return entry.text if entry else ""

    def words(self, section: str, key: str) -> list[str]:
        """The words of every assignment of ``key``."""
        return [word for entry in self.all(section, key) for word in entry.words(unescape=False)]

    def line_of(self, section: str) -> int:
        """The line of a section's first assignment; 0 if there is none in the file itself."""
        return next((entry.line for entry in self.entries(section) if entry.path == self.path), 0)


def _logical_lines(text: str, path: str) -> Iterator[tuple[int, str]]:
    """(line number, text) of each line that says something; a backslash at the end is a space and goes on.

    Comments between such lines are left out, as systemd does it.
    """
    pending, first = "", 0
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.strip()
        if line[:1] in ("#", ";") and line:
            continue
        if "\0" in line:
            raise UnitError(path, number, "a NUL character")
        first = first if pending else number
        pending += line
        backslashes = len(pending) - len(pending.rstrip("\\"))
        if backslashes % 2:
            pending = pending[:-1] + " "
            continue
        if pending.strip():
            yield first, pending.strip()
        pending = ""
    if pending.strip():
        yield first, pending.strip()

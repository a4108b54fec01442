"""The challenges with which a registry asks for a login, and whom its password may be told."""

from __future__ import annotations


class Challenge:
    """One WWW-Authenticate challenge: its scheme in lower case and its parameters."""

    __slots__ = ("parameters", "scheme")

    def __init__(self, scheme: str, parameters: dict[str, str]) -> None:
        self.scheme = scheme
        self.parameters = parameters


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a WWW-Authenticate header (RFC 9110, section 11.6.1); what makes no sense is skipped."""
    found: list[Challenge] = []
    rest = header[:8192].strip()
    while rest:
        word, rest = _token(rest)
        if not word:
            rest = rest[1:].lstrip()
            continue
        if rest.startswith("=") and found:
            value, rest = _value(rest[1:].lstrip())
            found[-1].parameters.setdefault(word.lower(), value)
        else:
            found.append(Challenge(word.lower(), {}))
        rest = rest.lstrip(" ,\t")
    return found


def _token(text: str) -> tuple[str, str]:
    end = 0
    while end < len(text) and (text[end].isalnum() or text[end] in "!#$%&'*+-.^_`|~"):
        end += 1
    return text[:end], text[end:].lstrip()


def _value(text: str) -> tuple[str, str]:
    """A token or a quoted string with its backslashes resolved."""
    if not text.startswith('"'):
        return _token(text)
    value, position = "", 1
    while position < len(text) and text[position] != '"':
        if text[position] == "\\":
            position += 1
        value += text[position : position + 1]
        position += 1
    return value, text[position + 1 :]


def trusts_realm(registry: str, realm: str) -> bool:
    """Whether the password for the host ``registry`` may go to a token service on the host ``realm``.

    It may where both are one host, or one belongs to the other's domain: registry.example.com
    may send to auth.example.com, example.com or auth.registry.example.com.
    """
    if registry == realm or realm.endswith(f".{registry}"):
        return True
    parent = registry.partition(".")[2]
    if "." not in parent or parent.replace(".", "").isdecimal():
        return False
    return realm == parent or realm.endswith(f".{parent}")

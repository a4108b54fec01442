"""Names of images: the grammar of distribution/reference, Docker's defaults, short names.

::

    reference := [domain "/"] path [":" tag] ["@" digest]
    domain    := host [":" port]          its first component has a "." or ":", or is localhost
    path      := component {"/" component}
    component := [a-z0-9]+ {("." | "_" | "__" | "-"+) [a-z0-9]+}
    tag       := [A-Za-z0-9_][A-Za-z0-9_.-]{0,127}
    digest    := "sha256:" [0-9a-f]{64}

Checked by hand: the hot path does not import ``re``.
"""

from __future__ import annotations

from rootless.errors import ImageError, UnsupportedError
from rootless.kernel.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_TAG = "latest"
LOCAL_DOMAIN = "localhost"
DOCKER_DOMAIN = "docker.io"

_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_ALNUM = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_HEX = frozenset("0123456789abcdef")
_TAG = _ALNUM | frozenset("_.-")
# A stored name is a file name ("/" written as "+"), and that has at most 255 bytes.
_MAX_LENGTH = 255
_HINT = "a name looks like debian, debian:12, registry.example/team/app:1.0 or debian@sha256:…"


class Reference:
    """One image's name, taken apart. ``domain`` is "" for a short name, ``tag`` and ``digest`` where not given."""

    __slots__ = ("digest", "domain", "path", "tag")

    def __init__(self, domain: str, path: str, tag: str = "", digest: str = "") -> None:
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest

    def __str__(self) -> str:
        return self.name + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def __repr__(self) -> str:
        return f"Reference({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    @property
    def name(self) -> str:
        """Domain and path, without tag and digest."""
        return f"{self.domain}/{self.path}" if self.domain else self.path

    @property
    def tagged(self) -> str:
        """The full reference with a tag, ``latest`` if none was given."""
        return f"{self.name}:{self.tag or DEFAULT_TAG}"

    @property
    def stored(self) -> str:
        """The name under which the image is stored: by digest where one was given, else by tag."""
        return f"{self.name}@{self.digest}" if self.digest else self.tagged

    @property
    def wanted(self) -> str:
        """What to ask a registry for: the digest if there is one, else the tag."""
        return self.digest or self.tag or DEFAULT_TAG

    def at(self, place: str) -> Reference:
        """This short name in ``place``, HOST[:PORT][/PATH]; one word on Docker Hub is an official image."""
        domain, slash, prefix = place.partition("/")
        path = f"{prefix}{slash}{self.path}"
        if domain == DOCKER_DOMAIN and "/" not in path:
            path = f"library/{path}"
        return Reference(domain, path, self.tag, self.digest)


def _refuse(text: str, why: str) -> ImageError:
    shown = text if len(text) <= 100 else f"{text[:100]}…"
    return ImageError(f"{shown!r} is not the name of an image: {why}", _HINT)


def check_digest(digest: str) -> str:
    """``digest`` if it is ``sha256:`` and 64 lower-case hexadecimal digits, else ImageError."""
    algorithm, colon, value = digest.partition(":")
    if not colon:
        raise _refuse(digest, "a digest is sha256: and 64 hexadecimal digits")
    if algorithm != "sha256":
        raise UnsupportedError(f"digest {digest[:80]!r}: only sha256 digests are accepted")
    if len(value) != 64 or not _HEX.issuperset(value):
        raise _refuse(digest, "a digest is sha256: and 64 lower-case hexadecimal digits")
    return digest


def _is_domain(word: str) -> bool:
    """Whether the part before the first "/" is a registry rather than a folder (Docker's rule)."""
    return "." in word or ":" in word or word == LOCAL_DOMAIN or word != word.lower()


def _check_host(host: str) -> bool:
    if host.startswith("["):
        return host.endswith("]") and len(host) > 3 and (_HEX | frozenset(":ABCDEF")).issuperset(host[1:-1])
    return all(
        label and _ALNUM.issuperset(label.replace("-", "")) and label[0] != "-" and label[-1] != "-"
        for label in host.split(".")
    )


def _check_domain(domain: str, text: str) -> str:
    host, port = domain, ""
    if not domain.endswith("]"):
        head, colon, tail = domain.rpartition(":")
        if colon:
            host, port = head, tail
            if not decimal(port, 65535):
                raise _refuse(text, f"{port!r} is not a port")
    if not _check_host(host):
        raise _refuse(text, f"{host!r} is not a host name")
    return DOCKER_DOMAIN if domain in ("index.docker.io", "registry-1.docker.io") else domain


def _check_component(component: str, text: str) -> None:
    if not component:
        raise _refuse(text, "a part of its path is empty")
    if component.lower() != component:
        raise _refuse(text, "a path has no capital letters")
    squeezed = component.replace("__", "_")
    previous = ""
    for character in squeezed:
        if character in "._-":
            # "-" may be repeated, "." and "_" stand alone; neither begins a component.
            if not previous or (previous in "._-" and not previous == character == "-"):
                raise _refuse(text, f"{component!r} has a separator in the wrong place")
        elif character not in _LOWER:
            raise _refuse(text, f"{character!r} is not allowed in a path")
        previous = character
    if previous in "._-":
        raise _refuse(text, f"{component!r} ends with a separator")


def _split_tag(text: str) -> tuple[str, str]:
    name, colon, tag = text.rpartition(":")
    if not colon or "/" in tag or text.endswith("]"):
        return text, ""
    if not tag:
        raise _refuse(text, "the tag is empty")
    if len(tag) > 128 or tag[0] in ".-" or not _TAG.issuperset(tag):
        raise _refuse(text, "a tag is at most 128 letters, digits, '_', '.' or '-'")
    return name, tag


def parse(text: str) -> Reference:
    """Take ``text`` as typed apart; a short name keeps an empty domain. Raises ImageError.

    Podman's and skopeo's ``docker://`` before a name says what is meant here anyway.
    """
    if not text:
        raise _refuse(text, "it is empty")
    if len(text) > 2 * _MAX_LENGTH:
        raise _refuse(text, f"it is longer than {_MAX_LENGTH} characters")
    rest, at, digest = text.removeprefix("docker://").partition("@")
    if at:
        check_digest(digest)
    rest, tag = _split_tag(rest)
    first, slash, path = rest.partition("/")
    if slash and _is_domain(first):
        domain = _check_domain(first, text)
    else:
        domain, path = "", rest
    for component in path.split("/"):
        _check_component(component, text)
    if not domain and len(path) == 64 and _HEX.issuperset(path):
        raise _refuse(text, "64 hexadecimal digits are an image's id, and no image has it")
    reference = Reference(domain, path, tag, digest)
    if domain == DOCKER_DOMAIN:
        reference = reference.at(domain)
    if max(len(reference.tagged), len(reference.stored)) > _MAX_LENGTH:
        raise _refuse(text, f"it is longer than {_MAX_LENGTH} characters")
    return reference


def candidates(reference: Reference, search: Iterable[str]) -> list[Reference]:
    """The full references that ``reference`` may mean: itself, or for a short name localhost, then ``search``.

    ``search`` holds registries as ``registries.search`` does: HOST[:PORT][/PATH].
    """
    if reference.domain:
        return [reference]
    domains = [LOCAL_DOMAIN, *(domain for domain in search if domain != LOCAL_DOMAIN)]
    return [reference.at(domain) for domain in domains]


def parse_target(text: str) -> Reference:
    """A name to give to an image: a short one is put under ``localhost``; a digest cannot be given."""
    reference = parse(text)
    if reference.digest:
        raise _refuse(text, "a digest cannot be given to an image, only a tag")
    return reference if reference.domain else reference.at(LOCAL_DOMAIN)

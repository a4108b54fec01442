"""``rpod search``: images in registries, and the tags of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless import log
from rootless.engine.hosts import Hosts
from rootless.errors import RegistryError, UsageError
from rootless.image import reference
from rootless.image import search as image_search
from rootless.image.registries import Endpoint
from rootless.image.registry import Registry
from rootless.kernel.numbers import decimal

if TYPE_CHECKING:
    from collections.abc import Callable

    from rootless.image.access import Access
    from rootless.image.search import Hit

DEFAULT_LIMIT = 25


def search(term: str, access: Access, *, limit: int = DEFAULT_LIMIT, filters: list[str] | None = None) -> list[Hit]:
    """Images for ``term``: WORD in the registries of short names, or REGISTRY/WORD in that one.

    A registry that fails is warned about where another one answers. Raises RegistryError, UsageError.
    """
    passes = [_filter(text) for text in filters or []]
    hosts = Hosts(access)
    domain, slash, word = term.partition("/")
    named = slash and ("." in domain or ":" in domain or domain == reference.LOCAL_DOMAIN)
    if not term.isprintable() or not (named or term):
        raise UsageError(f"{term[:60]!r} cannot be searched for", "rpod search WORD")
    places = [domain] if named else [place.partition("/")[0] for place in hosts.search()]
    hits: list[Hit] = []
    failures: list[RegistryError] = []
    for place in dict.fromkeys(places):
        transport = hosts.transport([Endpoint(reference.Reference(place, ""), insecure=False, is_mirror=False)])
        try:
            hits += image_search.search(place, word if named else term, limit, transport, access)
        except RegistryError as error:
            failures.append(error)
        finally:
            transport.close()
    if failures and len(failures) == len(dict.fromkeys(places)):
        raise failures[-1]
    for failure in failures:
        log.warn(failure.message)
    return [hit for hit in hits if all(test(hit) for test in passes)]


def tags(name: str, access: Access, *, limit: int = DEFAULT_LIMIT) -> list[tuple[str, str]]:
    """(repository, tag) of the first ``limit`` tags. Raises RegistryError."""
    hosts = Hosts(access)
    parsed = reference.parse(name)
    candidates = hosts.candidates(parsed)
    if not candidates:
        raise UsageError(f"{name}: name the registry, too", f"rpod search --list-tags docker.io/library/{name}")
    endpoint = hosts.endpoints(candidates[0])[-1]
    transport = hosts.transport([endpoint])
    try:
        place = endpoint.reference
        found = Registry(place.domain, transport, access=access).tags(place.path)
    finally:
        transport.close()
    return [(candidates[0].name, tag) for tag in found[:limit]]


def _filter(text: str) -> Callable[[Hit], bool]:
    """``stars=N``, ``is-official[=BOOL]``, ``is-automated[=BOOL]``."""
    key, _, value = text.partition("=")
    if key == "stars":
        stars = decimal(value, 1 << 62)
        if stars is None:
            raise UsageError(f"--filter {text}: stars is a number", "stars=10")
        return lambda hit: stars <= hit.Stars
    if key in ("is-official", "is-automated") and value in ("", "true", "false"):
        field = "Official" if key == "is-official" else "Automated"
        return lambda hit: bool(getattr(hit, field)) == (value != "false")
    raise UsageError(f"--filter {text}: there is no such filter", "stars=N, is-official=true, is-automated=false")

"""Looking for images in one registry: Docker's search where the registry has it, else its catalog."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from rootless.errors import RegistryError
from rootless.image.reference import DOCKER_DOMAIN
from rootless.image.registry import Registry
from rootless.kernel import fastjson
from rootless.log import printable

if TYPE_CHECKING:
    from rootless.image.access import Access
    from rootless.image.transport import Transport

_DOCKER_SEARCH = "index.docker.io"
_BODY_LIMIT = 4 << 20
# Repositories of a catalog that are looked through.
_MOST = 100_000


class Hit:
    """One image that was found; the names are those of Podman's JSON."""

    __slots__ = ("Automated", "Description", "Index", "Name", "Official", "Stars")

    def __init__(
        self, registry: str, name: str, description: str = "", stars: int = 0, *, official: bool = False
    ) -> None:
        self.Index = registry
        self.Name = name
        self.Description = description
        self.Stars = stars
        self.Official = "[OK]" if official else ""
        self.Automated = ""


def search(domain: str, term: str, limit: int, transport: Transport, access: Access) -> list[Hit]:
    """Up to ``limit`` images of ``domain`` for ``term`` ("" is everything). Raises RegistryError."""
    host = _DOCKER_SEARCH if domain == DOCKER_DOMAIN else ""
    if term:
        query = urlencode({"q": term, "n": limit})
        with Registry(domain, transport, access=access, host=host).request(
            "GET", f"/v1/search?{query}", ""
        ) as response:
            if response.status == 200:
                return _results(domain, response.body(_BODY_LIMIT))[:limit]
    registry = Registry(domain, transport, access=access)
    registry.scope_without_repository = "registry:catalog:*"
    names = itertools.islice(registry.listed("/v2/_catalog?n=1000", "", "repositories"), _MOST)
    found = (name for name in names if term in name)
    return [Hit(domain, f"{domain}/{printable(name)}") for name in itertools.islice(found, limit)]


def _results(domain: str, body: bytes) -> list[Hit]:
    """What Docker's search answers (registry API v1, "Search")."""
    try:
        document = fastjson.loads(body)
    except fastjson.JSONError:
        document = None
    results = document.get("results") if isinstance(document, dict) else None
    if not isinstance(results, list):
        raise RegistryError(f"{domain} gave no list of images to a search")
    hits = []
    for item in results:
        if isinstance(item, dict) and isinstance(name := item.get("name"), str):
            folder = "library/" if domain == DOCKER_DOMAIN and "/" not in name else ""
            stars = item.get("star_count")
            hits.append(
                Hit(
                    domain,
                    f"{domain}/{folder}{printable(name)}",
                    printable(" ".join(str(item.get("description") or "").split())),
                    stars if isinstance(stars, int) else 0,
                    official=item.get("is_official") is True,
                )
            )
    return hits

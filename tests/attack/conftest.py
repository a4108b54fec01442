"""Hostile images in the shared store, a canary tree on the host, and the oracle of every attack."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from support import hostile
from support.leaks import Canary, Leaks
from support.rogue_registry import RogueRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.hostile import Entry
    from support.shell import Rpod

MakeImage = Callable[..., str]


@pytest.fixture(scope="session")
def served() -> Iterator[MakeImage]:
    """``served(entries, **config)`` offers busybox with a layer of ``entries`` and returns its name."""
    made: list[str] = []
    with RogueRegistry() as registry:

        def serve(entries: dict[str, Entry] | None = None, **config: object) -> str:
            made.append(hostile.serve(registry, f"hostile{len(made)}", entries or {}, config))
            return made[-1]

        yield serve


@pytest.fixture(scope="session")
def make_image(served: MakeImage, session_rpod: Rpod) -> MakeImage:
    """The same, pulled."""

    def make(entries: dict[str, Entry] | None = None, **config: object) -> str:
        name = served(entries, **config)
        session_rpod.ok("pull", "--quiet", "--tls-verify=false", name, timeout_s=120)
        return name

    return make


@pytest.fixture(scope="session")
def plain(make_image: MakeImage) -> str:
    """A good busybox image."""
    return make_image()


@pytest.fixture(scope="session")
def probe(make_image: MakeImage) -> str:
    """An image that can run the host's Python with ``-v /usr:/usr:ro``."""
    return make_image(hostile.python_entries(), Env=["PATH=/bin:/usr/bin"])


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Canary]:
    """A tree on the host; it must be as it was when the test ends."""
    tree = Canary(tmp_path / "canary")
    yield tree
    tree.assert_untouched()


@pytest.fixture
def safe(rpod: Rpod) -> Iterator[Rpod]:
    """The shared rpod; after the test nothing may be left that was not there."""
    leaks = Leaks(rpod)
    yield rpod
    rpod.remove_containers()
    leaks.assert_none()

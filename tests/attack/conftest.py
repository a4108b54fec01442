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
def make_image(session_rpod: Rpod) -> Iterator[MakeImage]:
    """``make_image(entries, **config)`` pulls busybox with a layer of ``entries`` and returns its name."""
    made: list[str] = []
    with RogueRegistry() as registry:

        def make(entries: dict[str, Entry] | None = None, **config: object) -> str:
            name = hostile.serve(registry, f"hostile{len(made)}", entries or {}, config)
            session_rpod.ok("pull", "--quiet", "--tls-verify=false", name, timeout_s=120)
            made.append(name)
            return name

        yield make


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

"""A busybox image in the shared store, and the oracle of every fault."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import hostile
from support.leaks import Leaks
from support.rogue_registry import RogueRegistry
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Rpod


@pytest.fixture(scope="session")
def image(session_rpod: Rpod) -> str:
    """The name of a busybox image that the shared rpod has pulled."""
    with RogueRegistry() as registry:
        name = hostile.serve(registry, "busybox", {}, {})
        session_rpod.ok("pull", "--quiet", "--tls-verify=false", name, timeout_s=120)
    return name


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """rpod without subordinate ids: newuidmap, which gains nothing under strace, is not needed."""
    disk = Disk(tmp_path_factory.mktemp("single"), "64m", "")
    disk.ok("$RPOD run --rm hello")
    yield disk
    disk.close()


@pytest.fixture
def checked(rpod: Rpod) -> Iterator[Rpod]:
    """The shared rpod; after the test nothing may be left that was not there, once everything is removed."""
    leaks = Leaks(rpod)
    yield rpod
    rpod.remove_containers()
    leaks.assert_none()

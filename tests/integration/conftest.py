"""A registry with a small image, and that image pulled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import busybox
from support.registry import PlainRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Rpod


@pytest.fixture(scope="session")
def plain_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainRegistry]:
    """A registry on loopback without TLS, with ``busybox:latest`` in it."""
    folder = tmp_path_factory.mktemp("registry")
    with PlainRegistry(folder) as registry:
        registry.push(busybox.write_layout(folder / "busybox"), "busybox:latest")
        yield registry


@pytest.fixture(scope="session")
def image(plain_registry: PlainRegistry, session_rpod: Rpod) -> str:
    """The full name of a busybox image that the shared rpod has pulled."""
    name = f"{plain_registry.address}/busybox:latest"
    session_rpod.ok("pull", "--quiet", "--tls-verify=false", name, timeout_s=120)
    return name

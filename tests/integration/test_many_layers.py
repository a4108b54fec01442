"""As many layers as an overlay stacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support import busybox, layout
from support.archives import member, tar

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod

_MOST = 500


@pytest.fixture(scope="module")
def tall(session_rpod: Rpod, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An image of 500 layers; each leaves a file and its number."""
    folder = tmp_path_factory.mktemp("tall")
    trees = [busybox.layer(), *(tar(member(f"layers/{n}", b""), member("top", b"%d" % n)) for n in range(1, _MOST))]
    layout.write(folder / "image", trees, {"Cmd": ["sh"]}, "tall:1")
    session_rpod.ok("load", "-q", "-i", str(folder / "image"), timeout_s=300)
    yield "localhost/tall:1"
    session_rpod.ok("rmi", "-f", "tall:1")


def test_five_hundred_layers_are_one_tree(rpod: Rpod, tall: str) -> None:
    script = "cat /top; echo; ls /layers | wc -l; rm /layers/250; echo new >/top; ls /layers | wc -l"
    assert rpod.ok("run", "--name", "tower", tall, "sh", "-c", script).split() == ["499", "499", "498"]
    changes = ["C /etc", "C /layers", "D /layers/250", "C /top"]
    assert rpod.ok("diff", "tower").splitlines() == changes, "/etc was touched for its hosts"
    rpod.ok("run", "--rm", "--userns", "keep-id", tall, "test", "-e", "/layers/499")


def test_one_more_is_refused(rpod: Rpod, tmp_path: Path) -> None:
    layout.write(tmp_path / "image", [tar(member("f", b"%d" % n)) for n in range(_MOST + 1)], {}, "taller:1")
    assert "501 layers" in rpod.fails("load", "-q", "-i", str(tmp_path / "image"))
    rpod.ok("create", "--name", "full", "localhost/tall:1")
    assert "500" in rpod.fails("commit", "-q", "full", "taller")

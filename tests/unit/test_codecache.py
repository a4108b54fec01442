"""The cache of compiled modules: what is served is what the sources say, whatever happens to the file."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys
sys.path.insert(0, {tree!r})
import sample
from rootless.kernel.codecache import CodeCache
cache = CodeCache(sample, {cache!r})
cache.install()
import sample.inner.leaf
print(type(sample.inner.leaf.__spec__.loader).__name__, sample.inner.leaf.VALUE, sample.inner.leaf.__file__)
cache.save()
"""


class Tree:
    def __init__(self, root: Path) -> None:
        self.leaf = root / "tree" / "sample" / "inner" / "leaf.py"
        self.leaf.parent.mkdir(parents=True)
        self.leaf.write_text("VALUE = 1\n")
        self.leaf.with_name("__init__.py").write_text("")
        (self.leaf.parent.parent / "__init__.py").write_text("")
        self.cache = root / "cache"
        self.program = PROGRAM.format(tree=str(root / "tree"), cache=str(self.cache))

    def run(self, *flags: str) -> tuple[str, int]:
        """Which loader served the leaf, and its value."""
        done = subprocess.run([sys.executable, *flags, "-c", self.program], capture_output=True, text=True, check=True)
        loader, value, path = done.stdout.split()
        assert path == str(self.leaf)
        return loader, int(value)

    def file(self) -> Path:
        (path,) = self.cache.iterdir()
        return path


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_the_second_process_is_served(tree: Tree) -> None:
    assert tree.run() == ("SourceFileLoader", 1)
    assert tree.run() == ("CodeCache", 1)
    assert tree.file().stat().st_mode & 0o777 == 0o600


def test_a_changed_source_is_seen_and_cached_anew(tree: Tree) -> None:
    tree.run()
    tree.leaf.write_text("VALUE = 22\n")
    assert tree.run() == ("SourceFileLoader", 22)
    assert tree.run() == ("CodeCache", 22)


@pytest.mark.parametrize("damage", ["empty", "cut", "other magic", "garbage index", "garbage code"])
def test_a_damaged_file_is_no_harm(tree: Tree, damage: str) -> None:
    tree.run()
    path = tree.file()
    data = path.read_bytes()
    path.write_bytes(
        {
            "empty": b"",
            "cut": data[: len(data) // 2],
            "other magic": b"x" + data[1:],
            "garbage index": data[:24] + b"\xff" * 16 + data[40:],
            "garbage code": data[:-40] + b"\xff" * 40,
        }[damage]
    )
    assert tree.run() == ("SourceFileLoader", 1)
    assert tree.run() == ("CodeCache", 1)


def test_a_file_that_others_may_write_is_not_believed(tree: Tree) -> None:
    tree.run()
    tree.file().chmod(0o666)
    assert tree.run() == ("SourceFileLoader", 1)


def test_a_cache_that_cannot_be_made_is_no_harm(tree: Tree) -> None:
    tree.cache.write_text("in the way")
    assert tree.run() == ("SourceFileLoader", 1)


def test_python_s_own_switch_is_honoured(tree: Tree) -> None:
    tree.run("-B")
    assert not tree.cache.exists()

"""Trees that are deeper than a walk's stack and descriptors: unpacked and removed, or refused by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.archives import directory, member, tar

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

# More levels than Python's stack has frames, in a path that the kernel just takes.
NAMED_BY_ITS_CONTENT = tar(member("a/" * 1500 + "f"), member("a/" * 1400 + ".wh.gone"))
# Deeper than packing goes; seen from the host, the path is longer than PATH_MAX.
DEEP = tar(member("aaaaaaaa/" * 440 + "f"))
EDGE = tar(*(directory("b/" * level + "b") for level in range(199)), member("b/" * 199 + "f"))


def clean(rpod: Rpod, *words: str, stdin: bytes = b"") -> str:
    """The message of a refusal by depth."""
    done = rpod(*words, stdin=stdin)
    assert done.code == 125, done
    assert "nested deeper than 200 directories" in done.err, done
    return done.err


def test_a_directory_that_is_named_by_its_content_only(safe: Rpod, plain: str) -> None:
    """Every way into the store makes what is missing, and nothing stays in the way of its removal."""
    safe("import", "-q", "-", "deep", stdin=NAMED_BY_ITS_CONTENT)
    assert safe.ok("run", "--rm", "-v", "deep:/v", plain, "true") == ""
    safe.ok("volume", "import", "deep", "-", stdin=NAMED_BY_ITS_CONTENT)
    name = safe.ok("create", plain, "true")
    safe.ok("cp", "-", f"{name}:/tmp", stdin=NAMED_BY_ITS_CONTENT)
    safe.ok("rm", name)
    safe.ok("volume", "rm", "deep")
    safe.ok("rmi", "deep")


def test_what_a_container_made_too_deep_to_pack(safe: Rpod, plain: str, tmp_path: Path) -> None:
    name = safe.ok("create", "-v", "deep:/v", plain, "true")
    safe.ok("cp", "-", f"{name}:/", stdin=DEEP)
    safe.ok("volume", "import", "deep", "-", stdin=DEEP)
    for words in (
        ("diff", name),
        ("commit", "-q", name, "deep"),
        ("export", "-o", str(tmp_path / "x.tar"), name),
        ("volume", "export", "-o", str(tmp_path / "x.tar"), "deep"),
        ("cp", f"{name}:/aaaaaaaa", str(tmp_path / "copy")),
    ):
        clean(safe, *words)
    assert "deep" in safe.ok("system", "df", "-v")
    assert name[:12] in safe.ok("ps", "-as")
    safe.ok("rm", name)
    safe.ok("volume", "rm", "deep")


@pytest.mark.parametrize("verb", ["diff", "commit", "export"])
def test_the_deepest_that_is_packed(safe: Rpod, plain: str, verb: str) -> None:
    """The limit itself is within what the stack takes, whatever way the tree is read."""
    name = safe.ok("create", plain, "true")
    safe.ok("cp", "-", f"{name}:/", stdin=EDGE)
    safe.ok(
        *{
            "diff": ("diff", name),
            "commit": ("commit", "-q", name, "edge"),
            "export": ("export", "-o", "/dev/null", name),
        }[verb]
    )
    safe("rmi", "edge")

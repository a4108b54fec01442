"""``rpod mount``: a container's root as a directory under rpod unshare."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from support.shell import program, wait_for

if TYPE_CHECKING:
    from support.shell import Rpod


def under_unshare(rpod: Rpod, script: str) -> tuple[int, str]:
    """Run a shell script under rpod unshare, in which $R is rpod."""
    done = rpod("unshare", "sh", "-c", f"R='{' '.join(program())}'; {script}")
    return done.code, done.out + done.err


def test_files_in_and_out(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "still", image, "cat", "/made")
    code, out = under_unshare(rpod, 'M=$($R mount still) && echo made >$M/made && stat -c %u $M/home/user && echo "$M"')
    assert code == 0, out
    ident = rpod.ok("inspect", "-f", "{{.Id}}", "still")
    assert out.split() == ["1000", str(rpod.data / "containers" / ident / "merged")]
    assert rpod.ok("start", "-a", "still") == "made"
    script = "$R mount still >/dev/null; $R mount; $R mount --format json; $R unmount still; $R mount; $R unmount still"
    code, out = under_unshare(rpod, script)
    line, *rest = out.splitlines()
    assert line.endswith("/merged")
    assert json.loads("\n".join(rest[: rest.index("]") + 1]))[0]["Names"] == ["still"]
    assert rest[rest.index("]") + 1 :][0] == "still"
    assert "is not mounted" in rest[-2]
    assert code == 125


def test_nobody_writes_twice(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "still", image, "true")
    code, out = under_unshare(rpod, "$R mount still >/dev/null && $R start still")
    assert code == 125
    assert "is mounted in rpod unshare" in out
    wait_for(lambda: rpod("start", "still").code == 0, what="a start after the namespace is gone")
    rpod.ok("run", "-d", "--name", "busy", image, "sleep", "60")
    code, out = under_unshare(rpod, "$R mount busy")
    assert code == 125
    assert "own namespace" in out


def test_outside_of_unshare(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "still", image, "true")
    assert "rpod unshare" in rpod.fails("mount", "still")
    assert "rpod unshare" in rpod.fails("unmount", "still")
    assert rpod.ok("mount") == ""
    assert os.listdir(rpod.data / "containers" / rpod.ok("inspect", "-f", "{{.Id}}", "still") / "merged") == []

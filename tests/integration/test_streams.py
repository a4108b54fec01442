"""A hundred megabytes through every stream that there is, byte for byte."""

from __future__ import annotations

import hashlib
import io
import random
import tarfile
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Rpod

DATA = random.Random(1).randbytes(1 << 20) * 100
SUM = hashlib.sha256(DATA).hexdigest()
PATIENCE_S = 300


@pytest.fixture
def box(rpod: Rpod, image: str) -> Iterator[str]:
    rpod.ok("run", "-d", "--name", "box", image, "sleep", "1000")
    yield "box"
    rpod.ok("rm", "-f", "-t", "0", "box")


def test_run(rpod: Rpod, image: str) -> None:
    """Both ways at once, with a log that is bounded."""
    done = rpod("run", "--rm", "-i", "--log-opt", "max-size=1m", image, "cat", stdin=DATA, timeout_s=PATIENCE_S)
    assert (done.code, done.err) == (0, "")
    assert hashlib.sha256(done.raw).hexdigest() == SUM


def test_exec(rpod: Rpod, box: str) -> None:
    done = rpod("exec", "-i", box, "cat", stdin=DATA, timeout_s=PATIENCE_S)
    assert (done.code, done.err) == (0, "")
    assert hashlib.sha256(done.raw).hexdigest() == SUM


def test_attach(rpod: Rpod, image: str) -> None:
    """The program's input ends with the client's."""
    rpod.ok("run", "-di", "--name", "echo", "--log-driver", "none", image, "cat")
    done = rpod("attach", "echo", stdin=DATA, timeout_s=PATIENCE_S)
    assert done.code == 0
    assert hashlib.sha256(done.raw).hexdigest() == SUM


def test_cp(rpod: Rpod, box: str) -> None:
    """As a tar archive in and out."""
    packed = io.BytesIO()
    member = tarfile.TarInfo("big")
    member.size = len(DATA)
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(member, io.BytesIO(DATA))
    rpod.ok("cp", "-", f"{box}:/tmp", stdin=packed.getvalue(), timeout_s=PATIENCE_S)
    assert rpod.ok("exec", box, "sha256sum", "/tmp/big").split()[0] == SUM
    done = rpod("cp", f"{box}:/tmp/big", "-", timeout_s=PATIENCE_S)
    with tarfile.open(fileobj=io.BytesIO(done.raw)) as archive:
        out = archive.extractfile("big")
        assert out is not None
        assert hashlib.sha256(out.read()).hexdigest() == SUM

"""A pull that meets a full disk, a signal, and others that want the same image."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from support import hostile
from support.archives import member, tar
from support.leaks import Leaks
from support.rogue_registry import RogueRegistry, digest_of
from support.serving import serve
from support.shell import wait_for
from support.small_disk import Disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.rogue_registry import Handler
    from support.shell import Rpod


@pytest.fixture(scope="module")
def registry() -> Iterator[RogueRegistry]:
    with RogueRegistry() as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Disk]:
    """A small disk, of the size that the test's parameter says."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare(1) is missing")
    small = Disk(tmp_path / "home", request.param)
    leaks = Leaks(small.rpod)
    yield small
    small.close()
    leaks.assert_none()


def used_kib(disk: Disk) -> int:
    return int(disk.ok("df -k --output=used $DISK | tail -1"))


@pytest.mark.parametrize(("disk", "layer_bytes"), [("16m", 6 << 20), ("300m", 110 << 20)], indirect=["disk"])
def test_a_disk_that_fills_up_while_an_image_arrives(disk: Disk, registry: RogueRegistry, layer_bytes: int) -> None:
    """It holds the image's first layer, not all three."""
    trees = [tar(member(f"big{n}", os.urandom(layer_bytes))) for n in range(3)]
    big = serve(registry, "large", trees)
    little = serve(registry, "little", [tar(member("file", b"1"))])
    disk.ok(f"$RPOD pull -q --tls-verify=false {little}")
    before = used_kib(disk)
    code, out = disk.do(f"$RPOD pull -q --tls-verify=false {big}")
    assert code == 125 and "no space left on device" in out and "hint:" in out, out
    assert used_kib(disk) <= before + 100, "the room is back"
    assert disk.ok("$RPOD images -q | wc -l").strip() == "1"
    assert disk.ok("$RPOD system check") == ""
    disk.ok(f"$RPOD pull -q --tls-verify=false {serve(registry, 'other', trees[:1])}")


@pytest.mark.parametrize("disk", ["16m"], indirect=True)
def test_everything_can_be_removed_from_a_full_disk(disk: Disk, registry: RogueRegistry) -> None:
    names = [serve(registry, f"n{n}", [tar(member("file", os.urandom(300_000)))]) for n in range(3)]
    for name in names:
        disk.ok(f"$RPOD pull -q --tls-verify=false {name}")
    disk.ok(f"$RPOD create --name c {names[0]} x")
    disk.ok("$RPOD volume create v")
    disk.fill(0)
    disk.ok(f"$RPOD rmi {names[2]}")
    disk.fill(0)
    disk.ok("$RPOD rm c")
    disk.fill(0)
    disk.ok("$RPOD image prune -af")
    disk.fill(0)
    disk.ok("$RPOD system prune -af --volumes")
    assert disk.ok("$RPOD images -q; $RPOD ps -aq; $RPOD volume ls -q") == ""
    disk.do("rm -f $DISK/filler*")
    assert disk.ok("$RPOD system check") == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_pull(fresh_rpod: Rpod, number: signal.Signals) -> None:
    """It ends as a shell expects, says so on one line at most, and the next command finds nothing to mend."""
    with RogueRegistry() as registry:
        layer = tar(member("file", bytes(200_000)))
        name = serve(registry, "slow", [layer])
        reached, over = threading.Event(), threading.Event()
        path = f"/v2/slow/blobs/{digest_of(layer)}"
        good = registry.routes[path]

        def stalls(handler: Handler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Length", str(len(layer)))
            handler.end_headers()
            handler.wfile.write(layer[:100_000])
            reached.set()
            over.wait(30)

        registry.routes[path] = stalls
        client = fresh_rpod.start("pull", "-q", "--tls-verify=false", name, stderr=subprocess.PIPE)
        assert reached.wait(20)
        client.send_signal(number)
        _, error = client.communicate(timeout=20)
        over.set()
        assert client.returncode in (128 + number, -number), error
        assert b"Traceback" not in error and error.count(b"\n") <= 1, error
        wait_for(lambda: fresh_rpod.processes() == [], what="the end of the workers")
        assert fresh_rpod.ok("images", "-q") == ""
        registry.routes[path] = good
        fresh_rpod.ok("pull", "-q", "--tls-verify=false", name)
        assert fresh_rpod.ok("system", "check") == "" and fresh_rpod.leftovers() == []


def test_pulls_against_rmi_and_run(fresh_rpod: Rpod) -> None:
    """Whoever wins, nobody meets half an image, and what is there at the end is whole."""
    rpod = fresh_rpod
    with RogueRegistry() as registry:
        name = hostile.serve(registry, "contested", {}, {})
        pull = ["pull", "-q", "--tls-verify=false", name]
        run = ["run", "--rm", "--network", "none", "--pull", "never", name, "true"]
        for _ in range(6):
            verbs = [
                pull,
                run,
                ["rmi", name],
                pull,
                run,
                ["rmi", "-f", name],
                ["create", "--pull", "missing", *pull[1:], "true"],
                ["image", "prune", "-af"],
                run,
            ]
            clients = [rpod.start(*verb, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for verb in verbs]
            for verb, client in zip(verbs, clients, strict=True):
                out, _ = client.communicate(timeout=60)
                assert b"Traceback" not in out and b"bug in rpod" not in out, (verb, out)
                assert client.returncode in ((0,) if verb is pull else (0, 1, 2, 125)), (verb, client.returncode, out)
            assert rpod.ok("system", "check") == ""
        rpod.ok(*pull)
        rpod.ok(*run)

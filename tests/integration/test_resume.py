"""A pull that is killed, again and again, goes on where it was."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import socket
import time
from typing import TYPE_CHECKING

import pytest
from support import debian, layout
from support.rogue_registry import Handler, RogueRegistry, digest_of, tar_of
from support.shell import Rpod, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 1 << 15
_LAYER_BYTES = 5_000_000


class SlowRegistry(RogueRegistry):
    """Serves the image of a layout slowly, with ranges; counts what it sent of the layers."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.sent = 0
        self.pause_s = 0.005
        self.starts: list[int] = []
        raw = self._read(folder, json.loads((folder / "index.json").read_text())["manifests"][0])
        document = json.loads(raw)
        self.manifest("big", "1", raw)
        self.blob("big", self._read(folder, document["config"]))
        self.layers = [self._read(folder, layer) for layer in document["layers"]]
        for layer in self.layers:
            self.routes[f"/v2/big/blobs/{digest_of(layer)}"] = self.serving(layer)
        self.size = sum(map(len, self.layers))
        self.name = f"{self.address}/big:1"

    @staticmethod
    def _read(folder: Path, descriptor: dict[str, str]) -> bytes:
        return (folder / "blobs" / descriptor["digest"].replace(":", "/")).read_bytes()

    def serving(self, layer: bytes):  # type: ignore[no-untyped-def]
        def serve(handler: Handler) -> None:
            found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
            start = int(found[1]) if found else 0
            self.starts.append(start)
            # What the kernel holds for a client that is killed counts as sent.
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)
            handler.send_response(206 if found else 200)
            if found:
                handler.send_header("Content-Range", f"bytes {start}-{len(layer) - 1}/{len(layer)}")
            handler.send_header("Content-Length", str(len(layer) - start))
            handler.end_headers()
            for position in range(start, len(layer), _CHUNK):
                piece = layer[position : position + _CHUNK]
                handler.wfile.write(piece)
                self.sent += len(piece)
                time.sleep(self.pause_s)

        return serve


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowRegistry]:
    """With an image of three layers that do not compress."""
    trees = [tar_of({f"file{number}": os.urandom(_LAYER_BYTES)}) for number in range(3)]
    layout.write(tmp_path / "layout", trees, {})
    with SlowRegistry(tmp_path / "layout") as server:
        yield server


def parts(rpod: Rpod) -> list[Path]:
    return sorted((rpod.home / "cache" / "rpod" / "partial").glob("*"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_every_stage(fresh_rpod: Rpod, slow: SlowRegistry, number: signal.Signals) -> None:
    """Five kills on the way to the end: in all, less than 1.2 times its size is sent."""
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        job = fresh_rpod.start("pull", "-q", "--tls-verify=false", slow.name)
        wait_for(lambda share=share: slow.sent > share * slow.size, 30, f"{share} of the image")
        job.send_signal(number)
        job.wait(20)
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", slow.name)
    assert slow.sent < 1.2 * slow.size
    assert any(slow.starts)
    assert parts(fresh_rpod) == []
    assert fresh_rpod.leftovers() == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_debian_killed_at_twenty_random_moments(fresh_rpod: Rpod, tmp_path: Path) -> None:
    shares = sorted(random.uniform(0.0, 0.97) for _ in range(20))
    debian.write_layout(tmp_path / "debian")
    with SlowRegistry(tmp_path / "debian") as registry:
        registry.pause_s = 0.003
        for share in shares:
            job = fresh_rpod.start("pull", "-q", "--tls-verify=false", registry.name)
            wait_for(lambda share=share: registry.sent > share * registry.size, 60, f"{share} of the image")
            job.kill()
            job.wait(20)
        registry.pause_s = 0.0
        fresh_rpod.ok("pull", "-q", "--tls-verify=false", registry.name, timeout_s=300)
        assert registry.sent < 1.2 * registry.size, shares
        print(f"sent {registry.sent / registry.size:.3f} times the image's size")
        assert fresh_rpod.ok("run", "--rm", "--network", "none", registry.name, "dpkg", "--audit") == ""
    assert parts(fresh_rpod) == [] and fresh_rpod.leftovers() == []
    assert fresh_rpod.ok("system", "check") == ""


def test_what_was_kept_may_be_anything(fresh_rpod: Rpod, slow: SlowRegistry) -> None:
    """Garbage, another blob's beginning, more than there is: the image is right, and nothing stays."""
    slow.pause_s = 0.0
    folder = fresh_rpod.home / "cache" / "rpod" / "partial"
    folder.mkdir(parents=True, mode=0o700)
    first, second, third = slow.layers
    (folder / digest_of(first)[7:]).write_bytes(os.urandom(100_000))
    (folder / digest_of(second)[7:]).write_bytes(second[:1_000_000] + bytes(500_000))
    (folder / digest_of(third)[7:]).write_bytes(third + b"more")
    old, young = folder / ("0" * 64), folder / ("1" * 64)
    for path in (old, young):
        path.write_bytes(b"of an image that nobody came back for")
    os.utime(old, (0, 0))
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", slow.name)
    assert parts(fresh_rpod) == [young]


def test_a_layer_that_had_arrived_is_not_asked_for(fresh_rpod: Rpod, slow: SlowRegistry) -> None:
    slow.pause_s = 0.0
    folder = fresh_rpod.home / "cache" / "rpod" / "partial"
    folder.mkdir(parents=True, mode=0o700)
    for layer in slow.layers:
        (folder / digest_of(layer)[7:]).write_bytes(layer)
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", slow.name)
    assert slow.sent == 0


def test_where_nothing_can_be_kept(fresh_rpod: Rpod, slow: SlowRegistry) -> None:
    slow.pause_s = 0.0
    folder = fresh_rpod.home / "cache" / "rpod"
    folder.mkdir(parents=True, mode=0o700)
    (folder / "partial").write_text("in the way")
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", slow.name)


def test_a_registry_that_breaks_off(fresh_rpod: Rpod, slow: SlowRegistry) -> None:
    """Three attempts in one command, then the next command goes on."""
    victim = f"/v2/big/blobs/{digest_of(slow.layers[0])}"
    good = slow.routes[victim]
    layer = slow.layers[0]

    def breaks(handler: Handler) -> None:
        found = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        start = int(found[1]) if found else 0
        handler.send_response(206 if found else 200)
        if found:
            handler.send_header("Content-Range", f"bytes {start}-{len(layer) - 1}/{len(layer)}")
        handler.send_header("Content-Length", str(len(layer) - start))
        handler.end_headers()
        handler.wfile.write(layer[start : start + 400_000])
        slow.sent += 400_000
        handler.close_connection = True

    slow.routes[victim] = breaks
    said = fresh_rpod.fails("pull", "-q", "--tls-verify=false", "--retry", "1", "--retry-delay", "1ms", slow.name)
    assert "ended after 800000" in said or "broke" in said
    slow.routes[victim] = good
    fresh_rpod.ok("pull", "-q", "--tls-verify=false", slow.name)
    assert slow.sent < 1.2 * slow.size

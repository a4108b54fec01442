"""What an engine adds to a container of rpod-runtime: the console socket of a terminal, and hooks."""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support import oci
from support.oci import Runtime, changed, shell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")


# ---- the terminal ----


@contextlib.contextmanager
def console(folder: Path) -> Iterator[socket.socket]:
    """A socket that takes the terminal, as an engine listens on one."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "tty.sock"))
        listener.listen()
        listener.settimeout(30)
        yield listener


def receive(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        _, fds, _, _ = socket.recv_fds(connection, 4096, 1)
    return fds[0]


def read_until(fd: int, word: bytes) -> bytes:
    data = b""
    while word not in data:
        assert select.select([fd], [], [], 30)[0], data
        data += os.read(fd, 4096)
    return data


def test_the_terminal_goes_to_the_console_socket(
    runtime: Runtime, spec: dict[str, Any], tmp_path: Path, runtime_base: Path
) -> None:
    spec = changed(changed(spec, "process.terminal", True), "process.consoleSize", {"height": 33, "width": 77})
    bundle = oci.write(tmp_path / "b", shell(spec, "stty size; echo two; test -c /dev/console && tty; sleep 1000"))
    with console(runtime_base) as listener:
        runtime.detached("create", "--bundle", str(bundle), "--console-socket", str(runtime_base / "tty.sock"), "c")
        master = receive(listener)
        runtime.ok("start", "c")
        assert read_until(master, b"/dev/pts/0").startswith(b"33 77\ntwo\n/dev/pts/0")
        process = {
            "terminal": True,
            "consoleSize": {"height": 10, "width": 110},
            "args": ["sh", "-c", "stty size; tty; exec sleep 100"],
            "cwd": "/",
            "env": [oci.PATH],
        }
        (tmp_path / "process").write_text(json.dumps(process))
        socket_path = str(runtime_base / "tty.sock")
        argv = ("exec", "--detach", "--console-socket", socket_path, "--process", str(tmp_path / "process"), "c")
        runtime.detached(*argv)
        second = receive(listener)
        text = read_until(second, b"/dev/pts/1")
        assert text.startswith(b"10 110\n")  # from the start, and ONLCR is off
        os.close(second)
    os.close(master)
    (runtime_base / "tty.sock").unlink()


def test_a_terminal_needs_somebody_to_hold_it(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    bundle = oci.write(tmp_path / "b", changed(spec, "process.terminal", True))
    assert "--console-socket" in runtime("create", "--bundle", str(bundle), "c").err
    oci.write(bundle, spec)
    assert "process.terminal is false" in runtime("create", "--bundle", str(bundle), "--console-socket", "/x", "c").err


# ---- hooks ----


def test_hooks_run_in_order_with_the_state(
    runtime: Runtime, spec: dict[str, Any], rootfs: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = tmp_path / "hook"
    script.write_text(f'#!/bin/sh\nprintf "%s " "$1" >> {log}\ncat >> {log}\necho >> {log}\n')
    script.chmod(0o755)
    kinds = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]
    hooks: dict[str, Any] = {kind: [{"path": str(script), "args": ["hook", kind]}] for kind in kinds}
    # Inside: the path is the container's. /bin/true does not read its standard input, and that is no error.
    hooks["startContainer"] = [{"path": "/bin/true"}, {"path": "/bin/sh", "args": ["sh", "-c", "cat > /tmp/state"]}]
    spec = changed(shell(spec, "cat /tmp/state"), "hooks", hooks)
    done = runtime.run(tmp_path / "b", spec)
    assert json.loads(done.out)["status"] == "created"
    lines = [line.split(" ", 1) for line in log.read_text().splitlines()]
    assert [kind for kind, _ in lines] == kinds
    states = {kind: json.loads(text) for kind, text in lines}
    assert {states[kind]["status"] for kind in kinds[:3]} == {"creating"}
    assert (states["poststart"]["status"], states["poststop"]["status"]) == ("running", "stopped")
    assert len({state["pid"] for state in states.values()}) == 1 and states["prestart"]["pid"] > 1


@pytest.mark.parametrize("kind", ["prestart", "createRuntime", "createContainer", "startContainer"])
def test_a_hook_that_fails_ends_the_container(
    runtime: Runtime, spec: dict[str, Any], tmp_path: Path, kind: str
) -> None:
    stop = tmp_path / "stopped"
    hooks = {kind: [{"path": "/bin/false"}], "poststop": [{"path": "/bin/sh", "args": ["sh", "-c", f": > {stop}"]}]}
    done = runtime.run(tmp_path / "b", changed(shell(spec, "echo never"), "hooks", hooks))
    assert done.code == 1 and done.out == "" and f"the {kind} hook /bin/false ended with 1" in done.err
    assert runtime.ok("list", "-q") == ""
    assert kind == "createContainer" or stop.exists()


def test_a_hook_has_a_timeout(runtime: Runtime, spec: dict[str, Any], tmp_path: Path) -> None:
    hook = {"path": "/bin/sleep", "args": ["sleep", "1000"], "timeout": 1}
    done = runtime.run(tmp_path / "b", changed(spec, "hooks", {"createRuntime": [hook]}))
    assert "did not end within 1 s" in done.err
    done = runtime.run(
        tmp_path / "b", changed(shell(spec, "echo on"), "hooks", {"poststart": [{"path": "/bin/false"}]})
    )
    assert done.code == 0 and "poststart" in done.err

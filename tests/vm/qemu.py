"""qemu: which processor it gets, how a machine is started, and one that sleeps in a file until it is wanted.

Whether /dev/kvm serves is tried: there are machines where it can be opened and Linux hangs in it. Where the
processor is emulated, a boot takes a minute, so one machine is put to sleep after its boot, and wakes up
in seconds in each run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

PROGRAM = "qemu-system-x86_64"
_KVM_TRY_S = 20
_CONTROL_S = 300
_QUIET = ("-display", "none", "-monitor", "none", "-no-reboot")


def accelerator(image: Path) -> str:
    """``kvm`` where a kernel really starts with it, else ``tcg``."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "tcg"
    argv = [PROGRAM, "-accel", "kvm", "-cpu", "max", "-m", "512", *_QUIET, "-serial", "stdio"]
    argv += ["-kernel", str(image / "vmlinuz"), "-append", "console=ttyS0 panic=-1"]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as qemu:
        assert qemu.stdout is not None
        try:
            return "kvm" if _says(qemu.stdout.fileno(), b"Linux version") else "tcg"
        finally:
            qemu.kill()


def _says(fd: int, words: bytes) -> bool:
    deadline, said = time.monotonic() + _KVM_TRY_S, b""
    while (left_s := deadline - time.monotonic()) > 0 and words not in said:
        if select.select([fd], [], [], left_s)[0]:
            chunk = os.read(fd, 65536)
            if not chunk:
                break  # kvm cannot be used at all
            said += chunk
    return words in said


def command(image: Path, disk: Path, console: Path, forwards: str, accel: str) -> list[str]:
    """The command line of a machine; what it writes to its disk is lost with this machine's power, not with its."""
    return [
        *("nice", "-n", "5", PROGRAM, "-accel", "tcg,thread=multi" if accel == "tcg" else accel, "-cpu", "max"),
        *("-smp", "2", "-m", "2048", *_QUIET, "-serial", f"file:{console}"),
        *("-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"),
        *("-netdev", f"user,id=net,{forwards}", "-device", "virtio-net-pci,netdev=net", "-device", "virtio-rng-pci"),
        *("-kernel", str(image / "vmlinuz"), "-initrd", str(image / "initrd")),
        *("-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0 mitigations=off"),
    ]


def warm_name() -> str:
    """The folder of the sleeping machine: only the same qemu can wake it."""
    version = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
    return f"warm-{hashlib.sha256(version.encode()).hexdigest()[:12]}"


@contextlib.contextmanager
def _control(path: Path) -> Iterator[Callable[..., Any]]:
    """A function that gives a machine a command over its control socket, which may be about to appear."""
    deadline = time.monotonic() + _CONTROL_S
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_CONTROL_S)
        while connection.connect_ex(str(path)):
            if time.monotonic() > deadline:
                raise OSError(f"{path}: nobody listens")
            time.sleep(0.1)
        with connection.makefile("rw") as stream:
            stream.readline()  # the greeting

            def ask(name: str, **arguments: object) -> Any:
                stream.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
                stream.flush()
                while True:  # events come in between
                    answer = json.loads(stream.readline())
                    if "error" in answer:
                        raise OSError(f"{name}: {answer['error']['desc']}")
                    if "return" in answer:
                        return answer["return"]

            ask("qmp_capabilities")
            yield ask


def save(control: Path, memory: Path) -> None:
    """Put the machine to sleep in the file ``memory``; it ends."""
    with _control(control) as ask:
        ask("stop")
        ask("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        ask("migrate", uri=f"exec:cat > {memory}")
        _await(ask, "query-migrate", "completed")
        ask("quit")


def go_on(control: Path) -> None:
    """Let the machine run that has been read from a file: it was stopped when it was written."""
    with _control(control) as ask:
        _await(ask, "query-status", "paused")
        ask("cont")


def suspend(control: Path, seconds: float) -> None:
    """Stop the machine's processors for so long."""
    with _control(control) as ask:
        ask("stop")
        time.sleep(seconds)
        ask("cont")


def _await(ask: Callable[..., Any], question: str, wanted: str) -> None:
    deadline = time.monotonic() + _CONTROL_S
    while (status := ask(question)["status"]) != wanted:
        if status == "failed" or time.monotonic() > deadline:
            raise OSError(f"{question}: {status}")
        time.sleep(0.1)

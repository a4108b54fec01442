"""A mount namespace with a journal in it: ``python journal_box.py SCENE FOLDER`` under ``unshare -Urm``.

Each scene prints one JSON value. The socket's place is the real one, and in ``real`` so is journald.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from monitor_harness import Monitored, wait_until

SOCKET = Path("/run/systemd/journal/socket")
IDENT = "f" * 64
FIELDS = f"CONTAINER_ID_FULL={IDENT}\nCONTAINER_NAME=web\nSYSLOG_IDENTIFIER=web\nCOLOUR=red\n"
OPTIONS = ("--journal-fields", FIELDS)


def hide_run() -> None:
    """An empty /run of our own."""
    subprocess.run(["mount", "-t", "tmpfs", "run", "/run"], check=True)
    SOCKET.parent.mkdir(parents=True)


def script(text: str) -> list[str]:
    return ["/bin/sh", "-c", text]


def monitored(folder: Path, text: str, **options: Any) -> Monitored:
    return Monitored(folder, script(text), options=OPTIONS, log_format="journald", **options)


def real(folder: Path) -> object:
    """Written by the monitor, kept by journald, read back as ``rpod logs`` does."""
    from rootless.engine.journal import Journal

    hide_run()
    Path("/run/log/journal").mkdir(parents=True)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    journald = subprocess.Popen(["/lib/systemd/systemd-journald"], **quiet)  # type: ignore[call-overload]
    wait_until(SOCKET.exists, "journald")
    long = "head -c 20000 /dev/zero | tr '\\0' x"
    text = f"echo one; echo two >&2; {long}; echo; printf 'half '; sleep 0.2; echo line; seq 1000; printf end"
    with monitored(folder, text) as container:
        container.client.until_exit()
        container.client.send(b"k")
        container.wait()
    subprocess.run(["journalctl", "--sync"], check=True, **quiet)  # type: ignore[call-overload]

    def shown(tail: int, since_ns: int = 0) -> list[list[object]]:
        entries = Journal(IDENT).history(since_ns, 1 << 63, tail)
        return [[entry.stream, entry.partial, entry.text.decode()] for entry in entries]

    following = Journal(IDENT)
    last = [entry.text.decode() for entry in following.history(0, 1 << 63, 1)]
    more = [entry.text.decode() for entry in following.appended()]
    fields = subprocess.run(
        ["journalctl", "-o", "json", "-n", "1", f"CONTAINER_ID_FULL={IDENT}"], capture_output=True, check=True
    ).stdout
    journald.send_signal(signal.SIGTERM)
    journald.wait()
    return {
        "all": shown(-1),
        "tail": shown(3),
        "none": shown(0),
        "later": shown(-1, time.time_ns() + 10**9),
        "last": last,
        "more": more,
        "fields": json.loads(fields),
    }


def listener() -> socket.socket:
    """A journald that takes nothing until it is asked to."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind(str(SOCKET))
    return sock


def messages(sock: socket.socket, timeout_s: float) -> list[bytes]:
    sock.settimeout(timeout_s)
    found = []
    try:
        while True:
            found.append(sock.recv(1 << 20))
    except TimeoutError:
        return found


def text_of(message: bytes) -> str:
    return message.partition(b"MESSAGE=")[2].decode().removesuffix("\n")


def slow(folder: Path) -> object:
    """More lines than the socket's queue holds: the program waits, and no line is lost."""
    hide_run()
    sock = listener()
    done = folder / "done"
    with monitored(folder, f"seq 100000; touch {done}", client=False) as container:
        time.sleep(0.5)
        waited = not done.exists()
        found = messages(sock, 2)
        container.wait()
        return {"waited": waited, "found": [text_of(m) for m in found] == [str(n) for n in range(1, 100001)]}


def gone(folder: Path) -> object:
    """journald dies and comes back: the program goes on, and what is missing is said."""
    hide_run()
    sock = listener()
    with monitored(folder, "echo first; read a; seq 7; read b; echo last; read c") as container:
        first = [text_of(m) for m in messages(sock, 0.5)]
        sock.close()
        SOCKET.unlink()
        container.client.send(b"i\n")
        container.client.until(b"7\n")
        sock = listener()
        container.client.send(b"i\n")
        container.client.until(b"last\n")
        found = [text_of(m) for m in messages(sock, 0.5)]
        container.client.send(b"i\n")
        container.client.until_exit()
        return {"first": first, "found": found}


if __name__ == "__main__":
    scene, place = sys.argv[1], Path(sys.argv[2])
    result = {"real": real, "slow": slow, "gone": gone}[scene](place)
    shutil.rmtree(place, ignore_errors=True)
    os.write(1, json.dumps(result).encode())

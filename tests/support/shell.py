"""rpod as a user types it: real processes in a home directory of their own."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

from rootless.kernel import userns


class Done:
    """A finished command: its exit code and what it printed."""

    def __init__(self, argv: list[str], code: int, out: bytes, err: bytes) -> None:
        self.argv = argv
        self.code = code
        self.raw = out
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"$ {' '.join(self.argv)}\n{self.out}{self.err}[{self.code}]"


def program() -> list[str]:
    """The rpod that is installed beside this interpreter, else the one that it can import."""
    installed = Path(sys.executable).with_name("rpod")
    return [str(installed)] if installed.exists() else [sys.executable, "-m", "rootless"]


class Rpod:
    """One user's rpod: ``rpod("ps", "-a")`` gives a Done, ``rpod.ok(…)`` the output of a success.

    ``home`` holds everything under the XDG data, state, cache and config directories, ``runtime`` is the
    XDG_RUNTIME_DIR: keep it short, Unix sockets live there.
    """

    def __init__(self, home: Path, runtime: Path, driver: str = "") -> None:
        self.home = home
        self.runtime = runtime
        self.data = home / "data" / "rpod"
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.startswith("XDG_")},
            "HOME": str(home),
            "XDG_DATA_HOME": str(home / "data"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_RUNTIME_DIR": str(runtime),
        }
        if driver:
            self.configure(f'[storage]\ndriver = "{driver}"\n')

    def configure(self, text: str) -> None:
        """Write containers.toml."""
        path = self.home / "config" / "rpod" / "containers.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def __call__(
        self, *args: str, stdin: bytes = b"", timeout_s: float = 60, env: dict[str, str] | None = None
    ) -> Done:
        argv = [*program(), *args]
        done = subprocess.run(
            argv, input=stdin, capture_output=True, timeout=timeout_s, env={**self.env, **(env or {})}, check=False
        )
        return Done(["rpod", *args], done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str, stdin: bytes = b"", timeout_s: float = 60) -> str:
        """Standard output, without the last line end, of a command that must succeed."""
        done = self(*args, stdin=stdin, timeout_s=timeout_s)
        assert done.code == 0, done
        return done.out.rstrip("\n")

    def fails(self, *args: str, code: int = 125, stdin: bytes = b"") -> str:
        """Standard error of a command that must end with ``code`` and without a traceback."""
        done = self(*args, stdin=stdin)
        assert done.code == code, done
        assert "Traceback" not in done.err, done
        return done.err.rstrip("\n")

    def start(self, *args: str, **options: object) -> subprocess.Popen[bytes]:
        """Start a command and leave it running; ``options`` are Popen's."""
        return subprocess.Popen([*program(), *args], env=self.env, **options)  # type: ignore[call-overload,no-any-return]

    def leftovers(self) -> list[str]:
        """What a finished user must not leave: containers, staging, processes that know this home."""
        found = [str(path) for path in (self.data / "containers").glob("*")]
        found += [str(path) for path in (self.runtime / "rpod" / "containers").glob("*")]
        found += [str(path) for path in (self.data / "staging").glob("*")]
        return found + self.processes()

    def processes(self) -> list[str]:
        """Command lines of processes that name this home or runtime directory."""
        marks = (os.fsencode(self.home), os.fsencode(self.runtime))
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal() and int(entry.name) != os.getpid():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if any(mark in line for mark in marks):
                    found.append(line.replace(b"\0", b" ").decode("utf-8", "replace"))
        return found

    def cleanups(self) -> list[str]:
        """The pids of what monitors became, ``rpod cleanup ID``, which may still write to the cache."""
        mark = os.fsencode(f"XDG_RUNTIME_DIR={self.runtime}")
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdecimal():
                try:
                    if b"cleanup" in (entry / "cmdline").read_bytes().split(b"\0"):
                        found += [entry.name] if mark in (entry / "environ").read_bytes().split(b"\0") else []
                except OSError:
                    continue
        return found

    def remove_containers(self) -> None:
        """Remove every container, running or not."""
        idents = self("ps", "-aq", "--no-trunc").out.split()
        if idents:
            self("rm", "-f", "-t", "0", *idents, timeout_s=120)

    def remove(self) -> None:
        """Remove everything of this user's, the home directory as well."""
        self.remove_containers()
        wait_for(lambda: not self.cleanups(), what="the end of all cleanups")
        userns.remove_tree_inside(str(self.home))


class Pty:
    """A command in a terminal of its own: ``type`` what a user types, ``expect`` what a user sees."""

    def __init__(self, rpod: Rpod, *args: str, rows: int = 24, columns: int = 80) -> None:
        self._master, self._slave = os.openpty()
        self._unread = b""
        self.seen = b""
        self.resize(rows, columns)
        self.before = self.attributes()
        slave = self._slave
        self.process = rpod.start(
            *args,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        )

    def __enter__(self) -> Pty:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._master)
        os.close(self._slave)

    def resize(self, rows: int, columns: int) -> None:
        """Give the window another size; the kernel tells the foreground process."""
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def attributes(self) -> list[object]:
        """The terminal's settings (termios(3)), with the control characters."""
        return list(termios.tcgetattr(self._slave))

    def set_attributes(self, attributes: list[object]) -> None:
        """Change the terminal's settings, as another program does."""
        termios.tcsetattr(self._slave, termios.TCSANOW, attributes)  # type: ignore[arg-type]

    def type(self, text: str) -> None:
        """Press keys; a line ends with ``\\r``, as the Return key does."""
        os.write(self._master, text.encode())

    def expect(self, text: str, timeout_s: float = 20) -> str:
        """Read until ``text`` is there, and return all that came up to it and was not returned before."""
        wanted = text.encode()
        deadline = time.monotonic() + timeout_s
        while wanted not in self._unread:
            left = deadline - time.monotonic()
            ready = left > 0 and select.select([self._master], [], [], left)[0]
            assert ready, f"{text!r} did not appear:\n{self.seen.decode('utf-8', 'replace')}"
            self._read()
        shown, _, self._unread = self._unread.partition(wanted)
        return (shown + wanted).decode("utf-8", "replace")

    def _read(self) -> None:
        data = os.read(self._master, 65536)
        self.seen += data
        self._unread += data

    def wait(self, timeout_s: float = 20) -> int:
        """Wait for the command's end, reading on; its exit code."""
        deadline = time.monotonic() + timeout_s
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.seen.decode("utf-8", "replace")
            if select.select([self._master], [], [], 0.02)[0]:
                self._read()
        while select.select([self._master], [], [], 0)[0]:
            self._read()
        return self.process.returncode


def wait_for(condition: object, timeout_s: float = 10, what: str = "the condition") -> None:
    """Call ``condition`` until it is true; fail after ``timeout_s``."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout_s} s"
        time.sleep(0.02)


SERVE = ("sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done")


def serve(rpod: Rpod, image: str, *options: str) -> str:
    """A running container that ends with 5 at SIGTERM, and is ready to; its id."""
    ident = rpod.ok("run", "-d", *options, image, *SERVE)
    wait_for(lambda: "up" in rpod.ok("logs", ident))
    return ident

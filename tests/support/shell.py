"""rpod as a user types it: real processes in a home directory of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path


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

    def remove_containers(self) -> None:
        """Remove every container, running or not."""
        idents = self("ps", "-aq", "--no-trunc").out.split()
        if idents:
            self("rm", "-f", "-t", "0", *idents, timeout_s=120)


def wait_for(condition: object, timeout_s: float = 10, what: str = "the condition") -> None:
    """Call ``condition`` until it is true; fail after ``timeout_s``."""
    assert callable(condition)
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout_s} s"
        time.sleep(0.02)

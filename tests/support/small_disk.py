"""rpod as root of a user namespace, on a small tmpfs that only exists there.

The newuidmap of that namespace is given ranges by a file bound over /etc/subuid; without
ranges rpod maps the one id itself, which also works under strace.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from support.shell import Rpod, program

if TYPE_CHECKING:
    from pathlib import Path

# Reads commands from stdin, one a line, and ends every answer with a line of its own.
SHELL = """
set -u
mount -t tmpfs -o size=$SIZE,mode=0700 tmpfs "$DISK"
printf "$IDS" > "$DISK/ids"
mount --bind "$DISK/ids" /etc/subuid
mount --bind "$DISK/ids" /etc/subgid
mkdir -p "$DISK/run" && chmod 700 "$DISK/run"
echo "=== 0"
while read -r line; do
    eval "$line" 2>&1 < /dev/null
    echo "=== $?"
done
"""


class Disk:
    """A shell in a namespace with a small disk; ``do`` runs a line there and returns its code and words."""

    def __init__(self, home: Path, size: str, ids: str = "root:1:65535\n") -> None:
        disk = home / "disk"
        disk.mkdir(parents=True)
        self.rpod = Rpod(disk, disk / "run")
        unshare = ["unshare", "--mount", "--map-root-user", "--map-auto", "bash", "-c", SHELL]
        env = {**self.rpod.env, "DISK": str(disk), "SIZE": size, "IDS": ids, "RPOD": " ".join(program())}
        self._shell = subprocess.Popen(unshare, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def _answer(self) -> tuple[int, str]:
        assert self._shell.stdout is not None
        lines: list[str] = []
        for line in self._shell.stdout:
            mark, _, code = line.rstrip("\n").rpartition("=== ")
            if line.startswith("=== ") or mark:
                return int(code), "".join([*lines, mark])
            lines.append(line)
        raise AssertionError("".join(lines))

    def do(self, line: str) -> tuple[int, str]:
        assert self._shell.stdin is not None
        self._shell.stdin.write(line + "\n")
        self._shell.stdin.flush()
        code, out = self._answer()
        assert "Traceback" not in out, out
        assert "bug in rpod" not in out, out
        return code, out

    def ok(self, line: str) -> str:
        code, out = self.do(line)
        assert code == 0, out
        return out

    def fill(self, free_kib: int) -> None:
        """Leave ``free_kib`` KiB."""
        self.do("rm -f $DISK/filler*")
        self.do("dd if=/dev/zero of=$DISK/filler bs=4k 2>/dev/null")
        if free_kib:
            self.do(f"truncate -s -{free_kib}k $DISK/filler")

    def close(self) -> None:
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        self._shell.stdin.close()
        self._shell.stdout.close()
        self._shell.wait(20)

"""Debian's docker-registry on loopback, plain HTTP: the registry that most tests pull from."""

from __future__ import annotations

import socket
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """\
version: 0.1
log: {{accesslog: {{disabled: true}}, level: error}}
storage: {{filesystem: {{rootdirectory: {root}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PlainRegistry:
    """A running registry: ``address`` is its HOST:PORT. Use it in a ``with`` statement."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._log = directory / "registry.log"
        self._config = directory / "registry.yml"
        directory.mkdir(parents=True, exist_ok=True)
        self._config.write_text(CONFIG.format(root=directory / "registry", port=self.port))

    def __enter__(self) -> PlainRegistry:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(["docker-registry", "serve", str(self._config)], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.__exit__()
                    raise AssertionError(f"docker-registry did not start: {self._log.read_text()}") from None
                time.sleep(0.05)

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def push(self, source: str, name: str) -> str:
        """Push ``source`` (a skopeo name like ``oci:DIR:TAG``) as ``name``; returns the full reference."""
        target = f"{self.address}/{name}"
        argv = [
            "skopeo",
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
            source,
            f"docker://{target}",
        ]
        subprocess.run(argv, check=True, timeout=120, stdin=subprocess.DEVNULL)
        return target

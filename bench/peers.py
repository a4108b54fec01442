"""The two engines of the bench: each with a store of its own, so that nothing of the user's is touched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from support import oci
from support.shell import Rpod, program

FUSE = "/usr/bin/fuse-overlayfs"


class Engine:
    """A command line, its environment, and how its monitor's pid is found."""

    def __init__(self, name: str, argv: list[str], env: dict[str, str], pull: list[str]) -> None:
        self.name = name
        self.argv = argv
        self.env = env
        self.pulling = pull

    def run(self, *args: str) -> None:
        """Run a command to its end, silently. Raises CalledProcessError when it fails.

        Without a timeout: with one, subprocess looks for the end every 50 ms, and that is what would be measured.
        """
        subprocess.run(
            [*self.argv, *args],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=True,
        )

    def run_many(self, commands: list[list[str]], at_once: int) -> None:
        """Run commands silently, up to ``at_once`` at a time. Raises CalledProcessError when one fails."""
        null = subprocess.DEVNULL
        running: list[subprocess.Popen[bytes]] = []
        for command in commands:
            if len(running) == at_once:
                _await(running.pop(0))
            argv = [*self.argv, *command]
            running.append(subprocess.Popen(argv, env=self.env, stdin=null, stdout=null, stderr=null))
        for process in running:
            _await(process)

    def output(self, *args: str) -> str:
        """The standard output of a command. Raises CalledProcessError when it fails."""
        done = subprocess.run(
            [*self.argv, *args], env=self.env, capture_output=True, text=True, timeout=600, check=True
        )
        return done.stdout.strip()

    def pull(self, image: str) -> None:
        """Pull from a registry without TLS."""
        self.output(*self.pulling, image)

    def monitor_pid(self, container: str) -> int:
        """The process that stays for a running container."""
        return int(self.output("inspect", "--format", "{{.State.ConmonPid}}", container))

    def reset(self) -> None:
        """Remove all containers and images."""
        for verb in (["rm", "-f", "-t", "0"], ["rmi", "-f"]):
            listing = ["ps", "-aq"] if verb[0] == "rm" else ["images", "-q"]
            if found := self.output(*listing).split():
                self.output(*verb, *found)


def _await(process: subprocess.Popen[bytes]) -> None:
    if process.wait():
        raise subprocess.CalledProcessError(process.returncode, process.args)


def rpod(folder: Path, runtime: Path, driver: str) -> Engine:
    """The rpod beside this interpreter, with the storage driver ``driver``."""
    runtime.mkdir(mode=0o700, parents=True)
    shell = Rpod(folder, runtime, driver)
    return Engine("rpod", program(), shell.env, ["pull", "--quiet", "--tls-verify=false"])


def podman(folder: Path, runtime: Path, driver: str) -> Engine:
    """Podman with crun, its overlay driver said explicitly, slirp4netns as rpod has it."""
    runtime.mkdir(mode=0o700, parents=True)
    folder.mkdir(parents=True)
    argv = ["podman", "--root", f"{folder}/graph", "--runroot", f"{runtime}/run", "--tmpdir", f"{runtime}/tmp"]
    # In this form, options replace those of storage.conf, so that the user's own choice does not matter.
    argv += ["--storage-driver", "overlay", "--storage-opt"]
    argv += [f"overlay.mount_program={FUSE if driver == 'fuse-overlayfs' else ''}"]
    systemd = (Path(os.environ.get("XDG_RUNTIME_DIR", "")) / "bus").exists()
    argv += ["--runtime", "crun", "--cgroup-manager", "systemd" if systemd else "cgroupfs"]
    return Engine("podman", argv, dict(os.environ), ["pull", "--quiet", "--tls-verify=false"])


MAKERS = {"rpod": rpod, "podman": podman}


def runtimes(folder: Path, runtime: Path) -> tuple[Engine, Engine]:
    """rpod-runtime and crun, in the places of rpod and Podman."""
    env = {**os.environ, "XDG_CACHE_HOME": f"{folder}/cache"}
    ours = oci.install(folder)
    return (
        Engine("rpod", [ours, "--root", f"{runtime}/ours"], env, []),
        Engine("podman", ["crun", "--root", f"{runtime}/crun"], env, []),
    )

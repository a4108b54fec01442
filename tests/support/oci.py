"""OCI bundles, and runtimes as the engines that drive them type their commands."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support import busybox
from support.shell import Done

# The root of a bundle is a directory: no storage driver is behind it, and one pass of the suite is enough.
WANTED = os.environ.get("RPOD_TEST_DRIVER") != "fuse-overlayfs"
CLOSED = ["nosuid", "noexec", "nodev"]
PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


def install(folder: Path) -> str:
    """The rpod-runtime beside this interpreter, else a script for the tree's."""
    installed = Path(sys.executable).with_name("rpod-runtime")
    if installed.exists():
        return str(installed)
    script = folder / "rpod-runtime"
    script.write_text(f"#!{sys.executable}\nfrom rootless.oci.main import main\n\nmain()\n")
    script.chmod(0o755)
    return str(script)


def unpack(folder: Path) -> Path:
    """Busybox's root file system as a directory of this user."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["tar", "-C", str(folder), "--no-same-owner", "-xf", "-"], input=busybox.layer(), check=True)
    folder.chmod(0o755)
    return folder


def document(root: Path, *args: str) -> dict[str, Any]:
    """A config.json with every new namespace, the user's own id as root, and the usual mounts."""
    mounts = [
        {"destination": "/proc", "type": "proc", "source": "proc", "options": CLOSED},
        {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        {
            "destination": "/dev/pts",
            "type": "devpts",
            "source": "devpts",
            "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"],
        },
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
    ]
    return {
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": list(args or ["true"]), "env": [PATH], "cwd": "/"},
        "root": {"path": str(root)},
        "hostname": "box",
        "mounts": mounts,
        "linux": {
            "namespaces": [{"type": kind} for kind in "pid network ipc uts mount user".split()],
            "uidMappings": [{"containerID": 0, "hostID": os.geteuid(), "size": 1}],
            "gidMappings": [{"containerID": 0, "hostID": os.getegid(), "size": 1}],
        },
    }


def changed(base: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of ``base`` with ``value`` at the dotted ``path``; None removes what is there."""
    result = copy.deepcopy(base)
    *parents, last = path.split(".")
    place: Any = result
    for name in parents:
        place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
    if value is None:
        del place[last]
    elif isinstance(place, list):
        place[int(last)] = value
    else:
        place[last] = value
    return result


def shell(spec: dict[str, Any], script: str) -> dict[str, Any]:
    """The same spec whose program is a shell script."""
    return changed(spec, "process.args", ["sh", "-c", script])


class Runtime:
    """One OCI runtime with a state directory of its own."""

    def __init__(self, program: str, root: Path) -> None:
        self.program = program
        self.root = root

    def __call__(self, *args: str, stdin: bytes = b"", timeout_s: float = 60, **more: Any) -> Done:
        argv = [self.program, "--root", str(self.root), *args]
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=timeout_s, check=False, **more)
        return Done([Path(self.program).name, *args], done.returncode, done.stdout, done.stderr)

    def ok(self, *args: str, **more: Any) -> str:
        """The output of a command that must succeed."""
        done = self(*args, **more)
        assert done.code == 0, done
        return done.out.rstrip("\n")

    def detached(self, *args: str) -> None:
        """A command whose container keeps the streams: they are closed to it."""
        null = subprocess.DEVNULL
        argv = [self.program, "--root", str(self.root), *args]
        subprocess.run(argv, stdin=null, stdout=null, stderr=null, check=True, timeout=60)

    def state(self, ident: str) -> dict[str, Any]:
        """What ``state`` prints."""
        return json.loads(self.ok("state", ident))  # type: ignore[no-any-return]

    def status(self, ident: str) -> str:
        """The status of a container."""
        return str(self.state(ident)["status"])

    def run(self, bundle: Path, spec: dict[str, Any], *args: str, **more: Any) -> Done:
        """``run`` a container of ``spec`` to its end."""
        write(bundle, spec)
        return self("run", "--bundle", str(bundle), *args, "c", **more)


def write(bundle: Path, spec: dict[str, Any]) -> Path:
    """Write the bundle's config.json."""
    bundle.mkdir(parents=True, exist_ok=True)
    (bundle / "config.json").write_text(json.dumps(spec))
    return bundle

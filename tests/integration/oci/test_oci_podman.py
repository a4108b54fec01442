"""Debian's podman, with conmon, and buildah over rpod-runtime."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import busybox, oci
from support.shell import Done, Pty, wait_for

from rootless.kernel import userns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.shell import Rpod

pytestmark = pytest.mark.skipif(not oci.WANTED, reason="rpod-runtime has no storage driver")


class Engine:
    """podman and buildah on one store, with rpod-runtime as their runtime."""

    def __init__(self, folder: Path, runtime: Path, program: str) -> None:
        self.program = program
        store = ["--root", str(folder / "graph"), "--runroot", str(runtime / "run"), "--storage-driver", "vfs"]
        self.podman_argv = ["podman", *store, "--tmpdir", str(runtime / "tmp"), "--cgroup-manager", "cgroupfs"]
        self.podman_argv += ["--runtime", program]
        self.buildah_argv = ["buildah", *store]
        # The user's own configuration, and the systemd and bus of a login, are not in it.
        own = {
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(runtime),
            "BUILDAH_ISOLATION": "rootless",
            "TMPDIR": str(folder),
        }
        self.env = {key: value for key, value in os.environ.items() if not key.startswith(("XDG_", "DBUS_"))} | own

    def run(self, argv: list[str], stdin: bytes = b"") -> Done:
        done = subprocess.run(argv, env=self.env, input=stdin, capture_output=True, timeout=100, check=False)
        return Done(argv, done.returncode, done.stdout, done.stderr)

    def __call__(self, *args: str, stdin: bytes = b"") -> Done:
        return self.run([*self.podman_argv, *args], stdin)

    def ok(self, *args: str, stdin: bytes = b"") -> str:
        done = self(*args, stdin=stdin)
        assert done.code == 0, done
        return done.out.rstrip("\n")

    def start(self, *args: str, **options: Any) -> subprocess.Popen[bytes]:
        """For a Pty."""
        return subprocess.Popen([*self.podman_argv, *args], env=self.env, **options)

    def buildah(self, *args: str) -> Done:
        return self.run([*self.buildah_argv, *args])


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory, runtime_base: Path) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("podman")
    runtime = Path(tempfile.mkdtemp(prefix="p", dir=runtime_base))
    engine = Engine(folder, runtime, oci.install(folder))
    engine.ok("import", "--change", 'CMD ["sh"]', "--change", "ENV PATH=/bin", "-", "bb", stdin=busybox.layer())
    yield engine
    engine("rm", "-fat", "0")
    try:
        # A container that was run with --rm is removed by podman's own cleanup, which nobody waits for.
        wait_for(lambda: list((runtime / "rpod-runtime").iterdir()) == [], what="nothing of the runtime's is left")
    finally:
        for path in (folder, runtime):
            userns.remove_tree_inside(str(path))


@pytest.fixture
def box(podman: Engine) -> Iterator[str]:
    podman.ok(
        "run",
        "-d",
        "--name",
        "box",
        "--network",
        "none",
        "bb",
        "sh",
        "-c",
        "echo said; trap 'exit 3' TERM; sleep 1000 & wait",
    )
    wait_for(lambda: podman.ok("logs", "box") == "said", what="the log")
    yield "box"
    podman("rm", "-f", "-t", "0", "box")


def test_run(podman: Engine) -> None:
    assert podman.ok("run", "--rm", "bb", "echo", "hi") == "hi"
    assert podman.ok("run", "--rm", "-i", "--network", "none", "bb", "cat", stdin=b"through\n") == "through"
    assert podman("run", "--rm", "--network", "none", "bb", "sh", "-c", "exit 5").code == 5
    assert podman("run", "--rm", "--network", "none", "bb", "nope").code == 127
    assert podman("run", "--rm", "--network", "none", "bb", "/etc/passwd").code == 126


@pytest.mark.parametrize(
    ("options", "script", "wanted"),
    [
        (["--user", "1000", "--group-add", "5"], "id -u; id -G", ["1000", "1000", "5", "2000"]),
        (["--read-only", "--tmpfs", "/t"], "touch /x || touch /t/x && echo only", ["only"]),
        (["--userns", "keep-id"], "id -u", [str(os.getuid())]),
        (["--uidmap", "0:5:100"], "cut -c1-44 /proc/self/uid_map", ["0", "5", "100"]),
        (
            ["--cap-drop", "all", "--security-opt", "no-new-privileges"],
            "grep -c 'CapEff.*0000000000000000' /proc/self/status",
            ["1"],
        ),
        (["--ulimit", "nofile=99:99", "--hostname", "me"], "ulimit -n; hostname", ["99", "me"]),
        (["--network", "host", "--pid", "host"], "test $$ -gt 2 && echo host", ["host"]),
        (["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", ["1"]),
        (["--privileged"], "grep -c CapEff.*ffffffff /proc/self/status", ["1"]),
        (["--oom-score-adj", "700"], "cat /proc/self/oom_score_adj", ["700"]),
    ],
)
def test_options(podman: Engine, options: list[str], script: str, wanted: list[str]) -> None:
    network = [] if "--network" in options else ["--network", "none"]
    assert podman.ok("run", "--rm", *network, *options, "bb", "sh", "-c", script).split() == wanted


def test_volumes(podman: Engine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine\n")
    mounts = [
        "-v",
        f"{tmp_path}:/ro:ro",
        "-v",
        f"{tmp_path}:/rw",
        "--mount",
        "type=tmpfs,destination=/t,tmpfs-mode=700",
    ]
    script = "cat /ro/file; touch /ro/x 2>/dev/null || touch /rw/y; stat -c %a /t"
    assert podman.ok("run", "--rm", "--network", "none", *mounts, "bb", "sh", "-c", script).split() == ["mine", "700"]
    assert (tmp_path / "y").exists() and not (tmp_path / "x").exists()


def test_exec(podman: Engine, box: str) -> None:
    assert podman.ok("exec", "-e", "A=b", "-w", "/var", box, "sh", "-c", "echo $A $PWD") == "b /var"
    assert podman.ok("exec", "-i", "-u", "1000", box, "sh", "-c", "id -u; cat", stdin=b"in") == "1000\nin"
    assert podman("exec", box, "sh", "-c", "exit 9").code == 9
    assert podman("exec", box, "nope").code == 127
    podman.ok("exec", "-d", box, "sh", "-c", "echo > /made")
    wait_for(lambda: podman("exec", box, "test", "-e", "/made").code == 0, what="the detached program ran")
    assert "sleep 1000" in podman.ok("top", box)


def test_pause_stop_start_and_rm(podman: Engine, box: str) -> None:
    podman.ok("pause", box)
    assert podman.ok("inspect", "--format", "{{.State.Status}}", box) == "paused"
    podman.ok("unpause", box)
    podman.ok("stop", "-t", "20", box)
    assert podman.ok("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", box) == "exited 3"
    podman.ok("start", box)
    podman.ok("restart", "-t", "0", box)
    podman.ok("kill", box)
    assert podman.ok("wait", box) == "137"
    podman.ok("rm", box)
    assert podman.ok("ps", "-aq") == ""


def test_a_terminal(podman: Engine, box: str) -> None:
    # How a line ends depends on who is first, conmon that sets the terminal or the shell that keeps its settings.
    with Pty(podman, "run", "--rm", "-it", "--network", "none", "bb", "sh") as pty:
        pty.type("tty; stty size\r")
        pty.expect("/dev/pts/0")
        pty.expect("24 80")
        pty.type("exit 4\r")
        assert pty.wait() == 4
    with Pty(podman, "exec", "-it", box, "sh") as pty:
        pty.type("test -t 0 && echo it' 'is one\r")
        pty.expect("it is one")
        pty.type("exit 6\r")
        assert pty.wait() == 6


def test_buildah(podman: Engine, tmp_path: Path) -> None:
    name = podman.buildah("from", "localhost/bb").out.strip()
    run = ["run", "--runtime", podman.program, "--network", "host"]
    assert podman.buildah(*run, name, "sh", "-c", "echo from inside; id -u").out.split() == ["from", "inside", "0"]
    assert podman.buildah(*run, name, "sh", "-c", "exit 3").code == 3
    podman.buildah("rm", name)
    (tmp_path / "Containerfile").write_text(
        "FROM localhost/bb\nRUN echo built > /made && id\nUSER 1000\nRUN test $(id -u) = 1000\n"
    )
    done = podman.buildah(
        "bud", "--runtime", podman.program, "--network", "host", "-t", "localhost/made", str(tmp_path)
    )
    assert done.code == 0, done
    assert podman.ok("run", "--rm", "--network", "none", "localhost/made", "cat", "/made") == "built"


# What podman keeps in annotations and for a later step, and what rpod does not record or measure.
_PODMAN_S_OWN = ("Config.Annotations", "NeedsChown", "HostConfig.PublishAllPorts", "SharedSize")


def _fields(value: Any, path: str = "") -> Iterator[str]:
    """``State.Health.Status``: the name of every field, those of a list's first element included."""
    if isinstance(value, list):
        value = value[0] if value else None
    if isinstance(value, dict):
        for key, inner in value.items():
            name = f"{path}.{key}".lstrip(".")
            yield name
            yield from _fields(inner, name)


def test_inspect_ps_and_images_have_every_field_of_podman_s(podman: Engine, rpod: Rpod, image: str) -> None:
    words = ["--name", "same", "-v", "kept:/v", "--tmpfs", "/t", "-p", "127.0.0.1:8000:80", "-l", "a=b"]
    words += ["--health-cmd", "true", "--ulimit", "nofile=100:200", "--cap-drop", "kill", "--stop-timeout", "3"]
    podman.ok("create", *words, "bb", "sleep", "9")
    rpod.ok("create", *words, image, "sleep", "9")
    try:
        commands = (("inspect", "same"), ("ps", "-a", "--format", "json"), ("volume", "inspect", "kept"))
        for command in (*commands, ("images", "--format", "json")):
            (theirs, *_), (ours, *_) = (json.loads(engine.ok(*command)) for engine in (podman, rpod))
            if command[0] == "images":  # those of other tests have labels of their own
                theirs.pop("Labels")
            missing = set(_fields(theirs)) - set(_fields(ours))
            assert {name for name in missing if not name.startswith(_PODMAN_S_OWN)} == set(), command
        (told,) = json.loads(rpod.ok("inspect", "same"))
        assert told["HostConfig"]["CapDrop"] == ["CAP_KILL"]
        assert list(told["HostConfig"]["Tmpfs"]) == ["/t"]
        assert {mount["Propagation"] for mount in told["Mounts"]} == {"rprivate"}
        assert rpod.ok("ps", "-a", "--format", '{{index .Labels "a"}} {{.Label "a"}} {{.Labels.a}}') == "b b b"
        table = rpod.ok("ps", "-a", "--format", "table {{.Names}} {{.State}}")
        assert table.split() == "NAMES STATE same created".split()
        rpod.fails("volume", "inspect", "nope", code=125)
    finally:
        podman.ok("rm", "-f", "same")

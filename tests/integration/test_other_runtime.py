"""``--runtime``: crun, runc and rpod-runtime start the engine's containers, by option and by configuration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from support import oci
from support.shell import Pty, wait_for
from test_limits import CONTROLLERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.shell import Rpod

NAMES = ("crun", "runc", "rpod-runtime")


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return oci.install(tmp_path) if request.param == "rpod-runtime" else request.param


def recording(tmp_path: Path, fails: str = "") -> tuple[Path, Callable[[], list[str]]]:
    """A runtime at a path: crun, which notes its verbs, and ends with 9 at ``fails``; and what it has noted."""
    log, script = tmp_path / "verbs", tmp_path / "my-runtime"
    log.touch()
    script.write_text(
        f'#!/bin/sh\nfor word; do case $word in create|start|delete) echo "$word" >> {log}\n'
        f'[ "$word" != "{fails}" ] || exit 9;; esac; done\nexec crun "$@"\n'
    )
    script.chmod(0o755)
    return script, lambda: log.read_text().split()


def test_run_and_its_exit_codes(rpod: Rpod, image: str, name: str) -> None:
    run = ("--runtime", name, "run", "--rm")
    done = rpod(*run, "-i", image, "sh", "-c", "cat; echo no >&2; exit 5", stdin=b"through")
    assert (done.code, done.out, done.err) == (5, "through", "no\n"), done
    assert "nope" in rpod.fails(*run, image, "nope", code=127)
    assert "denied" in rpod.fails(*run, image, "/etc/passwd", code=126).lower()
    assert rpod.ok("run", "--runtime", name, "--rm", "--user", "1000:5", image, "id", "-u") == "1000"
    assert rpod.ok("ps", "-aq") == ""


def test_the_whole_life(rpod: Rpod, image: str, name: str) -> None:
    script = "trap 'exit 3' TERM; echo said; sleep 1000 & wait"
    rpod.ok("--runtime", name, "run", "-d", "--name", "box", image, "sh", "-c", script)
    wait_for(lambda: rpod.ok("logs", "box") == "said", what="the log")
    assert rpod.ok("inspect", "-f", "{{.OCIRuntime}}", "box") == os.path.basename(name)
    assert rpod.ok("exec", "-i", "box", "sh", "-c", "cat; cat /proc/1/comm", stdin=b"in ") == "in sh"
    assert "sleep 1000" in rpod.ok("top", "box", "-o", "args")
    rpod.ok("pause", "box")
    assert "paused" in rpod.fails("exec", "box", "true")
    rpod.ok("unpause", "box")
    assert rpod.ok("cp", "box:/etc/passwd", "-")
    rpod.ok("stop", "-t", "20", "box")
    assert rpod.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "box") == "exited 3"
    rpod.ok("start", "box")
    rpod.ok("restart", "-t", "0", "box")
    rpod.ok("kill", "box")
    assert rpod.ok("wait", "box") == "137"
    state = rpod.data / "containers"
    wait_for(lambda: not list(state.glob("*/runtime")), what="the runtime's own state is gone")
    rpod.ok("rm", "box")


def test_a_start_right_after_a_stop(rpod: Rpod, image: str, name: str) -> None:
    """What cleans up behind the end must not take away what the next start has made."""
    rpod.ok("--runtime", name, "run", "-d", "--name", "box", image, "sleep", "1000")
    for _ in range(8):
        rpod.ok("stop", "-t", "0", "box")
        rpod.ok("start", "box")
    assert rpod.ok("exec", "box", "echo", "runs") == "runs"


def test_a_removal_while_the_end_is_cleaned_up(rpod: Rpod, image: str, name: str) -> None:
    """The runtime's own "delete" makes directories: none may come back behind the removal."""
    for _ in range(8):
        rpod.ok("--runtime", name, "run", "-d", "--name", "box", image, "sleep", "1000")
        rpod.ok("rm", "-f", "-t", "0", "box")
    wait_for(lambda: rpod.leftovers() == [], what="nothing left behind")


def test_set_up_before_it_starts(rpod: Rpod, image: str, name: str) -> None:
    rpod.ok("--runtime", name, "create", "--name", "box", image, "echo", "from the gate")
    rpod.ok("init", "box")
    assert rpod.ok("inspect", "-f", "{{.State.Status}}", "box") == "initialized"
    assert rpod.ok("start", "-a", "box") == "from the gate"
    rpod.ok("init", "box")
    os.kill(int(rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", "box")), signal.SIGKILL)
    wait_for(lambda: rpod.ok("inspect", "-f", "{{.State.Status}}", "box") == "exited", what="the end")
    rpod.ok("rm", "box")


def test_a_terminal(rpod: Rpod, image: str, name: str) -> None:
    with Pty(rpod, "--runtime", name, "run", "--rm", "-it", image, "sh", rows=33, columns=99) as pty:
        pty.expect("# ")
        pty.type("tty; stty size\r")
        pty.expect("/dev/pts/0\r\n33 99\r\n")
        pty.resize(40, 100)
        wait_for(lambda: pty.type("stty size\r") or "40 100" in pty.expect("# "), what="the new size")
        pty.type("exit 4\r")
        assert pty.wait() == 4
        assert pty.attributes() == pty.before


def test_mounts(rpod: Rpod, image: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    rpod.ok("run", "--rm", "-v", "vol:/etc", image, "sh", "-c", "mkdir /etc/sub && echo volume >/etc/sub/file")
    run = ("--runtime", name, "run", "--rm")
    mounts = [
        *("-v", f"{tmp_path}:/ro:ro", "-v", f"{tmp_path}:/over:O", "--tmpfs", "/t:size=1m"),
        *("--mount", f"type=image,src={image},dst=/image,rw=true"),
        *("--mount", "type=volume,src=vol,dst=/part,subpath=sub"),
    ]
    script = (
        "cat /part/file; touch /over/x /image/x /t/x && test -e /over/sub; touch /ro/x 2>/dev/null || echo closed; "
        "df -k /t | tail -1 | tr -s ' ' | cut -d ' ' -f 2"
    )
    assert rpod.ok(*run, *mounts, image, "sh", "-c", script).splitlines() == ["volume", "closed", "1024"]
    assert [path.name for path in tmp_path.iterdir() if path.name != "rpod-runtime"] == ["sub"]
    out = rpod.ok(*run, "--user", "1000", "-v", "vol:/mine:U", image, "stat", "-c", "%u", "/mine", "/mine/sub/file")
    assert out.split() == ["1000", "1000"]
    rpod.ok("volume", "rm", "vol")
    # A new volume is filled with what the image has there.
    assert "passwd" in rpod.ok(*run, "-v", "vol:/etc", image, "ls", "/etc")
    rpod.ok("volume", "rm", "vol")


@pytest.mark.parametrize(
    ("options", "script", "wanted"),
    [
        (["--userns", "keep-id"], "id -u", [str(os.getuid())]),
        (["--init"], "cat /proc/1/comm", [".rpod-init"]),
        (["--read-only"], "touch /x 2>/dev/null || touch /tmp/x && echo only", ["only"]),
        (["--cap-drop", "all"], "grep -c 'CapBnd.*0000000000000000' /proc/self/status", ["1"]),
        ([], "grep Seccomp: /proc/self/status", ["Seccomp:", "2"]),
        (["--ulimit", "nofile=99:99", "--hostname", "me", "--umask", "077"], "ulimit -n; hostname; umask", None),
        (["--network", "host", "--uts", "host"], "hostname", [os.uname().nodename]),
        (["--device", "/dev/null:/dev/mine"], "test -c /dev/mine && echo there", ["there"]),
        (["--oom-score-adj", "700"], "cat /proc/self/oom_score_adj", ["700"]),
        (["--timens", "offset:boottime=864000"], "test $(cut -d. -f1 /proc/uptime) -gt 864000 && echo late", ["late"]),
        (["--sysctl", "net.ipv4.ip_forward=1"], "cat /proc/sys/net/ipv4/ip_forward", ["1"]),
        (["-w", "/made/here", "-e", "A=b"], "pwd; echo $A", ["/made/here", "b"]),
    ],
)
def test_options(rpod: Rpod, image: str, name: str, options: list[str], script: str, wanted: list[str] | None) -> None:
    out = rpod.ok("--runtime", name, "run", "--rm", *options, image, "sh", "-c", script)
    assert out.split() == (wanted or ["99", "me", "0077"])


def test_the_personality_is_inherited(rpod: Rpod, image: str, name: str) -> None:
    """runc of 2023 ignores it in config.json, and rpod-runtime itself is told another machine under it."""
    assert rpod.ok("--runtime", name, "run", "--rm", "--personality", "LINUX32", image, "uname", "-m") == "i686"


@pytest.mark.skipif("pids" not in CONTROLLERS, reason="no controller for a limit")
def test_limits_are_rpods(rpod: Rpod, image: str, name: str) -> None:
    words = ("--runtime", name, "run", "--rm", "--pids-limit", "77", image, "cat", "/sys/fs/cgroup/pids.max")
    assert rpod.ok(*words) == "77"


def test_network_and_joined_namespaces(rpod: Rpod, image: str, name: str) -> None:
    run = ("--runtime", name, "run")
    web = ("-d", "--name", "web", "-p", "127.0.0.1::80", image, "httpd", "-f", "-p", "80", "-h", "/etc")
    rpod.ok(*run, *web)
    port = rpod.ok("port", "web", "80").rpartition(":")[2]
    fetch = ["curl", "--silent", "--fail", f"http://127.0.0.1:{port}/hostname"]
    wait_for(lambda: subprocess.run(fetch, capture_output=True, check=False).returncode == 0, what="an answer")
    joins = ("--network", "container:web", "--pid", "container:web", "--ipc", "container:web")
    script = "cat /proc/1/comm; wget -q -O - http://127.0.0.1/hostname"
    for words in ((*run, "--rm", *joins), ("run", "--rm", *joins)):
        assert rpod.ok(*words, image, "sh", "-c", script).split() == ["httpd", rpod.ok("exec", "web", "hostname")]
    rpod.ok("rm", "-f", "-t", "0", "web")


def test_descriptors(rpod: Rpod, image: str, name: str, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("by number")
    words = ["--runtime", name, "run", "--rm", "--preserve-fds", "1", image, "cat", "/proc/self/fd/3"]
    with rpod.start(
        *words, stdout=subprocess.PIPE, preexec_fn=lambda: _as_three(tmp_path / "given"), close_fds=False
    ) as p:
        assert p.communicate(timeout=60)[0] == b"by number"


def _as_three(path: Path) -> None:
    os.dup2(os.open(path, os.O_RDONLY), 3, inheritable=True)


def test_the_policy_starts_it_again(rpod: Rpod, image: str, tmp_path: Path) -> None:
    program, verbs = recording(tmp_path)
    rpod.ok("--runtime", str(program), "run", "-d", "--name", "again", "--restart", "on-failure:1", image, "false")
    wait_for(lambda: verbs().count("delete") == 2, what="two lives")
    assert [verb for verb in verbs() if verb != "delete"] == ["create", "start"] * 2
    wait_for(lambda: rpod.ok("inspect", "-f", "{{.State.Status}}", "again") == "exited", what="the end")
    rpod.ok("rm", "again")


def test_hooks_are_the_runtimes(rpod: Rpod, image: str, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\ncat > {tmp_path}/state\n")
    hook.chmod(0o755)
    folder = rpod.home / "config" / "cdi"
    folder.mkdir(parents=True, exist_ok=True)
    edits = {"hooks": [{"hookName": "createContainer", "path": str(hook)}]}
    device = {"name": "0", "containerEdits": {"env": ["A=b"]}}
    document = {"cdiVersion": "0.6.0", "kind": "example.com/hooked", "devices": [device], "containerEdits": edits}
    (folder / "hooked.json").write_text(json.dumps(document))
    try:
        rpod.ok("--runtime", "crun", "run", "--rm", "--device", "example.com/hooked=0", image, "true")
    finally:
        (folder / "hooked.json").unlink()
    assert json.loads((tmp_path / "state").read_text())["bundle"].endswith("/runtime")


def test_chosen_in_the_configuration(fresh_rpod: Rpod, image: str, session_rpod: Rpod, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    session_rpod.ok("save", "-q", "-o", str(archive), image)
    fresh_rpod.ok("load", "-q", "-i", str(archive))
    own = fresh_rpod.home / "config" / "rpod" / "containers.toml"
    before = own.read_text() if own.exists() else ""
    fresh_rpod.configure(f'{before}[engine]\nruntime = "crun"\n')
    fresh_rpod.ok("run", "--name", "one", image, "true")
    assert fresh_rpod.ok("inspect", "-f", "{{.OCIRuntime}}", "one") == "crun"
    assert fresh_rpod.ok("info", "-f", "{{.Host.OCIRuntime.Name}}") == "crun"
    fresh_rpod.ok("--runtime", "rpod", "run", "--name", "two", image, "true")
    assert fresh_rpod.ok("inspect", "-f", "{{.OCIRuntime}}", "two") == "rpod"
    fresh_rpod.configure(before)
    fresh_rpod.ok("start", "-a", "one")  # a container keeps the runtime that it was made with
    assert fresh_rpod.ok("inspect", "-f", "{{.OCIRuntime}}", "one") == "crun"
    assert fresh_rpod.ok("info", "-f", "{{.Host.OCIRuntime.Name}}") == "rpod"


@pytest.mark.parametrize("fails", ["create", "start"])
def test_a_runtime_that_fails_leaves_nothing(rpod: Rpod, image: str, tmp_path: Path, fails: str) -> None:
    program, verbs = recording(tmp_path, fails)
    said = rpod.fails("--runtime", str(program), "run", "--rm", image, "true", code=125)
    assert f"my-runtime {fails}: it ended with 9" in said
    assert "delete" in verbs()
    rpod.ok("--runtime", str(program), "create", "--name", "kept", image, "true")
    rpod.fails("start", "kept", code=125)
    assert rpod.ok("inspect", "-f", "{{.State.Status}}", "kept") == "created"
    assert rpod.processes() == []
    program.unlink()
    assert "my-runtime" in rpod.fails("start", "kept")
    rpod.ok("rm", "kept")


def test_a_killed_monitor_ends_it_with_the_next_command(rpod: Rpod, image: str, name: str) -> None:
    rpod.ok("--runtime", name, "run", "-d", "--name", "box", image, "sleep", "1000")
    pid = int(rpod.ok("inspect", "-f", "{{.State.Pid}}", "box"))
    os.kill(int(rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", "box")), signal.SIGKILL)
    wait_for(lambda: "Exited (137)" in rpod.ok("ps", "-a", "--format", "{{.Status}}"), what="the end")
    wait_for(lambda: not os.path.exists(f"/proc/{pid}/cwd"), what="the program's end")
    rpod.ok("rm", "box")


def test_what_does_not_work_is_refused(rpod: Rpod, image: str, tmp_path: Path) -> None:
    for wrong in ("no-such-runtime", "/no/such/path", "/etc", "/etc/passwd"):
        assert f"--runtime {wrong}: " in rpod.fails("--runtime", wrong, "run", "--rm", image, "true")
    assert "your own id" in rpod.fails("--runtime", "crun", "run", "--rm", "--userns", "nomap", image, "true")
    assert "--preserve-fd" in rpod.fails("--runtime", "crun", "run", "--rm", "--preserve-fd", "0", image, "true")
    assert rpod.ok("ps", "-aq") == ""


def test_a_wrong_runtime_in_the_configuration_is_named_by_file_and_key(fresh_rpod: Rpod) -> None:
    own = fresh_rpod.home / "config" / "rpod" / "containers.toml"
    before = own.read_text() if own.exists() else ""
    line = before.count("\n") + 2
    fresh_rpod.configure(f'{before}[engine]\nruntime = "no-such-runtime"\n')
    for words in (["run", "--rm", "hello"], ["create", "hello"], ["info"]):
        assert f"{own}:{line}: engine.runtime = no-such-runtime: there is no" in fresh_rpod.fails(*words)
    assert "--runtime neither: there" in fresh_rpod.fails("--runtime", "neither", "run", "--rm", "hello")
    assert "--runtime neither: there" in fresh_rpod.fails("run", "--runtime", "neither", "--rm", "hello")
    fresh_rpod.ok("run", "--runtime", "rpod", "--rm", "hello")
    fresh_rpod.configure(f'{before}[engine]\nruntime = "crun"\n')
    assert f":{line}: engine.runtime = crun needs" in fresh_rpod.fails("run", "--rm", "--userns", "nomap", "hello")

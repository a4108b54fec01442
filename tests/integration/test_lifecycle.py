"""create, start, stop, restart, kill, rm, wait, ps, rename, inspect, top and port, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest
from support.shell import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

SERVE = ("sh", "-c", "trap 'exit 5' TERM; echo up; while :; do sleep 0.1; done")


def status(rpod: Rpod, name: str) -> str:
    return rpod.ok("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", name)


def has_open(pid: int, name: str) -> bool:
    """Whether a process has a file of that name open."""
    try:
        return any(os.readlink(f"/proc/{pid}/fd/{fd}").endswith(f"/{name}") for fd in os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return False


def serve(rpod: Rpod, image: str, *options: str) -> str:
    """A running container that ends with 5 at SIGTERM, and is ready to."""
    ident = rpod.ok("run", "-d", *options, image, *SERVE)
    wait_for(lambda: "up" in rpod.ok("logs", ident))
    return ident


def test_the_whole_life(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("create", "--name", "life", image, *SERVE)
    assert len(ident) == 64
    assert status(rpod, "life") == "created 0"
    assert rpod.ok("ps", "-q") == ""
    assert rpod.ok("start", "life") == "life"
    assert status(rpod, "life") == "running 0"
    assert rpod.ok("ps", "-q") == ident[:12]
    wait_for(lambda: rpod.ok("logs", "life") == "up")
    assert rpod.ok("stop", "life") == "life"
    assert status(rpod, "life") == "exited 5"
    assert rpod.ok("start", ident[:6]) == ident[:6]
    assert rpod.ok("restart", "-t", "1", "life") == "life"
    assert status(rpod, "life") == "running 0"
    assert rpod.ok("kill", "life") == "life"
    assert rpod.ok("wait", "life") == "137"
    assert rpod.ok("rm", "life") == "life"
    assert rpod.ok("ps", "-aq") == ""


def test_what_a_container_wrote_survives_a_restart(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "keeps", image, "sh", "-c", "echo x >>/count; wc -l </count")
    assert [rpod.ok("start", "-a", "keeps").strip() for _ in range(3)] == ["1", "2", "3"]


def test_start_attached_gives_the_exit_code_and_takes_input(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "-i", "--name", "in", image, "sh", "-c", "read line; echo got $line; exit 6")
    done = rpod("start", "-ai", "in", stdin=b"words\n")
    assert (done.out, done.code) == ("got words\n", 6)


def test_a_start_that_fails_leaves_what_was(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    mount = f"{tmp_path}/gone:/gone"
    rpod.ok("create", "--name", "new", "-v", mount, image, "true")
    assert rpod("run", "--name", "old", "-v", mount, image, "sh", "-c", "exit 3").code == 3
    (tmp_path / "gone").rmdir()
    finished = rpod.ok("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "old")
    for name in ("new", "old"):
        assert "gone" in rpod.fails("start", name)
    assert status(rpod, "new") == "created 0"
    assert status(rpod, "old") == "exited 3"
    assert rpod.ok("inspect", "-f", "{{.State.StartedAt}} {{.State.FinishedAt}}", "old") == finished
    (tmp_path / "gone").mkdir()
    assert rpod("start", "-a", "old").code == 3


def test_starting_and_stopping_twice_is_harmless(rpod: Rpod, image: str) -> None:
    serve(rpod, image, "--name", "twice")
    rpod.ok("start", "twice")
    assert rpod.ok("stop", "twice") == rpod.ok("stop", "twice") == "twice"
    assert status(rpod, "twice") == "exited 5"


def test_verbs_on_the_wrong_state(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "idle", image, "true")
    assert "idle" in rpod.fails("kill", "idle")
    assert "idle" in rpod.fails("exec", "idle", "true")
    assert "idle" in rpod.fails("top", "idle")
    assert "idle" in rpod.fails("attach", "idle")
    serve(rpod, image, "--name", "busy")
    message = rpod.fails("rm", "busy", code=2)
    assert "running" in message
    assert "rm -f" in message
    assert status(rpod, "busy") == "running 0"
    assert rpod.ok("rm", "-f", "-t", "0", "busy") == "busy"


@pytest.mark.parametrize("verb", ["start", "stop", "restart", "kill", "wait", "logs", "inspect", "top", "port"])
def test_a_container_that_is_not_there(rpod: Rpod, verb: str) -> None:
    message = rpod.fails(verb, "nobody")
    assert "nobody" in message
    assert len(message.splitlines()) <= 2


def test_remove_what_is_not_there(rpod: Rpod) -> None:
    assert "nobody" in rpod.fails("rm", "nobody", code=1)
    rpod.ok("rm", "-f", "nobody")
    rpod.ok("rm", "--ignore", "nobody")


def test_what_shares_namespaces_holds_a_container(rpod: Rpod, image: str) -> None:
    owner = rpod.ok("run", "-d", "--name", "owner", image, "sleep", "1000")
    user = rpod.ok("run", "-d", "--name", "user", "--network", "container:owner", image, "sleep", "1000")
    message = rpod.fails("rm", "-f", "-t", "0", "owner")
    assert "user depends on it" in message
    assert "--depend" in message
    assert rpod.ok("rm", "-f", "-t", "0", "--depend", "owner").split() == [user, "owner"]
    owner = rpod.ok("create", "--name", "owner", image, "true")
    user = rpod.ok("create", "--name", "user", "--ipc", "container:owner", image, "true")
    assert rpod.ok("rm", "-a").split() == [user, owner]
    rpod.ok("create", "--name", "owner", image, "true")
    rpod.ok("create", "--name", "user", "--ipc", "container:owner", image, "true")
    ident = rpod.ok("inspect", "-f", "{{.Id}}", "owner")
    assert len(list((rpod.data / "containers" / ident / "dependents").iterdir())) == 1
    rpod.ok("rm", "user")
    assert list((rpod.data / "containers" / ident / "dependents").iterdir()) == []
    rpod.ok("rm", "owner")


def test_container_exists(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("create", "--name", "here", image, "true")
    for word in ("here", ident, ident[:4]):
        assert rpod("container", "exists", word).code == 0
    gone = rpod("container", "exists", "nobody")
    assert (gone.code, gone.out, gone.err) == (1, "", "")


def test_container_prune(rpod: Rpod, image: str) -> None:
    made = rpod.ok("create", "--name", "made", "--label", "keep", image, "true")
    assert rpod("run", "--name", "ended", image, "true").code == 0
    ended = rpod.ok("inspect", "-f", "{{.Id}}", "ended")
    serve(rpod, image, "--name", "busy")
    asked = rpod("container", "prune", stdin=b"n\n")
    assert "WARNING" in asked.out
    assert len(rpod.ok("ps", "-aq").split()) == 3
    assert rpod.ok("container", "prune", "-f", "--filter", "label!=keep").split() == [ended]
    assert rpod("container", "prune", stdin=b"y\n").out.split()[-1] == made
    assert rpod.ok("ps", "-a", "--format", "{{.Names}}") == "busy"
    assert "colour" in rpod.fails("container", "prune", "-f", "--filter", "colour=red")


def test_container_cleanup(rpod: Rpod, image: str) -> None:
    assert rpod("run", "--name", "ended", image, "sh", "-c", "exit 3").code == 3
    assert rpod.ok("container", "cleanup", "ended") == "ended"
    assert status(rpod, "ended") == "exited 3"
    serve(rpod, image, "--name", "busy")
    assert "busy is running" in rpod.fails("container", "cleanup", "busy")
    assert len(rpod.ok("container", "cleanup", "--all").split()) == 1
    rpod.ok("container", "cleanup", "--rm", "ended")
    assert rpod("container", "exists", "ended").code == 1


def test_start_attached_to_what_runs_joins_it(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "joined", image, "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 7")
    joined = rpod.start("start", "-a", "joined")
    time.sleep(0.2)
    assert joined.poll() is None
    rpod.ok("exec", "joined", "touch", "/go")
    assert joined.wait(20) == 7


def test_kill_sends_any_signal(rpod: Rpod, image: str) -> None:
    script = "trap 'echo usr1' USR1; echo up; while :; do sleep 0.1; done"
    rpod.ok("run", "-d", "--name", "ears", image, "sh", "-c", script)
    wait_for(lambda: "up" in rpod.ok("logs", "ears"))
    for name in ("USR1", "SIGUSR1", "10"):
        rpod.ok("kill", "-s", name, "ears")
    wait_for(lambda: "usr1" in rpod.ok("logs", "ears"))
    assert status(rpod, "ears") == "running 0"
    assert "LOUD" in rpod.fails("kill", "-s", "LOUD", "ears")


def test_wait_for_several_and_for_conditions(rpod: Rpod, image: str) -> None:
    for name, code in (("three", "3"), ("four", "4")):
        rpod.ok("run", "-d", "--name", name, image, "sh", "-c", f"sleep 0.3; exit {code}")
    assert rpod.ok("wait", "three", "four").split() == ["3", "4"]
    rpod.ok("create", "--name", "later", image, "sleep", "60")
    waiting = rpod.start("wait", "--condition", "running", "later", stdout=subprocess.PIPE)
    rpod.ok("start", "later")
    assert waiting.communicate(timeout=20)[0].strip() == b"-1"
    assert waiting.returncode == 0


def test_wait_tells_the_code_of_what_is_removed_at_its_end(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("run", "-d", "--rm", image, "sh", "-c", "while [ ! -e /go ]; do sleep 0.05; done; exit 9")
    gone = rpod.start("wait", "--condition", "removed", ident, stdout=subprocess.PIPE)
    waiting = rpod.start("wait", ident, stdout=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    time.sleep(0.5)  # for the other one, which began earlier and is seen by nothing
    rpod.ok("exec", ident, "touch", "/go")
    assert waiting.communicate(timeout=20)[0] == b"9\n"
    assert gone.communicate(timeout=20)[0] == b"-1\n"
    rpod.ok("run", "-d", "--name", "killed", image, "sleep", "1000")
    waiting = rpod.start("wait", "killed", stdout=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    rpod.ok("rm", "-f", "-t", "0", "killed")
    assert waiting.communicate(timeout=20)[0] == b"137\n"


def test_wait_from_before_the_start(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--rm", "--name", "early", image, "sh", "-c", "exit 4")
    waiting = rpod.start("wait", "early", stdout=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    rpod.ok("start", "early")
    assert waiting.communicate(timeout=20)[0] == b"4\n"
    rpod.ok("create", "--name", "never", image, "true")
    waiting = rpod.start("wait", "never", stderr=subprocess.PIPE)
    wait_for(lambda: has_open(waiting.pid, "alive.lock"), what="somebody waiting")
    rpod.ok("rm", "never")
    assert b"no such container" in waiting.communicate(timeout=20)[1]
    assert waiting.returncode == 125


def test_wait_for_the_first(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "slow", image, "sleep", "1000")
    rpod.ok("run", "-d", "--name", "quick", image, "sh", "-c", "sleep 0.2; exit 6")
    assert rpod.ok("wait", "--return-on-first", "slow", "quick") == "6"
    assert rpod.ok("wait", "--condition", "stopping,running", "slow") == "-1"
    assert "asleep" in rpod.fails("wait", "--condition", "asleep", "slow")


def test_wait_for_health(rpod: Rpod, image: str) -> None:
    check = ("--health-cmd", "test -e /fine", "--health-interval", "1s", "--health-retries", "1")
    rpod.ok("run", "-d", "--name", "ill", *check, image, "sleep", "1000")
    assert rpod.ok("wait", "--condition", "unhealthy", "ill") == "-1"
    rpod.ok("exec", "ill", "touch", "/fine")
    assert rpod.ok("wait", "--condition", "healthy,exited", "ill") == "-1"


def test_a_container_that_is_being_stopped(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "deaf", image, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
    stopping = rpod.start("stop", "-t", "60", "deaf")
    assert rpod.ok("wait", "--condition", "stopping", "deaf") == "-1"
    assert rpod.ok("ps", "--format", "{{.Status}}") == "Stopping"
    assert rpod.ok("ps", "-q", "--filter", "status=stopping") != ""
    assert "being stopped" in rpod.fails("start", "deaf")
    assert "deaf is stopping" in rpod.fails("pause", "deaf")
    assert "deaf is stopping" in rpod.fails("rm", "deaf", code=2)
    rpod.ok("exec", "deaf", "true")
    stopping.terminate()
    stopping.wait()
    assert status(rpod, "deaf") == "running 0", "whoever wanted to stop it is gone"
    rpod.ok("kill", "deaf")


def test_wait_sees_the_end_that_comes(rpod: Rpod, image: str) -> None:
    ident = serve(rpod, image)
    waiting = rpod.start("wait", ident, stdout=subprocess.PIPE)
    time.sleep(0.3)
    assert waiting.poll() is None
    rpod.ok("stop", ident)
    assert waiting.communicate(timeout=20)[0] == b"5\n"


def test_ps_columns_filters_and_formats(rpod: Rpod, image: str) -> None:
    ident = serve(rpod, image, "--name", "shown", "--label", "tier=front")
    assert rpod("run", "--name", "ended", image, "sh", "-c", "exit 3").code == 3
    rpod.ok("create", "--name", "made", image, "true")
    header, row = rpod.ok("ps").splitlines()
    assert header.split() == "CONTAINER ID IMAGE COMMAND CREATED STATUS PORTS NAMES".split()
    assert row.startswith(ident[:12])
    assert image in row
    assert row.endswith("shown")
    assert " Up " in row
    names = rpod.ok("ps", "-a", "--format", "{{.Names}}").split()
    assert names == ["made", "ended", "shown"], "the newest first"
    assert rpod.ok("ps", "-a", "--sort", "names", "--format", "{{.Names}}").split() == ["ended", "made", "shown"]
    for rule, expected in (
        ("status=exited", ["ended"]),
        ("exited=3", ["ended"]),
        ("label=tier", ["shown"]),
        ("name=^ma", ["made"]),
        (f"id={ident[:8]}", ["shown"]),
        (f"ancestor={image}", ["made", "ended", "shown"]),
    ):
        assert rpod.ok("ps", "-a", "--filter", rule, "--format", "{{.Names}}").split() == expected, rule
    rows = json.loads(rpod.ok("ps", "-a", "--format", "json"))
    assert [(row["Names"], row["State"], row["ExitCode"]) for row in rows] == [
        (["made"], "created", 0),
        (["ended"], "exited", 3),
        (["shown"], "running", 0),
    ]
    assert rpod.ok("ps", "-lq") == rows[0]["Id"][:12]
    assert rpod.ok("ps", "-q", "--no-trunc") == ident
    assert len(rpod.ok("ps", "-n", "2", "-q").split()) == 2
    assert "colour" in rpod.fails("ps", "--filter", "colour=red")


def test_names_ids_and_latest_mean_the_same(rpod: Rpod, image: str) -> None:
    ident = rpod.ok("create", "--name", "one", image, "true")
    for word in ("one", ident, ident[:12], ident[:5]):
        assert rpod.ok("inspect", "--format", "{{.Id}}", word) == ident
    assert rpod.ok("inspect", "-l", "--format", "{{.Name}}") == "one"
    assert rpod.ok("start", "--latest") == ident
    assert rpod.ok("wait", "-l") == "0"


def test_rename(rpod: Rpod, image: str) -> None:
    ident = serve(rpod, image, "--name", "before")
    rpod.ok("create", "--name", "taken", image, "true")
    rpod.ok("rename", "before", "after")
    assert rpod.ok("inspect", "--format", "{{.Id}} {{.Name}}", "after") == f"{ident} after"
    assert "before" in rpod.fails("inspect", "before")
    assert "taken" in rpod.fails("rename", "after", "taken")
    assert rpod.ok("rename", "after", "after") == ""
    assert rpod.ok("inspect", "--format", "{{.Id}}", "after") == ident
    assert "../x" in rpod.fails("rename", "after", "../x")
    assert rpod.ok("stop", "after") == "after"


def test_templates_tell_fields_that_are_empty_from_mistakes(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "seen", "--label", "A=1", image, "true")

    def shown(template: str, name: str = "seen") -> str:
        return rpod.ok("inspect", "--format", template, name)

    assert shown("{{if .Config.Healthcheck}}checked{{else}}never{{end}} {{.SizeRw}}") == "never <no value>"
    assert shown("{{.Config.Labels.A}} {{.Config.Labels.B}}") == "1 <no value>"
    assert shown("{{range .NetworkSettings.Networks}}[{{.IPAddress}}]{{end}}") == "[]"
    assert shown("{{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.Volumes}}", "hello") == "[/hello hello] [] map[]"
    assert shown("{{range .History}}{{.Comment}}{{.created_by}}{{end}}", "hello")
    for template in ("{{.Config.Nope}}", "{{.NetworkSettings.Nope}}", "{{.State.Health.Nope}}"):
        assert "no field Nope" in rpod.fails("inspect", "--format", template, "seen")


def test_inspect_has_the_fields_that_scripts_read(rpod: Rpod, image: str) -> None:
    ident = serve(rpod, image, "--name", "seen", "-e", "A=1", "-w", "/tmp", "-u", "user", "--hostname", "box")
    (told,) = json.loads(rpod.ok("inspect", "seen"))
    assert (told["Id"], told["Name"], told["ImageName"]) == (ident, "seen", image)
    assert [told["Path"], *told["Args"]] == list(SERVE)
    assert told["State"]["Running"] is True
    assert told["State"]["Pid"] > 1
    config = told["Config"]
    assert "A=1" in config["Env"]
    assert (config["WorkingDir"], config["User"], config["Hostname"]) == ("/tmp", "user", "box")
    assert config["Cmd"] == list(SERVE)
    rpod.ok("stop", "seen")
    (told,) = json.loads(rpod.ok("inspect", "seen"))
    assert (told["State"]["Running"], told["State"]["ExitCode"], told["State"]["Pid"]) == (False, 5, 0)
    assert told["State"]["FinishedAt"] > told["State"]["StartedAt"] > told["Created"] > "2024"


def test_inspect_with_templates(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "fmt", "-e", "A=1", image, "echo", "a", "b")
    assert rpod.ok("inspect", "-f", "{{range .Args}}<{{.}}>{{end}}", "fmt") == "<a><b>"
    assert rpod.ok("inspect", "-f", '{{upper .Name}} {{join .Config.Cmd ","}} {{len .Args}}', "fmt") == "FMT echo,a,b 2"
    assert rpod.ok("inspect", "-f", "{{if .State.Running}}yes{{else}}no{{end}}", "fmt") == "no"
    rpod.ok("create", "--name", "more", "--entrypoint", '["sh","-c"]', "--pid", "container:fmt", image, "env")
    config, needed = json.loads(rpod.ok("inspect", "-f", "[{{json .Config}},{{json .Dependencies}}]", "more"))
    assert (config["Entrypoint"], config["Cmd"]) == ("sh -c", ["env"])
    assert needed == [rpod.ok("inspect", "-f", "{{.Id}}", "fmt")]
    assert ".Nonsense" in rpod.fails("inspect", "-f", "{{.Nonsense}}", "fmt")


def test_top(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "tree", "-u", "user", image, "sh", "-c", "sleep 61 & sleep 62; true")
    wait_for(lambda: len(rpod.ok("top", "tree").splitlines()) == 4, what="three processes")
    header, *rows = rpod.ok("top", "tree").splitlines()
    assert header.split() == "USER PID PPID %CPU ELAPSED TTY TIME COMMAND".split()
    assert {row.split()[0] for row in rows} <= {"user", "1000"}
    assert rows[0].split()[1] == "1"
    header, *rows = rpod.ok("top", "tree", "pid", "args").splitlines()
    assert header.split() == ["PID", "COMMAND"]
    assert "sleep 62" in " ".join(rows)
    assert "altitude" in rpod.fails("top", "tree", "altitude")


def test_top_with_the_arguments_of_ps(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "tree", "--group-add", "extra", image, "sleep", "1000")
    for words in (["-eo", "user,pid,args"], ["-o", "user,pid,args"], ["--", "-eouser,pid,args"], ["%U", "pid,%a"]):
        header, row = rpod.ok("top", "tree", *words).splitlines()
        assert header.split() == ["USER", "PID", "COMMAND"], words
        assert row.split() == ["root", "1", "sleep", "1000"], words
    assert rpod.ok("top", "tree", "aux").split()[0:3] == ["USER", "PID", "%CPU"]
    assert "STIME" in rpod.ok("top", "tree", "-ef")
    for words in (["-eZ"], ["-eo", "altitude"], ["-o"]):
        rpod.fails("top", "tree", *words)


def test_top_knows_every_descriptor_of_podman(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "tree", "-u", "user", "--group-add", "extra", image, "sleep", "1000")
    pid = rpod.ok("inspect", "-f", "{{.State.Pid}}", "tree")
    expected = {
        "hpid": pid,
        "user": "user",
        "ruser": "user",
        "group": "user",
        "rgroup": "user",
        "groups": "user,extra",
        "capeff": "none",
        "capamb": "none",
        "capinh": "none",
        "capprm": "none",
        "seccomp": "filter",
        "state": "S",
        "nice": str(os.nice(0)),
        "pgid": "1",
        "ppid": "0",
        "comm": "sleep",
    }
    assert rpod.ok("top", "tree", *expected).splitlines()[1].split() == list(expected.values())
    header, row = rpod.ok("top", "tree", "capbnd", "huser", "hgroup", "hgroups", "label", "stime", "vsz").splitlines()
    assert header.startswith("BOUNDING CAPS")
    assert row.startswith("CHOWN,DAC_OVERRIDE,")


def test_port(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "-p", "127.0.0.1::443", image, "sleep", "60")
    lines = rpod.ok("port", "web").splitlines()
    assert [line.split(" -> ")[0] for line in sorted(lines)] == ["443/tcp", "80/tcp"]
    (tcp,) = [line.split(" -> ")[1] for line in lines if line.startswith("80/tcp")]
    assert tcp.startswith("127.0.0.1:")
    assert rpod.ok("port", "web", "80") == tcp
    assert f"{tcp}->80/tcp" in rpod.ok("ps")
    assert "81" in rpod.fails("port", "web", "81")


def test_all_at_once(rpod: Rpod, image: str) -> None:
    for name in ("x", "y", "z"):
        serve(rpod, image, "--name", name)
    assert len(rpod.ok("stop", "--all", "-t", "2").split()) == 3
    assert rpod.ok("ps", "-q") == ""
    rpod.ok("start", "--all")
    assert len(rpod.ok("ps", "-q").split()) == 3
    assert len(rpod.ok("rm", "-fa", "-t", "0").split()) == 3
    assert rpod.ok("ps", "-aq") == ""

"""ps, inspect, top and port: what there is, and --format."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from support.shell import SERVE, serve, wait_for

if TYPE_CHECKING:
    from support.shell import Rpod


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


def test_templates_tell_fields_that_are_empty_from_mistakes(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "seen", "--label", "A=1", image, "true")

    def shown(template: str, name: str = "seen") -> str:
        return rpod.ok("inspect", "--format", template, name)

    assert shown("{{if .Config.Healthcheck}}checked{{else}}never{{end}} {{.SizeRw}}") == "never <no value>"
    assert shown("{{.Config.Labels.A}} {{.Config.Labels.B}}") == "1 <no value>"
    assert shown("{{range .NetworkSettings.Networks}}[{{.IPAddress}}]{{end}}") == "[]"
    assert shown("{{.Config.Entrypoint}} {{.Config.Cmd}} {{.Config.Volumes}}", "hello") == "[] [/hello hello] map[]"
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
    for text in ("x", "0x50", "9" * 5000):
        assert "is no port" in rpod.fails("port", "web", text)

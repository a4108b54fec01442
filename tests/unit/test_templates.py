"""Go templates: each case's answer is what Go's text/template prints."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rootless.cli.template_functions import to_json
from rootless.cli.templates import Heading, Headings, Template, unescape
from rootless.engine.gotypes import Map, Struct
from rootless.errors import UsageError

DATA: dict[str, object] = {
    "Id": "abcdef012345",
    "Name": "web",
    "Names": ["web", "www"],
    "State": {"Running": True, "ExitCode": 0, "Status": "running"},
    "Config": Struct(
        {"Labels": Map({"a": "1", "b.c": "2", "X": "3"}), "Env": ["A=1", "B=2"], "Cmd": None}, {"Healthcheck": None}
    ),
    "host": {"idMappings": {"container_id": 7}},
    "Mounts": [{"Source": "/s1", "RW": True}, {"Source": "/s2", "RW": False}],
    "Ports": Map({"80/tcp": [{"HostPort": "8080"}], "9/udp": None}),
    "Size": 12.5,
    "Count": 3,
    "Label": {"a": "one"}.get,
    "Now": lambda: "today",
}

GOOD = [
    ("plain", "plain"),
    ("", ""),
    ("{{.Name}}", "web"),
    ("{{ .State.Running }}", "true"),
    ("{{.State.ExitCode}}", "0"),
    ("{{.Names}}", "[web www]"),
    ("{{.Config.Labels}}", "map[X:3 a:1 b.c:2]"),
    ("{{.Config.Cmd}}", "<no value>"),
    ("{{.Config.Labels.zz}} {{.Config.Labels.A}} {{.Config.Labels.X}}", "<no value> <no value> 3"),
    ("{{.Config.Healthcheck}}{{if .Config.healthcheck}}x{{end}}", "<no value>"),
    ("{{.Host.IDMappings.ContainerID}}", "7"),
    ("{{.Size}} {{.Count}}", "12.5 3"),
    ("{{.name}} {{.ID}}", "web abcdef012345"),
    ("{{json .Names}}", '["web","www"]'),
    ("{{json .Config.Labels}}", '{"a":"1","b.c":"2","X":"3"}'),
    ("{{json .Config}}", '{"Labels":{"a":"1","b.c":"2","X":"3"},"Env":["A=1","B=2"],"Cmd":null}'),
    ("{{.Names | json}}", '["web","www"]'),
    ('{{join .Names ","}}', "web,www"),
    ('{{index .Config.Labels "b.c"}}', "2"),
    ('{{index .Config.Labels "none"}}', ""),
    ("{{index .Names 1}}", "www"),
    ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
    ("{{len .Names}}", "2"),
    ("{{.Name | upper | printf `%s!`}}", "WEB!"),
    ("{{upper .Name}}{{lower `ABC`}}{{title `ab cd`}}", "WEBabcAb Cd"),
    ("{{slice .Id 0 4}} {{truncate .Id 3}}", "abcd abc"),
    ("{{range .Mounts}}{{.Source}}{{if .RW}}:rw{{else}}:ro{{end}} {{end}}", "/s1:rw /s2:ro "),
    ("{{range $i, $e := .Names}}{{$i}}={{$e}};{{end}}", "0=web;1=www;"),
    ("{{range $e := .Names}}{{$e}}{{end}}", "webwww"),
    ("{{range $k, $v := .Config.Labels}}{{$k}}{{$v}}{{end}}", "X3a1b.c2"),
    ("{{range $p, $c := .Ports}}{{$p}}->{{range $c}}{{.HostPort}}{{end}} {{end}}", "80/tcp->8080 9/udp-> "),
    ("{{range .Config.Cmd}}x{{else}}none{{end}}", "none"),
    ("{{range 3}}{{.}}{{end}}", "012"),
    ("{{range .Names}}{{if eq . `www`}}{{continue}}{{end}}{{.}}{{end}}", "web"),
    ("{{range .Names}}{{.}}{{break}}{{end}}", "web"),
    ("{{range .Names}}{{$.Name}}{{end}}", "webweb"),
    ("{{with .State}}{{.Status}}{{end}}{{with .Config.Cmd}}x{{else}}y{{end}}", "runningy"),
    ("{{with $s := .State}}{{$s.Status}}{{end}}", "running"),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{end}}{{$x}}", "2"),
    ("{{$x := 1}}{{if true}}{{$x := 2}}{{end}}{{$x}}", "1"),
    ("{{if .State.ExitCode}}a{{else if .State.Running}}b{{else}}c{{end}}", "b"),
    ("{{if and .Name (not .Config.Cmd)}}yes{{end}}", "yes"),
    ("{{or .Config.Cmd `x`}} {{and 1 0}} {{or 0 2}}", "x 0 2"),
    (
        "{{eq .Name `a` `web`}} {{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge `b` `a`}}",
        "true true true true false true",
    ),
    ('{{printf "%-5s|%5d|%q|%v|%%" .Name 42 .Name true}}', 'web  |   42|"web"|true|%'),
    ('{{printf "%05.1f %x %X" 3.14159 255 255}}', "003.1 ff FF"),
    ('{{printf "%d" "x"}} {{printf "%s"}} {{printf "x" 1}}', "%!d(string=x) %!s(MISSING) x%!(EXTRA 1)"),
    ("{{println .Name 1}}", "web 1\n"),
    ("{{print 1 2 `a` 3}}", "1 2a3"),
    ("{{range split `a,b` `,`}}[{{.}}]{{end}}", "[a][b]"),
    ("a {{- .Name -}} b", "awebb"),
    ("a {{- /* note */ -}} b{{/* x */}}c", "abc"),
    ('{{`raw\\n`}}{{"x\\ty\\u0041\\""}}{{\'a\'}}', 'raw\\nx\tyA"97'),
    ("{{-3}} {{ -3 }} {{0x10}} {{1.5}}", "-3 -3 16 1.5"),
    ('{{.Label "a"}} {{.Label "b"}} {{.Now}}', "one <no value> today"),
    ("{{not true}} {{true}} {{len ``}}", "false true 0"),
    ("}} {", "}} {"),
]


@pytest.mark.parametrize(("template", "expected"), GOOD)
def test_prints_what_go_prints(template: str, expected: str) -> None:
    assert Template(template).render(DATA) == expected


BAD = [
    ("{{", "not closed at character 1"),
    ("ab{{.Name", "not closed at character 3"),
    ("{{.Name}", "unexpected '}'"),
    ("{{nofunc .Name}}", "no such function: nofunc at character 3"),
    ("{{.Nam}}", "no field Nam (did you mean Name?) at character 3"),
    ("{{.State.Runing}}", "did you mean Running?"),
    ("{{.Host.Nope}}", "no field Nope"),
    ("{{.Config.Helthcheck}}", "did you mean Healthcheck?"),
    ("{{.Name.X}}", "no field X in 'web'"),
    ("{{.Config.Cmd.X}}", "no field X in nothing"),
    ("{{if .Name}}x", "{{end}} is missing"),
    ("{{end}}", "unexpected {{end}}"),
    ("{{else}}", "unexpected {{else}}"),
    ("{{break}}", "outside of {{range}}"),
    ("{{if}}x{{end}}", "a value is missing"),
    ("{{}}", "a value is missing"),
    ("{{$y}}", "undefined variable $y"),
    ("{{$y = 1}}", "undefined variable $y"),
    ("{{(.Name}}", "a parenthesis that is not closed"),
    ("{{.Name)}}", "unexpected ')'"),
    ('{{"abc}}', "a string that is not closed"),
    ('{{"a\\q"}}', "an unknown escape \\q"),
    ("{{/* x }}", "a comment that is not closed"),
    ("{{index .Names 9}}", "index: index 9 is out of range"),
    ("{{index .Names `x`}}", "out of range"),
    ("{{slice .Id 9 2}}", "out of range"),
    ("{{eq 1 `a`}}", "cannot be compared"),
    ("{{eq 1}}", "two values are needed"),
    ("{{lt .State .State}}", "has no order"),
    ("{{join .Name `,`}}", "is not a list"),
    ("{{upper 3}}", "is not a string"),
    ("{{.Name 3}}", "cannot take arguments"),
    ("{{3 | .Name}}", "cannot take arguments"),
    ("{{range .Name}}{{end}}", "range cannot go over"),
    ("{{define `x`}}{{end}}", "{{define}} is not there"),
    ("{{12ab}}", "is not a number"),
    ("{{printf `%99999s` `x`}}", "too wide"),
    ("{{'ab'}}", "character constant"),
    ("{{#}}", "unexpected '#'"),
    ("{{.Name | }}", "a value is missing"),
    ("{{truncate .Name `x`}}", "truncate:"),
    ("(" * 3 + "{{" + "(" * 5000, "--format:"),
]


@pytest.mark.parametrize(("template", "reason"), BAD)
def test_mistakes_are_one_usage_error(template: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        Template(template).render(DATA)
    assert reason in caught.value.message
    assert "\n" not in caught.value.message


def test_json_is_indented_as_go_does() -> None:
    assert to_json({"a": [1, {"b": "ü<"}], "c": {}, "d": []}, "  ") == (
        '{\n  "a": [\n    1,\n    {\n      "b": "ü<"\n    }\n  ],\n  "c": {},\n  "d": []\n}'
    )
    assert to_json([True, None, 1.5, "\n"]) == '[true,null,1.5,"\\n"]'


def test_headings_stand_for_a_row() -> None:
    assert (
        Template("{{.Names}}\t{{upper .Label}}").render({"Names": Heading("NAMES"), "Label": Heading("x")})
        == "NAMES\tX"
    )
    assert Template('{{.Label "x"}} {{.Nope}}').render(Headings({"Label": Heading("LABEL")})) == "LABEL NOPE"
    assert Template("{{.A.B}}").render({"A": Heading("A")}) == "B"


def test_escapes_outside_of_actions_only() -> None:
    assert unescape(r"{{.A}}\t{{`\t`}}\n") == "{{.A}}\t{{`\\t`}}\n"


def test_hostile_templates_end() -> None:
    for text in ("{{" * 1000, "{{range 9}}" * 40 + "{{end}}" * 39, "{{$" * 50, "{{printf `%s" * 9):
        with pytest.raises(UsageError):
            Template(text).render(DATA)


def test_costs_no_slow_import() -> None:
    code = "import sys; before = set(sys.modules); import rootless.cli.templates; print(*(set(sys.modules) - before))"
    names = set(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split())
    assert {name for name in names if not name.startswith("rootless")} <= {"_json", "__future__"}


def test_methods_are_no_part_of_a_value() -> None:
    assert Template("{{json .}}{{.}}").render({"a": 1, "Label": str}) == '{"a":1}map[a:1]'

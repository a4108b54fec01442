"""The fast parser and Typer's say the same: on chosen and on generated command lines, actions and values are equal."""

from __future__ import annotations

import importlib
import inspect
import random
import subprocess
import sys
from typing import Any

import pytest

from rootless.cli import _tables, app, declare, fast, words
from rootless.engine.options import ContainerOptions, ExecOptions, RunOptions
from rootless.errors import RpodError, UsageError

SHARED_BY_ALL = {"help", "version"}
HOT = (
    "run create start stop restart kill rm wait ps logs exec attach images inspect rmi tag port rename version cleanup "
    "__names"
).split()
NEVER_IMPORTED = (
    "typer click json re typing enum dataclasses pathlib subprocess signal socket datetime argparse shutil tempfile "
    "threading logging contextlib functools collections inspect"
).split()


class _PerformedError(Exception):
    def __init__(self, runs: str, values: dict[str, Any]) -> None:
        super().__init__()
        self.what = (runs, values)


@pytest.fixture(autouse=True)
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers end where the action would begin."""

    def perform(runs: str, values: dict[str, Any]) -> int:
        raise _PerformedError(runs, values)

    monkeypatch.setattr(words, "perform", perform)


def by_typer(argv: list[str]) -> tuple[str, dict[str, Any]] | None:
    try:
        app.run(argv)
    except _PerformedError as performed:
        return performed.what
    except RpodError:
        return None
    return None


def by_table(argv: list[str]) -> tuple[str, dict[str, Any]] | None:
    try:
        assert fast.run(argv) is None
    except _PerformedError as performed:
        return performed.what
    return None


UNDERSTOOD = [
    "run image",
    "run -itd --rm image sh -c x",
    "run -e A -eB -e=C=1 --env=D=2 --env E image",
    "run -itv/a:/b -p8080:80 -p=9:9 image",
    "run --rm=false --tty=true -i=0 --sig-proxy=false --http-proxy=false image",
    "run --http-proxy image -d --rm",
    "run -h name -l a=b -m 64m -c 512 image",
    "run -- image -x",
    "run image -- x",
    "run --net none --network=host image",
    "run --stop-timeout 3 --timeout=-1 image",
    "run --name= --entrypoint= image",
    "run -d=true -d=false image",
    "run --detach=false -d image",
    "run --rm --rm=false image",
    "run - image",
    "run -e= -ie= --env= image",
    "run -e=-x -ie=--rm image",
    "create --name x image",
    "container run --rm image",
    "exec -it -u 1 web ls -l",
    "exec -l id -u",
    "exec --env-file f --detach-keys=ctrl-x web sh",
    "start -ai web",
    "start web db --attach",
    "stop -t 3 web -- -odd",
    "stop --time=0 --all",
    "stop --timeout 0 --all",
    "kill -s=HUP web",
    "kill -sHUP web db",
    "rm -fv a b --ignore",
    "wait --condition running --condition=exited web",
    "ps -aq --no-trunc -f a=b --filter c=d -n 3",
    "ps -n -1",
    "container ls -a",
    "ls",
    "logs -ft --tail 3 --since=1m web",
    "attach --no-stdin --sig-proxy=0 web",
    "inspect -f {{.Id}} -s a b",
    "container inspect a",
    "image inspect a b --format json",
    "images -a --digests name",
    "image ls",
    "rmi -f a b",
    "tag a b c",
    "top web -ef",
    "top -l pid,args",
    "port web 80/tcp",
    "rename a b",
    "cp -a=false a:/b -",
    "pull --tls-verify=false -q a b",
    "system prune -af --volumes --filter until=1h",
    "system df -v",
    "unshare ls -l",
    "unshare",
    "version -f json",
    "info",
    "doctor --script",
    "cleanup abc",
    "__names images",
    "--log-level debug ps",
    "--log-level=info --storage-driver overlay ps -a",
]


@pytest.mark.parametrize("line", UNDERSTOOD)
def test_both_understand_and_agree(line: str) -> None:
    argv = line.split(" ")
    assert by_table(argv) == by_typer(argv) is not None


LEFT_TO_TYPER = [
    "",
    "--help",
    "-h",
    "--version",
    "run",
    "run --help",
    "run -ih image",
    "run --frob image",
    "run -Z image",
    "run --timeout x image",
    "run --name",
    "run --rm=maybe image",
    "run -i=maybe image",
    "stop -t",
    "rename a",
    "rename a b c",
    "tag a",
    "container",
    "container frob",
    "frob",
    "ps --last",
    "--frob ps",
    "--log-level",
]


@pytest.mark.parametrize("line", LEFT_TO_TYPER)
def test_what_the_fast_parser_leaves(line: str) -> None:
    argv = line.split(" ") if line else []
    assert by_table(argv) is None
    if "-h" not in line and line != "--version" and line not in ("", "container"):
        assert by_typer(argv) is None


VALUES = ["a", "1", "-1", "", "a=b", "x,y", "-", "--", "é", "0", "true", "a b", "-x", "--rm", "007", " 5", "1_0"]


def _random_line(rng: random.Random) -> list[str]:
    module = rng.choice(sorted(set(_tables.MODULES.values())))
    _, _, arguments, options, _ = importlib.import_module(f"rootless.cli._tables.{module}").SPEC
    paths = [path for path, target in _tables.MODULES.items() if target == module]
    line = rng.choice(paths).split()
    for _ in range(rng.randrange(6)):
        line += _random_option(rng, options)
        if rng.random() < 0.25:
            line.append(rng.choice(VALUES))
    for _, many, _ in arguments:
        line += [rng.choice(VALUES) for _ in range(rng.randrange(3) if many else rng.randrange(2))]
    for _ in range(rng.randrange(2)):
        line += _random_option(rng, options)
    return line


def _random_option(rng: random.Random, options: dict[str, tuple[str, str]]) -> list[str]:
    if not options or rng.random() < 0.03:
        return [rng.choice(["--frob", "-Z", "--rmx", "-it", "--", "-", "--=x", "-="])]
    name = rng.choice(sorted(options))
    kind = options[name][1]
    value = rng.choice(["3", "0", "-7"]) if kind == "int" else rng.choice(VALUES)
    if kind == "flag":
        value = rng.choice(["true", "false", "1", "F", "maybe"])
        return [name + (f"={value}" if rng.random() < 0.2 else "")]
    shorts = [short[1] for short, (_, other) in options.items() if other == "flag" and len(short) == 2]
    if len(name) == 2 and shorts and rng.random() < 0.3:
        name = "-" + "".join(rng.choices(shorts, k=rng.randrange(1, 3))) + name[1]
    if len(name) == 2 or not name.startswith("--"):
        return rng.choice([[name, value], [name + value], [f"{name}={value}"]])
    return rng.choice([[name, value], [f"{name}={value}"]])


def test_generated_command_lines() -> None:
    rng = random.Random(20_2605)
    understood = 0
    for _ in range(1500):
        line = _random_line(rng)
        fast_says = by_table(line)
        if fast_says is not None:
            understood += 1
            assert fast_says == by_typer(line), line
        else:
            assert by_typer(line) is None, f"the fast parser could have taken {line}"
    assert understood > 600


@pytest.mark.parametrize(
    ("name", "options", "extra"),
    [
        ("create", ContainerOptions, set()),
        ("run", RunOptions, set()),
        ("exec", ExecOptions, {"words", "latest"}),
    ],
)
def test_the_engine_s_options_are_the_declared_ones(name: str, options: type[RunOptions], extra: set[str]) -> None:
    declared = next(command for command in declare.COMMANDS if command.paths[0] == name)
    defaults = {field: value for field, value in declared.defaults().items() if field not in extra}
    fields = {
        field: value
        for field, value in options.defaults().items()
        if field not in ("image", *(["command"] if name == "exec" else []))
    }
    assert defaults == fields
    required = set(declare.hints(declared.options)) - set(declared.defaults())
    assert required == ({"image"} if name != "exec" else set())


@pytest.mark.parametrize("command", declare.COMMANDS, ids=lambda command: command.paths[0])
def test_every_action_takes_what_its_command_declares(command: declare.Declared) -> None:
    module, _, function = command.runs.partition(":")
    action = getattr(__import__(f"rootless.cli.actions.{module}", fromlist=[function]), function)
    parameters = inspect.signature(action).parameters.values()
    fields = set(declare.hints(command.options))
    named = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY}
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        assert named <= fields
    else:
        assert named == fields
    assert all(p.default is p.empty for p in parameters)


def test_hot_commands_have_a_table() -> None:
    assert set(HOT) <= set(_tables.MODULES)


@pytest.mark.parametrize("line", ["run --rm -it -v /a:/b image sh", "ps -a", "exec -it web sh", "stop -t 1 web"])
def test_the_fast_parser_imports_nothing_slow(line: str) -> None:
    code = "import sys; before = set(sys.modules)\nimport rootless.__main__\nfrom rootless.cli import fast, output\n"
    code += f"fast.parse({line.split()!r})\nprint(*sorted(set(sys.modules) - before))"
    names = subprocess.run([sys.executable, "-I", "-c", _path() + code], check=True, capture_output=True, text=True)
    loaded = set(names.stdout.split())
    assert not loaded & set(NEVER_IMPORTED)
    assert {name for name in loaded if not name.startswith("rootless")} <= {
        "_json",
        "__future__",
        "errno",
        "fcntl",
        "gc",
    }


def _path() -> str:
    import rootless

    return f"import sys; sys.path.insert(0, {inspect.getfile(rootless).rsplit('/', 2)[0]!r})\n"


def test_a_cluster_is_translated_for_click() -> None:
    flags, valued = {"-i": "i", "--rm": "rm", "-t": "t"}, {"-e", "--env"}

    def take(line: str) -> tuple[list[str], dict[str, bool]]:
        return words.translate(line.split(), flags, valued, interspersed=False)

    assert take("-ie=A image -e=x") == (["-ie", "A", "image", "-e=x"], {})
    assert take("-e --rm=false --rm=0 x --rm=1") == (["-e", "--rm=false", "--rm", "x", "--rm=1"], {"rm": False})
    with pytest.raises(UsageError, match="--rm=x: neither"):
        take("--rm=x")

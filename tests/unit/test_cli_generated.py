"""What is generated from the declarations is not stale, and the tools that read it accept it."""

from __future__ import annotations

import itertools
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rootless.cli import app, declare, generate, later
from rootless.cli.generate import model

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
FILES = generate.files()


@pytest.mark.parametrize("path", sorted(FILES))
def test_not_stale(path: str) -> None:
    assert (ROOT / path).read_text(encoding="utf-8") == FILES[path], "run contrib/generate"


def test_every_command_has_its_page_and_examples() -> None:
    commands = model.commands()
    assert {f"docs/man/rpod-{command.name.replace(' ', '-')}.1" for command in commands} <= set(FILES)
    assert all(command.examples for command in commands)
    assert all(noun.info.epilog for noun in declare.NOUNS.values())


def test_every_example_is_a_command_line_that_rpod_takes() -> None:
    lines = [line for command in declare.COMMANDS for line in command.examples]
    lines += [line for noun in declare.NOUNS.values() for line in str(noun.info.epilog).splitlines()[2:]]
    for line in lines:
        calls = list(_calls(line))
        assert calls, line
        for argv in calls:
            refused = app.refusal(argv)
            assert refused is None, f"{line}: {refused}"


def _calls(line: str) -> Iterator[list[str]]:
    """The arguments of each rpod in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    for operator, words in itertools.groupby(lexer, lambda word: set(word) <= set("|&<>;")):
        program, *argv = words
        if not operator and program == "rpod":
            yield argv


def test_a_summary_is_a_sentence_on_one_line() -> None:
    for command in model.commands():
        assert "\n" not in command.summary
        assert not command.summary.endswith(".")
        assert command.text.startswith(command.summary.split()[0])


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not installed")
@pytest.mark.parametrize("path", ["docs/man/rpod.1", "docs/man/rpod-run.1", "docs/man/rpod-containers.toml.5"])
def test_pages_are_good_roff(path: str) -> None:
    result = subprocess.run(
        ["groff", "-man", "-Tutf8", "-ww", "-z", "-"], input=FILES[path].encode(), capture_output=True, check=True
    )
    assert result.stderr == b""


COMPLETED = [
    ("rpod re", {"rename", "restart"}),
    ("rpod container l", {"list", "logs", "ls"}),
    ("rpod stop --t", {"--time", "--timeout"}),
    ("rpod stop ", {"web-running"}),
    ("rpod --log-level debug start ", {"web-stopped"}),
    ("rpod image rm ", {"web-images"}),
    ("rpod run --rm ", {"web-images"}),
]


@pytest.fixture
def fake_rpod(tmp_path: Path) -> dict[str, str]:
    """An rpod that only answers what completion asks."""
    program = tmp_path / "rpod"
    program.write_text('#!/bin/sh\n[ "$1" = __names ] && echo "web-$2"\n')
    program.chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)}


@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_bash_completes(fake_rpod: dict[str, str], line: str, expected: set[str]) -> None:
    assert set(_by_bash(line, fake_rpod)) == expected


def _by_bash(line: str, env: dict[str, str]) -> list[str]:
    """What bash would offer. COMP_WORDBREAKS is as interactive shells have it."""
    script = 'source "$1"; COMP_LINE=$2; COMP_POINT=${#2}; _rpod; printf "%s\\n" "${COMPREPLY[@]}"'
    argv = ["bash", "-c", script, "bash", str(ROOT / "contrib/completions/rpod.bash"), line]
    return _output(argv, {**env, "COMP_WORDBREAKS": " \t\n\"'><=;|&(:"}).split()


def test_bash_completes_names_with_colons(fake_rpod: dict[str, str]) -> None:
    """readline replaces only what is behind the last colon."""
    program = fake_rpod["PATH"].partition(":")[0] + "/rpod"
    Path(program).write_text("#!/bin/sh\necho 127.0.0.1:5000/app:1; echo 127.0.0.1:5000/app:two; echo other:1\n")
    assert _by_bash("rpod rmi 127.0.0.1:5", fake_rpod) == ["5000/app:1", "5000/app:two"]
    assert _by_bash("rpod rmi 127.0.0.1:5000/app:t", fake_rpod) == ["two"]
    assert _by_bash("rpod rmi o", fake_rpod) == ["other:1"]
    for line in ("rpod run -v /etc:", "rpod run --volume=/et", "rpod run -v /e"):
        assert _by_bash(line, fake_rpod) == [], "files are readline's"


@pytest.mark.skipif(not shutil.which("fish"), reason="fish is not installed")
@pytest.mark.parametrize(("line", "expected"), COMPLETED)
def test_fish_completes(fake_rpod: dict[str, str], line: str, expected: set[str]) -> None:
    script = f"source {ROOT}/contrib/completions/rpod.fish; complete -C '{line}'"
    out = _output(["fish", "--no-config", "-c", script], fake_rpod)
    assert {item.split("\t")[0] for item in out.splitlines()} == expected


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_reads_the_script(fake_rpod: dict[str, str]) -> None:
    assert _output(["zsh", "-n", str(ROOT / "contrib/completions/_rpod")], fake_rpod) == ""


def _output(argv: list[str], env: dict[str, str]) -> str:
    return subprocess.run(argv, env=env, check=True, capture_output=True, text=True).stdout


def test_nothing_is_there_and_not_there() -> None:
    known = {path for command in model.commands() for path in (command.name, *command.aliases)}
    for noun, names in later.COMMANDS.items():
        assert not {f"{noun} {name}".strip() for name in names} & known
    assert set(later.OPTIONS) <= {"", *(command.name for command in model.commands())}
    for command in model.commands():
        options = {name.removeprefix("--") for option in command.options for name in option.names}
        assert not options & set(later.OPTIONS.get(command.name, ())), command.name

"""From the command line to the exit code: errors, hints, usage, and what is refused by name. Real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


class Rpod:
    """Runs ``python -m rootless`` with a home of its own."""

    def __init__(self, home: Path) -> None:
        run = home / "run"
        run.mkdir(mode=0o700)
        self.env = {"HOME": str(home), "XDG_RUNTIME_DIR": str(run), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        self.argv = [sys.executable, "-m", "rootless"]
        self.cwd = Path(__file__).resolve().parents[2]

    def __call__(self, *argv: str, **more: object) -> subprocess.CompletedProcess[str]:
        options: dict[str, object] = {"capture_output": True, "text": True, "env": self.env, "cwd": self.cwd, **more}
        return subprocess.run([*self.argv, *argv], check=False, **options)  # type: ignore[call-overload, no-any-return]


@pytest.fixture
def rpod(tmp_path: Path) -> Rpod:
    return Rpod(tmp_path)


FAILS = [
    (["frob"], "there is no command 'frob'", "rpod --help"),
    (["pss"], "there is no command 'pss'", "did you mean ps?"),
    (["container", "frob"], "there is no command 'container frob'", "rpod container --help"),
    (["container", "strat", "x"], "there is no command 'container strat'", "did you mean start?"),
    (["help", "frob"], "there is no command 'frob'", "rpod --help"),
    (["build", "."], "'build' is not there yet", "rpod load -i app.tar"),
    (["artifact", "ls"], "'artifact' is not there yet", "rpod --help lists what is"),
    (["config", "ls"], "'config ls' is not supported: there is no swarm", "rpod run -v FILE"),
    (["machine", "init"], "'machine' has no meaning here", "no virtual machine"),
    (["completion", "tcsh"], "completion for 'tcsh' is not there", "bash, zsh, fish"),
    (["config", "show", "stroage"], "there is no table 'stroage' in containers.toml", "storage"),
    (
        ["container", "checkpoint", "x"],
        "'container checkpoint' is not supported: criu needs rights over the whole machine",
        "rpod pause",
    ),
    (["swarm", "init"], "'swarm' has no meaning here", "systemd user units"),
    (["run", "--gpus=all", "x"], "--gpus is not there yet", "rpod run --help"),
    (
        ["run", "--memory-swappiness", "1", "x"],
        "--memory-swappiness is not supported: it belongs to cgroup v1",
        "leave",
    ),
    (["update", "--cpu-rt-period", "1", "x"], "--cpu-rt-period is not supported: it belongs to cgroup v1", "leave"),
    (["run", "--isolation", "x", "y"], "--isolation is not supported: it belongs to Windows", "leave"),
    (["manifest", "push", "--sign-by", "x", "y"], "--sign-by is not there yet", "rpod manifest push --help"),
    (["run", "--enviroment", "A=b", "x"], "there is no option --enviroment of 'run'", "did you mean --env?"),
    (["run", "--detatch", "x"], "there is no option --detatch of 'run'", "did you mean --detach?"),
    (["image", "push", "--compress", "x"], "--compress is not there yet", "rpod image push --help"),
    (["container", "cleanup", "--exec", "x"], "--exec is not there yet", "rpod container cleanup --help"),
    (["--remote", "ps"], "--remote is not there yet", "rpod --help"),
    (["run"], "missing argument 'IMAGE'", "rpod run --help"),
    (["run", "--rm=maybe", "x"], "--rm=maybe: neither true nor false", ""),
    (["run", "--timeout", "x", "y"], "invalid value for '--timeout'", "rpod run --help"),
    (["stop", "-t"], "option '-t' requires an argument", "rpod stop --help"),
    (["rename", "a"], "missing argument 'NAME'", "rpod rename --help"),
    (["stop"], "a container is missing", "--latest or --all"),
    (["stop", "--all", "x"], "names, --all and --latest exclude each other", "give one of them"),
    (["attach"], "a container is missing", "rpod ps -a"),
    (["ps", "--sort", "colour"], "--sort colour: there is no such key", "created"),
    (["ps", "--format", "{{.Nope"], "--format: {{ that is not closed", "man rpod"),
    (["ps", "-q", "--format", "json"], "--quiet and --format exclude each other", ""),
    (["--log-level", "loud", "ps"], "--log-level loud: there is no such level", "debug"),
    (["--runtime", "nope", "info"], "--runtime nope: there is no such program", "crun"),
    (["--storage-driver", "zfs", "ps"], "--storage-driver must be one of", ""),
    (["inspect", "--type", "pod", "x"], "--type pod: there is no such type", "container"),
    (["wait", "-i", "soon", "x"], "--interval soon: not a time", "ms, s, m or h"),
    (["pull", "--policy", "often", "x"], "--policy often: there is no such policy", "always"),
    (["create", "sha256:zz"], "sha256:zz: no such image", "rpod images"),
    (["kill", "nosuch"], "no such container: nosuch", "rpod ps -a"),
    (["info", "--format", "{{.Nope}}"], "--format: no field Nope", "man rpod"),
    (["info", "--format", "{{.Host.IDMappings.Nope}}"], "--format: no field Nope", "man rpod"),
    (["version", "--format", "{{.Nope}}"], "--format: no field Nope", "man rpod"),
    (["inspect", "nosuch"], "no such container or image: nosuch", "rpod images"),
    (["stop", "--cidfile", "/nonexistent/x"], "--cidfile: /nonexistent/x: no such file", ""),
]


@pytest.mark.parametrize(("argv", "says", "hint"), FAILS, ids=lambda value: " ".join(value) if value else "")
def test_one_line_a_hint_and_125(rpod: Rpod, argv: list[str], says: str, hint: str) -> None:
    result = rpod(*argv)
    lines = result.stderr.splitlines()
    assert result.returncode == 125
    assert lines[0].startswith(f"rpod: error: {says}"), result.stderr
    assert len(lines) <= 2
    assert all(line.startswith("rpod: hint: ") for line in lines[1:])
    assert hint in (lines[1] if len(lines) > 1 else "")


def test_podman_s_exit_codes_for_what_is_missing(rpod: Rpod) -> None:
    assert rpod("rm", "nosuch").returncode == 1
    assert rpod("rm", "-f", "nosuch").returncode == 0
    assert rpod("rm", "--ignore", "nosuch").returncode == 0
    assert rpod("rmi", "nosuch").returncode == 1
    assert rpod("stop", "nosuch").returncode == 125
    assert rpod("stop", "--ignore", "nosuch").returncode == 0
    assert rpod("wait", "--ignore", "nosuch").stdout == "-1\n"
    both = rpod("rm", "one", "two")
    assert (both.returncode, len([line for line in both.stderr.splitlines() if "error" in line])) == (1, 2)


def test_control_characters_do_not_reach_the_terminal(rpod: Rpod) -> None:
    result = rpod("inspect", "a\x1b[31m\nrpod: error: forged")
    assert "\x1b" not in result.stderr
    assert len(result.stderr.splitlines()) == 2


@pytest.mark.parametrize(
    "argv", [[], ["--help"], ["-h"], ["container"], ["image", "--help"], ["run", "--help"], ["ps", "-h"]]
)
def test_help_everywhere(rpod: Rpod, argv: list[str]) -> None:
    result = rpod(*argv)
    assert result.returncode == 0
    assert result.stdout.startswith("Usage: rpod")
    assert result.stderr == ""


def test_help_of_every_command_has_examples(rpod: Rpod) -> None:
    for name in ("run", "system df", "image inspect", "container ls", "volume", ""):
        assert "Examples:\n    rpod " in rpod(*name.split(), "--help").stdout


def test_the_usage_line_is_as_declared(rpod: Rpod) -> None:
    for name, usage in (
        ("exec", "[OPTIONS] [CONTAINER] COMMAND [ARG]..."),
        ("container rename", "[OPTIONS] CONTAINER NAME"),
        ("search", "[OPTIONS] TERM"),
    ):
        text = rpod(*name.split(), "--help").stdout
        assert text.startswith(f"Usage: rpod {name} {usage}\n")
        assert "list[str]" not in text


def test_version(rpod: Rpod) -> None:
    import rootless

    assert rpod("--version").stdout == rpod("-v").stdout == f"rpod version {rootless.__version__}\n"
    assert rpod("version", "-f", "{{.Client.Version}}").stdout == f"{rootless.__version__}\n"
    assert rpod("version").stdout.startswith("Client:          rpod\nVersion:         ")


def test_empty_lists(rpod: Rpod) -> None:
    assert rpod("ps").stdout.split("\n")[0].split("  ")[0] == "CONTAINER ID"
    assert rpod("ps", "--noheading").stdout == rpod("ps", "-aq").stdout == ""
    assert rpod("ps", "--format", "json").stdout == rpod("images", "--format", "json").stdout == "[]\n"
    assert rpod("ps", "--format", "table {{.ID}}\\t{{.Label}}").stdout == "CONTAINER ID  LABEL\n"
    assert rpod("ps", "--format", "table {{.ID}} {{.Names}}").stdout == "CONTAINER ID  NAMES\n"
    assert rpod("images").stdout == "REPOSITORY  TAG         IMAGE ID    CREATED     SIZE\n"


def test_a_wrong_configuration_is_named(rpod: Rpod, tmp_path: Path) -> None:
    path = tmp_path / ".config/rpod/containers.toml"
    path.parent.mkdir(parents=True)
    path.write_text("[storage]\ndriverr = 1\n")
    result = rpod("run", "hello")
    assert result.returncode == 125
    assert result.stderr == f"rpod: error: {path}:2: no such key: storage.driverr\nrpod: hint: did you mean driver?\n"
    assert rpod("run", "--help").returncode == 0


def test_the_configuration_is_checked_and_shown(rpod: Rpod, tmp_path: Path) -> None:
    path = tmp_path / ".config/rpod/containers.toml"
    result = rpod("config", "check")
    assert result.returncode == 0 and f"{path}: not there, and need not be" in result.stdout
    example = (Path(__file__).resolve().parents[2] / "containers.toml.example").read_text()
    defaults = {line[1:] for line in example.splitlines() if line.startswith("#") and " = " in line}
    shown = rpod("config", "show").stdout
    assert defaults == {line for line in shown.splitlines() if " = " in line}
    path.parent.mkdir(parents=True)
    path.write_text(shown.replace("mtu = 65520", "mtu = 1500"))
    result = rpod("config", "check")
    assert result.returncode == 0 and f"{path}: fine" in result.stdout
    assert f"mtu = 1500  # {path}\n" in rpod("config", "show", "network").stdout
    path.write_text("[network]\nmtu = 'much'\n")
    for argv in (("config", "check"), ("config", "show")):
        result = rpod(*argv)
        assert result.returncode == 125
        assert result.stderr.startswith(f"rpod: error: {path}:2: network.mtu must be a whole number, not a string")


def test_help_is_a_command_too(rpod: Rpod) -> None:
    assert rpod("help", "run").stdout == rpod("run", "--help").stdout
    assert rpod("help", "volume", "create").stdout == rpod("volume", "create", "--help").stdout
    assert rpod("help").stdout == rpod("--help").stdout


def test_completion_comes_with_rpod(rpod: Rpod, tmp_path: Path) -> None:
    scripts = Path(__file__).resolve().parents[2] / "contrib/completions"
    for shell, name in (("bash", "rpod.bash"), ("zsh", "_rpod"), ("fish", "rpod.fish")):
        assert rpod("completion", shell).stdout == (scripts / name).read_text()
        assert rpod("completion", shell, "-f", str(tmp_path / name)).returncode == 0
        assert (tmp_path / name).read_text() == (scripts / name).read_text()
    result = rpod("completion", "bash", "-f", str(tmp_path / "no/where"))
    assert result.returncode == 125 and "no such file or directory" in result.stderr


def test_a_full_disk_is_not_success(rpod: Rpod) -> None:
    with open("/dev/full", "w") as full:
        result = rpod("version", capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert result.returncode == 125
    assert result.stderr == "rpod: error: standard output: no space left on device\n"


def test_a_reader_that_leaves_is_quiet(rpod: Rpod) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    result = rpod("version", capture_output=False, stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    assert (result.returncode, result.stderr) == (141, "")


def test_closed_descriptors(rpod: Rpod) -> None:
    script = f'"{sys.executable}" -m rootless version >&- 2>&-; echo $?'
    out = subprocess.run(["sh", "-c", script], env=rpod.env, cwd=rpod.cwd, capture_output=True, text=True, check=True)
    assert out.stdout == "0\n"


def test_a_bug_is_one_line_and_a_file(rpod: Rpod, tmp_path: Path) -> None:
    code = "import sys\nfrom rootless.engine import info\ninfo.version = lambda: 1 // 0\n"
    code += "from rootless import __main__\nsys.argv = ['rpod', *sys.argv[1:]]\n__main__.main()"
    rpod.argv = [sys.executable, "-c", code]
    result = rpod("version")
    assert result.returncode == 125
    error, hint = result.stderr.splitlines()
    assert error == "rpod: error: this is a bug in rpod: ZeroDivisionError: integer division or modulo by zero"
    trace = Path(hint.removeprefix("rpod: hint: where it happened: "))
    assert "ZeroDivisionError" in trace.read_text()
    assert trace.is_relative_to(tmp_path)
    assert "Traceback" in rpod("--log-level", "debug", "version").stderr


def test_prune_asks(rpod: Rpod) -> None:
    result = rpod("system", "prune", input="n\n")
    assert "Are you sure" in result.stdout
    assert "Total" not in result.stdout
    assert "Total reclaimed space: " in rpod("system", "prune", input="y\n").stdout

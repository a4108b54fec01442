"""The wheel: what is in it, and what pip and uv make of it, without a registry."""

from __future__ import annotations

import os
import platform
import shutil
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CLEAN = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), "PYTHONDONTWRITEBYTECODE": "1"}
HELPERS = ("rpod-monitor", "rpod-init")

pytestmark = pytest.mark.skipif(not (ROOT / "pyproject.toml").exists(), reason="not in a source tree")


def call(*argv: str | Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in argv],
        cwd=ROOT,
        env=CLEAN | (env or {}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def hatch(target: str, out: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return call(sys.executable, "-m", "hatchling", "build", "-t", target, "-d", out, env=env)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    result = hatch("wheel", out)
    assert result.returncode == 0, result.stderr
    return next(out.glob("*.whl"))


def test_the_wheel_carries_executable_helpers_for_one_architecture(wheel: Path) -> None:
    assert wheel.name.endswith(f"-py3-none-linux_{platform.machine()}.whl")
    with zipfile.ZipFile(wheel) as archive:
        for name in HELPERS:
            info = archive.getinfo(f"rootless/_bin/{name}")
            assert stat.S_IMODE(info.external_attr >> 16) == 0o755
            binary = archive.read(info)
            assert binary[:4] == b"\x7fELF"
            assert b"ld-linux" not in binary, "it must run on any Linux, so without a shared library"
            assert str(ROOT).encode() not in binary
        names = archive.namelist()
        assert not [name for name in names if name.endswith((".pyc", ".c", ".h")) or "tests" in name]
        metadata = archive.read(next(name for name in names if name.endswith("/WHEEL"))).decode()
        assert "Root-Is-Purelib: false" in metadata


def test_the_same_source_gives_the_same_helpers(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        result = call(sys.executable, "helpers/build_hook.py", "--out", tmp_path / folder)
        assert result.returncode == 0, result.stderr
    for name in HELPERS:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_pip_installs_a_command_that_starts_with_the_environments_python(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    assert call(sys.executable, "-m", "venv", environment).returncode == 0
    result = call(environment / "bin/python", "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    assert result.returncode == 0, result.stderr
    command = environment / "bin/rpod"
    assert os.access(command, os.X_OK)
    assert command.read_text().startswith(f"#!{environment}/bin/python")
    assert "import re\n" not in command.read_text()
    package = next(environment.glob("lib/python3*/site-packages/rootless"))
    assert all(os.access(package / "_bin" / name, os.X_OK) for name in HELPERS)
    modules = [path for path in package.rglob("*.py") if path.stat().st_size]
    compiled = {path.name.split(".")[0] for path in package.rglob("*.pyc")}
    assert {path.stem for path in modules} <= compiled, "a start must not compile"


def test_uv_installs_it_the_same_way(wheel: Path, tmp_path: Path) -> None:
    uv = shutil.which("uv")
    if uv is None:
        pytest.skip("uv is not installed")
    environment = tmp_path / "venv"
    offline = {"UV_OFFLINE": "1", "UV_CACHE_DIR": str(tmp_path / "cache")}
    assert call(uv, "venv", "--python", sys.executable, environment, env=offline).returncode == 0
    result = call(uv, "pip", "install", "--no-deps", "--python", environment / "bin/python", wheel, env=offline)
    assert result.returncode == 0, result.stderr
    assert (environment / "bin/rpod").read_text().startswith(f"#!{environment}/bin/python")
    package = next(environment.glob("lib/python3*/site-packages/rootless"))
    assert all(os.access(package / "_bin" / name, os.X_OK) for name in HELPERS)


def test_an_editable_install_has_the_helpers_in_the_tree(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    ignored = shutil.ignore_patterns(".git", "__pycache__", "_bin", "tests")
    shutil.copytree(ROOT, tree, ignore=ignored)
    script = (
        "from hatchling.builders.wheel import WheelBuilder\n"
        f"print(next(WheelBuilder({str(tree)!r}).build(directory={str(tmp_path)!r}, versions=['editable'])))"
    )
    result = call(sys.executable, "-c", script)
    assert result.returncode == 0, result.stderr
    assert all(os.access(tree / "rootless" / "_bin" / name, os.X_OK) for name in HELPERS)
    with zipfile.ZipFile(result.stdout.strip().splitlines()[-1]) as archive:
        assert not [name for name in archive.namelist() if "_bin" in name]
        assert [name for name in archive.namelist() if name.endswith("scripts/rpod")]


def test_the_source_distribution_can_build_the_wheel(tmp_path: Path) -> None:
    result = hatch("sdist", tmp_path)
    assert result.returncode == 0, result.stderr
    archive = next(tmp_path.glob("*.tar.gz"))
    names = call("tar", "-xzvf", archive, "-C", tmp_path).stdout.splitlines()
    assert not [name for name in names if "_bin" in name or name.endswith(".pyc")]
    assert [name for name in names if name.endswith("helpers/monitor.c")]
    source = next(path for path in tmp_path.iterdir() if path.is_dir())
    argv = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    built = subprocess.run(argv, cwd=source, env=CLEAN, capture_output=True, text=True, timeout=100, check=False)
    assert built.returncode == 0, built.stderr
    assert list(tmp_path.glob("*.whl"))


def test_without_a_compiler_the_build_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "tmp").mkdir()
    result = hatch("wheel", tmp_path, env={"PATH": str(tmp_path / "bin"), "TMPDIR": str(tmp_path / "tmp")})
    assert result.returncode != 0
    assert list((tmp_path / "tmp").iterdir()) == []
    assert "there is no C compiler here" in result.stderr
    assert "apt-get install gcc" in result.stderr
    assert "Traceback" not in result.stderr

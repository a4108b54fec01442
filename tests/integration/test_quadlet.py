"""``rpod quadlet`` and ``rpod generate systemd``: files in and services out, where no systemd runs."""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.shell import program

if TYPE_CHECKING:
    from support.registry import PlainRegistry
    from support.shell import Rpod

IMAGE = "[Container]\nImage=hello\n"
INSTALL = "[Install]\nWantedBy=default.target\n"


@pytest.fixture
def folder(fresh_rpod: Rpod, tmp_path: Path) -> Path:
    """A folder to work in; what a test leaves in the shared home's would be seen by the next one."""
    path = tmp_path / "work"
    path.mkdir()
    return path


def put(folder: Path, name: str, text: str) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)
    return str(folder / name)


def units(rpod: Rpod) -> list[str]:
    return sorted(path.name for path in (rpod.home / "config/systemd/user").rglob("*") if not path.is_dir())


def test_install_list_print_and_remove(fresh_rpod: Rpod, folder: Path) -> None:
    rpod = fresh_rpod
    installed = rpod.ok("quadlet", "install", put(folder, "web.container", IMAGE + INSTALL))
    assert installed == str(rpod.home / "config/rpod/systemd/web.container")
    assert units(rpod) == ["rpod-wait-network-online.service", "web.service", "web.service"]
    row = {"Name": "web.container", "UnitName": "web.service", "Path": installed, "Status": "Not loaded", "App": ""}
    assert json.loads(rpod.ok("quadlet", "list", "--format", "json")) == [row]
    assert rpod.ok("quadlet", "list").splitlines()[0].split("  ")[0] == "NAME"
    assert rpod.ok("quadlet", "list", "--filter", "name=db*", "--format", "{{.Name}}") == ""
    assert rpod.ok("quadlet", "print", "web.container") == (IMAGE + INSTALL).rstrip()
    assert "ExecStart=" in rpod.ok("quadlet", "print", "--unit", "web.container")
    said = rpod.fails("quadlet", "install", str(folder / "web.container"))
    assert "--replace" in said
    rpod.ok("quadlet", "install", "--replace", put(folder, "web.container", IMAGE))
    assert units(rpod) == ["rpod-wait-network-online.service", "web.service"]
    assert rpod.ok("quadlet", "rm", "web.container") == "web.container"
    assert units(rpod) == []
    assert "no such Quadlet file" in rpod.fails("quadlet", "rm", "web.container")
    rpod.ok("quadlet", "rm", "--ignore", "web.container")


def test_an_application_is_installed_and_removed_as_one(fresh_rpod: Rpod, folder: Path) -> None:
    rpod = fresh_rpod
    put(folder, "shop/web.container", f"{IMAGE}EnvironmentFile=web.env\n")
    put(folder, "shop/data.volume", "[Volume]\n")
    put(folder, "shop/web.env", "A=1\n")
    rpod.ok("quadlet", "install", str(folder / "shop"))
    shown = rpod.ok("quadlet", "list", "--format", "{{.Name}} {{.App}}")
    assert shown.splitlines() == ["data.volume shop", "web.container shop"]
    assert f"--env-file {rpod.home}/config/rpod/systemd/shop/web.env" in rpod.ok(
        "quadlet", "print", "--unit", "web.container"
    )
    assert rpod.ok("quadlet", "rm", "data.volume").splitlines() == ["data.volume", "web.container"]
    assert not (rpod.home / "config/rpod/systemd/shop").exists()


def test_several_files_in_one(fresh_rpod: Rpod, folder: Path) -> None:
    text = f"# FileName=web\n{IMAGE}---\n# FileName=data\n[Volume]\n"
    written = fresh_rpod.ok("quadlet", "install", put(folder, "all.quadlets", text))
    assert [path.rpartition("/")[2] for path in written.splitlines()] == ["web.container", "data.volume"]
    assert "FileName" in fresh_rpod.fails("quadlet", "install", put(folder, "x.quadlets", IMAGE))


def test_a_mistake_is_not_installed(fresh_rpod: Rpod, folder: Path) -> None:
    path = put(folder, "web.container", f"{IMAGE}Nope=1\n")
    assert f"{path}:3: [Container] has no key Nope" in fresh_rpod.fails("quadlet", "install", path)
    assert "not there yet" in fresh_rpod.fails("quadlet", "install", put(folder, "lan.network", "[Network]\n"))
    assert "no Quadlet file" in fresh_rpod.fails("quadlet", "install", put(folder, "web.service", "[Unit]\n"))
    assert fresh_rpod.ok("quadlet", "list", "--noheading") == ""


def test_nothing_is_left_of_an_application_that_cannot_be_installed(fresh_rpod: Rpod, folder: Path) -> None:
    put(folder, "shop/a.container", IMAGE)
    put(folder, "shop/deep/b.container", IMAGE)
    put(folder, f"shop/deep/{'n' * 255}", "its name leaves no room for that of a temporary file")
    said = fresh_rpod.fails("quadlet", "install", str(folder / "shop"))
    assert "cannot be installed: " in said
    assert "name too long" in said
    assert list((fresh_rpod.home / "config/rpod/systemd").iterdir()) == []
    assert units(fresh_rpod) == []


def test_verify_says_why_a_service_would_not_start(fresh_rpod: Rpod, folder: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("quadlet", "install", put(folder, "good.container", f"{IMAGE}{INSTALL}"))
    bad = f"{IMAGE}Pull=never\nVolume={folder}/gone:/x\nPodmanArgs=--memory-swappiness 5\n".replace("hello", "a.b/gone")
    rpod.ok("quadlet", "install", put(folder, "bad.container", bad))
    done = rpod("quadlet", "verify")
    assert done.code == 1
    _, bad_part, good_part = done.out.split(str(rpod.home / "config/rpod/systemd/"))
    for said in ("a.b/gone is not here, and Pull=never", f"{folder}/gone does not exist", "--memory-swappiness"):
        assert said in bad_part
    assert "mistake" not in good_part
    assert "becomes  good.service, started by default.target" in good_part
    assert rpod("quadlet", "verify", "good.container").code == 0
    put(rpod.home / "config/rpod/systemd", "bad.container", f"{IMAGE}Nope=1\n")
    done = rpod("quadlet", "sync")
    assert done.code == 1
    assert "bad.container:3: [Container] has no key Nope" in done.err


def test_the_generator_writes_what_sync_would(fresh_rpod: Rpod, folder: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("quadlet", "install", put(folder, "web.container", IMAGE + INSTALL))
    rpod.ok("quadlet", "generator", str(folder / "out"), "/early", "/late")
    assert (folder / "out/web.service").read_text() == (rpod.home / "config/systemd/user/web.service").read_text()
    assert (folder / "out/default.target.wants/web.service").resolve() == folder / "out/web.service"


def test_the_administrators_generator_finds_the_users_rpod(fresh_rpod: Rpod, folder: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("quadlet", "install", put(folder, "web.container", IMAGE))
    own = rpod.home / ".local/bin/rpod"
    own.parent.mkdir(parents=True)
    own.write_text(f'#!/bin/sh\nexec {shlex.join(program())} "$@"\n')
    own.chmod(0o755)
    script = Path(__file__).resolve().parents[2] / "contrib/systemd/rpod-quadlet-generator"
    subprocess.run([script, folder / "out", folder / "early", folder / "late"], env=rpod.env, check=True)
    assert "ExecStart=" in (folder / "out/web.service").read_text()
    own.unlink()
    subprocess.run([script, folder / "none", folder / "early", folder / "late"], env=rpod.env, check=True)


def test_generate_systemd(fresh_rpod: Rpod, folder: Path) -> None:
    rpod = fresh_rpod
    rpod.ok("create", "--name", "web", "--env", "A=100% $x", "--stop-timeout", "3", "hello", "word")
    new = rpod.ok("generate", "systemd", "--new", "--name", "--no-header", "web")
    assert "TimeoutStopSec=63" in new
    assert 'run --replace --rm -d --cgroups=split --sdnotify=conmon --name web --env "A=100%% $$x"' in new
    old = rpod.ok("generate", "systemd", "-n", "--restart-policy", "always", "--after", "x.service", "web")
    assert old.startswith("# container-web.service\n")
    assert "Restart=always\n" in old
    assert "After=x.service\n" in old
    assert "start --attach web\n" in old
    named = json.loads(rpod.ok("generate", "systemd", "--name", "--format", "json", "--container-prefix", "", "web"))
    assert list(named) == ["web"]
    assert "unknown" in rpod.fails("generate", "systemd", "--restart-policy", "sometimes", "web")
    put(folder, "container-web.service", new)
    verified = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(folder / "container-web.service")],
        env={"PATH": "/usr/bin:/bin", "XDG_RUNTIME_DIR": str(rpod.runtime)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "container-web" not in verified.stderr


def test_a_service_is_remembered_and_its_end_is_the_programs(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    unit = {"PODMAN_SYSTEMD_UNIT": "web.service"}
    ident = rpod("create", "--name", "web", "hello", env=unit).out.strip()
    shown = rpod.ok("inspect", "--format", '{{index .Config.Labels "PODMAN_SYSTEMD_UNIT"}}', "web")
    assert shown == "web.service"
    rpod.ok("start", "--attach", "web")
    record = rpod.data / "containers" / ident / "exit.json"
    record.write_text(record.read_text().replace('"code":0', '"code":7'))
    assert rpod("cleanup", ident).code == 7
    assert rpod("cleanup", "0" * 64).code == 0


def test_a_pull_asks_systemd_for_patience(fresh_rpod: Rpod, plain_registry: PlainRegistry, runtime_base: Path) -> None:
    path = runtime_base / "systemd"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        image = f"{plain_registry.address}/busybox"
        fresh_rpod.configure(f'[registries]\ninsecure = ["{plain_registry.address}"]\n')
        done = fresh_rpod("run", "--rm", "--sdnotify=conmon", image, "true", env={"NOTIFY_SOCKET": str(path)})
        assert done.code == 0, done
        assert manager.recv(1000).startswith(b"EXTEND_TIMEOUT_USEC=")
        assert b"READY=1" in manager.recv(1000)

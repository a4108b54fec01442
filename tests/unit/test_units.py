"""What a Quadlet file becomes: its keys, its references to other files, its mistakes."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest
from support import quadlet
from support.quadlet import EVERY_KIND, IMAGE, argv, converted, put, refused, values

from rootless.cli import fast, later
from rootless.units import generate, keys, words
from rootless.units.convert import NETWORK_UNIT

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return quadlet.own_home(tmp_path, monkeypatch)


# --- container files


def test_the_smallest_container(home: Path) -> None:
    made = converted(home, IMAGE)
    assert made.name == "web.service"
    assert argv(made) == [
        *("run", "--name", "systemd-%N", "--replace", "--rm", "--cgroups=split", "--log-driver", "journald"),
        *("--sdnotify=conmon", "-d", "localhost/web"),
    ]
    assert argv(made, "ExecStop") == ["stop", "--ignore", "systemd-%N"]
    assert argv(made, "ExecStopPost") == ["rm", "-v", "-f", "-i", "systemd-%N"]
    assert values(made, "Service", "ExecStopPost")[0].startswith("-/")
    shown = dict(made.sections["Service"])
    assert [shown[key] for key in ("Type", "NotifyAccess", "KillMode", "Delegate")] == ["notify", "all", "mixed", "yes"]
    assert shown["Environment"] == "PODMAN_SYSTEMD_UNIT=%n"
    assert ("After", NETWORK_UNIT) in made.sections["Unit"]
    assert made.links == []


def test_every_kind_of_key(home: Path) -> None:
    put(home, "db.container", "[Container]\nImage=localhost/db\nContainerName=db\n")
    put(home, "data.volume", "[Volume]\n")
    put(home, "base.image", "[Image]\nImage=quay.io/base:1\n")
    made = converted(home, EVERY_KIND)
    folder = home / ".config/rpod/systemd"
    assert argv(made) == [
        *("--log-level", "debug", "run", "--name", "web", "--replace", "--rm", "--cgroups=split"),
        *("--log-driver", "journald", "--sdnotify=healthy", "-d", "--pids-limit", "7", "--stop-timeout", "30"),
        *("--dns", "1.1.1.1", "--dns", "9.9.9.9", "--init=false", "--read-only"),
        *("--security-opt", "no-new-privileges", "--security-opt", "seccomp=/a b.json"),
        *("--security-opt", "mask=/proc/a:/proc/b", "--cap-drop", "all", "--cap-add", "CAP_A", "--cap-add", "CAP_B"),
        *("--label", "io.containers.autoupdate=registry", "--publish", "8080:80"),
        *("--env", "A=2", "--env", "B=two words", "--env", "C=x y", "--label", "two"),
        *("--health-cmd", "curl -f http://localhost", "--network", "container:db", "--user", "1:2"),
        *("--device", "/dev/null"),
        *("--volume", "systemd-data:/data:Z", "--volume", f"{folder}/conf:/etc/conf", "--volume", "/srv:/srv"),
        *("--volume", "/anonymous", "--mount", f"type=bind,source={folder}/conf,destination=/x"),
        *("--mount", "type=volume,source=systemd-data,destination=/y", "--mount", "type=tmpfs,destination=/z"),
        *("--env-file", f"{folder}/web.env", "--cpus", "2", "quay.io/base:1"),
        *("sh", "-c", 'echo $$HOME "a b"', "%i"),
    ]
    unit = made.sections["Unit"]
    assert ("After", "db.service data-volume.service basic.target") in unit
    for needed in ("base-image.service", "db.service", "data-volume.service"):
        assert unit.count(("Requires", needed)) == unit.count(("After", needed)) == 1
    assert {value for key, value in unit if key == "RequiresMountsFor"} == {f"{folder}/conf", "/srv"}
    assert argv(made, "ExecReload")[2:] == ["kill", "--signal", "HUP", "web"]
    assert values(made, "Service", "TimeoutStopSec") == ["90"]
    assert values(made, "Service", "Environment") == ["MINE=1", "PODMAN_SYSTEMD_UNIT=%n"]
    assert made.links == [
        "www.service",
        *("default.target.wants/web.service", "other.target.wants/web.service"),
        *("third.target.requires/web.service", "fourth.target.upholds/web.service"),
    ]
    assert made.sections["X-Mine"] == [("Anything", "goes")]


def test_a_oneshot_stays_in_the_foreground(home: Path) -> None:
    made = converted(home, f"{IMAGE}Exec=true\n[Service]\nType=oneshot\n")
    assert "-d" not in argv(made)
    assert not any(word.startswith("--sdnotify") for word in argv(made))
    assert not values(made, "Service", "NotifyAccess")


def test_an_empty_entrypoint_and_a_file_that_may_be_missing(home: Path) -> None:
    path = put(home, "there.env", "A=1\n")
    made = converted(home, f"{IMAGE}Entrypoint=\nEnvironmentFile=-gone.env -there.env\nAppArmor=unconfined\n")
    assert argv(made)[-6:] == [
        "--security-opt",
        "apparmor=unconfined",
        "--entrypoint=",
        "--env-file",
        str(path),
        "localhost/web",
    ]
    made = converted(home, f'{IMAGE}Entrypoint=\nEntrypoint=["a", "b"]\n')
    assert argv(made)[-2] == '--entrypoint=["a", "b"]'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("[Container]\nExec=true\n", 2, "lacks Image="),
        ("[Unit]\nX=1\n", 0, "no section [Container]"),
        (f"{IMAGE}Rootfs=/x\n", 3, "exclude each other"),
        (f"{IMAGE}Enviroment=A=1\n", 3, "no key Enviroment"),
        (f"{IMAGE}Secret=x\n", 3, "not there yet"),
        (f"{IMAGE}RemapUsers=keep-id\n", 3, "not supported"),
        (f"{IMAGE}\n\nReadOnly=maybe\n", 5, "neither true nor false"),
        (f"{IMAGE}Group=5\n", 3, "needs User="),
        (f"{IMAGE}Volume=x.volume:/x\n", 3, "no file x.volume"),
        (f"{IMAGE}Network=lan.network\n", 3, ".network files are not there yet"),
        (f'{IMAGE}Exec=sh "x\n', 3, "has no end"),
        (f"{IMAGE}Label=rule=Host(x) && y\n", 3, "'&&' is no NAME=VALUE"),
        (f"{IMAGE}ReloadCmd=x\nReloadSignal=HUP\n", 4, "exclude each other"),
        (f"{IMAGE}[Service]\nType=simple\n", 4, "Type=simple"),
        (f"{IMAGE}[Service]\nKillMode=none\n", 4, "KillMode=none"),
        (f"{IMAGE}[Unit]\nAfter=gone.container\n", 4, "no file gone.container"),
        (f"{IMAGE}[Install]\nWantedBy=../x\n", 4, "no folder"),
        (f"{IMAGE}[Install]\nAlias=x.timer\n", 4, "name of a service"),
        (f"{IMAGE}[Quadlet]\nNope=1\n", 4, "[Quadlet] has no key Nope"),
        (f"{IMAGE}ServiceName=../x\n", 3, "cannot be the name of a service"),
        (f"{IMAGE}StopTimeout=soon\n", 3, "not a number"),
        (f"{IMAGE}StopTimeout={'9' * 5000}\n", 3, "not a number"),
    ],
)
def test_a_mistake_names_file_and_line(home: Path, text: str, line: int, said: str) -> None:
    message = refused(home, text)
    assert message.startswith(f"{line}: " if line else " ")
    assert said in message


@pytest.mark.parametrize("kind", sorted(keys.KINDS_LATER))
def test_kinds_that_are_not_there_yet(home: Path, kind: str) -> None:
    assert f".{kind} files are not there yet" in refused(home, "[X]\nY=1\n", f"web.{kind}")


def test_a_file_with_a_mistake_becomes_a_service_that_says_it(home: Path) -> None:
    put(home, "web.container", f"{IMAGE}Nope=1%\n[Install]\nWantedBy=default.target\n")
    (outcome,) = generate.generate()
    assert outcome.service.links == ["default.target.wants/web.service"]
    command = [
        word.replace("$$", "$").replace("%%", "%")
        for word in words.split(values(outcome.service, "Service", "ExecStart")[0])
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 78
    assert "web.container:3: [Container] has no key Nope" in done.stderr


# --- volumes and images


def test_volumes(home: Path) -> None:
    made = converted(home, "[Volume]\nUser=5\nGroup=6\nCopy=no\nLabel=a=b\n", "data.volume")
    assert made.name == "data-volume.service"
    assert argv(made) == [
        *("volume", "create", "--ignore", "--label", "a=b", "--opt", "nocopy", "--opt", "o=uid=5,gid=6", "systemd-data")
    ]
    assert values(made, "Service", "Type") == ["oneshot"]
    made = converted(
        home, "[Volume]\nVolumeName=d\nDevice=/srv\nType=bind\nOptions=ro\nServiceName=dd\n", "data.volume"
    )
    assert made.name == "dd.service"
    assert argv(made)[3:] == ["--opt", "device=/srv", "--opt", "type=bind", "--opt", "o=ro", "d"]
    assert "needs Device=" in refused(home, "[Volume]\nType=bind\n", "data.volume")
    assert "needs" in refused(home, "[Volume]\nDriver=image\n", "data.volume")


def test_images(home: Path) -> None:
    made = converted(
        home, "[Image]\nImage=quay.io/a:1\nImageTag=b\nTLSVerify=no\nPolicy=newer\nArch=arm64\n", "a.image"
    )
    assert argv(made) == [
        *("image", "pull", "--arch", "arm64", "--policy", "newer", "--tls-verify=false", "quay.io/a:1")
    ]
    assert argv(converted(home, "[Container]\nImage=a.image\n"))[-1] == "b"
    assert "lacks Image=" in refused(home, "[Image]\nArch=x\n", "a.image")


COMMANDS = {"container": ["run"], "volume": ["volume", "create"], "image": ["image", "pull"]}


@pytest.mark.parametrize("kind", keys.KINDS)
def test_every_key_stands_for_an_option_that_rpod_has_or_refuses_by_name(kind: str) -> None:
    command = COMMANDS[kind]
    for key in keys.KINDS[kind].keys:
        if key.option:
            words_ = [key.option] if key.kind == keys.FLAG else [key.option, f"{key.prefix}1"]
            known = fast.understands([*command, *words_, "name"])
            refused = key.option.removeprefix("--") in later.OPTIONS.get(" ".join(command), ())
            assert known != refused, key.name


@pytest.mark.parametrize(
    "line",
    [
        "run --name x --replace --rm --cgroups=split --log-driver journald --sdnotify=conmon -d image",
        "run --network none --user 1 --device /x --volume /x --mount x --env-file x image",
        "volume create --ignore --opt x name",
        "stop --ignore name",
        "rm -v -f -i name",
        "kill --signal HUP name",
    ],
)
def test_rpod_has_the_other_options_of_services(line: str) -> None:
    assert fast.understands(line.split())

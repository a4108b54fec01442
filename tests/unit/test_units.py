"""Quadlet files: the syntax of unit files, the keys, references, drop-ins, masks, links, and the folder of services."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rootless.cli import fast, later
from rootless.errors import ConflictError
from rootless.units import generate, keys, search, sync, words
from rootless.units.convert import NETWORK_UNIT, program
from rootless.units.unitfile import UnitError, UnitFile

if TYPE_CHECKING:
    from rootless.units.service import Service

IMAGE = "[Container]\nImage=localhost/web\n"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own; the folder of the machine's administrator is not looked at."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    for name in ("QUADLET_UNIT_DIRS", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(home: Path, name: str, text: str, folder: str = "rpod/systemd") -> Path:
    path = home / ".config" / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def service(name: str = "web.container") -> Service:
    outcome = next(outcome for outcome in generate.generate() if outcome.name == name)
    if outcome.error is not None:
        raise outcome.error
    return outcome.service


def values(made: Service, section: str, key: str) -> list[str]:
    return [value for name, value in made.sections[section] if name == key]


def argv(made: Service, key: str = "ExecStart") -> list[str]:
    return words.split(values(made, "Service", key)[-1].removeprefix("-"))[len(program()) :]


def converted(home: Path, text: str, name: str = "web.container") -> Service:
    put(home, name, text)
    return service(name)


def refused(home: Path, text: str, name: str = "web.container") -> str:
    path = put(home, name, text)
    with pytest.raises(UnitError) as caught:
        service(name)
    assert caught.value.message.startswith(f"{path}:")
    return caught.value.message.removeprefix(f"{path}:")


# --- the syntax


def test_lines_comments_continuations_and_repeated_sections() -> None:
    unit = UnitFile("x.container", "x")
    unit.parse(
        "\ufeff# a comment\n[A]\n K = one \\\n; inside\n   two \\\\\nK=\nK=three\n\n[B]\nX=1\n[A]\nL=a=b\n",
        "x",
    )
    assert [(e.key, e.value, e.line) for e in unit.entries("A")] == [
        ("K", "one    two \\\\".replace("    ", "  "), 3),
        ("K", "", 6),
        ("K", "three", 7),
        ("L", "a=b", 12),
    ]
    assert [entry.value for entry in unit.all("A", "K")] == ["three"]
    assert unit.text("B", "Y") == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [("K=1\n", 1), ("[A\nK=1", 1), ("[A]\n\nnonsense\n", 3), ("[A]\n=1\n", 2), ("[A]\nK=\\\n\0x", 3)],
)
def test_a_broken_line_is_pointed_at(text: str, line: int) -> None:
    with pytest.raises(UnitError, match=rf"^x:{line}: "):
        UnitFile("x", "x").parse(text, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("  a  b\t", ["a", "b"]),
        ('a "b c" \'d "e\'', ["a", "b c", 'd "e']),
        ('x="a b"c ""', ["x=a bc", ""]),
        (r"a\x20b \u00e9 \101 a\sb \q", ["a b", "é", "A", "a b", "\\q"]),
        ("ünï", ["ünï"]),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words.split(text) == expected


@pytest.mark.parametrize("text", ['"a', "'", r"\x0", r"\xzz", r"\x00", r"\400", r"\U99999999"])
def test_words_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"has no end|is no character"):
        words.split(text)


@pytest.mark.parametrize("word", ["a", "", " ", ";", 'a"b', "a'b", "a\\b", "a\nb\t\x01", "%n", "ü", "-x=y z"])
def test_a_quoted_word_is_read_back(word: str) -> None:
    assert words.split(f"before {words.quote(word)} after") == ["before", word, "after"]


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


EVERY_KIND = r"""
[Unit]
Description=All of them
After=db.container data.volume basic.target
[Container]
Image=base.image
ContainerName=web
Exec=sh -c "echo $$HOME \"a b\"" %i
Environment=A=1 "B=two words" A=2
Environment=C="x y"
Label=one=1
Label=
Label=two
AddCapability=CAP_A CAP_B
DropCapability=all
DNS=1.1.1.1
DNS=9.9.9.9
PidsLimit=5
PidsLimit=7
ReadOnly=yes
RunInit=no
NoNewPrivileges=true
SecurityLabelDisable=false
SeccompProfile=/a b.json
Mask=/proc/a:/proc/b
AutoUpdate=registry
User=1
Group=2
Volume=data.volume:/data:Z
Volume=./conf:/etc/conf
Volume=/srv:/srv
Volume=/anonymous
Mount=type=bind,source=./conf,destination=/x
Mount=type=volume,source=data.volume,destination=/y
Mount=type=tmpfs,destination=/z
EnvironmentFile=web.env
AddDevice=-/dev/rpod-is-not-there /dev/null
Network=db.container
PublishPort=8080:80
Notify=healthy
HealthCmd=curl -f http://localhost
ReloadSignal=HUP
StopTimeout=30
GlobalArgs=--log-level debug
PodmanArgs=--cpus 2
[Service]
Restart=always
Environment=MINE=1
[Install]
WantedBy=default.target other.target
RequiredBy=third.target
UpheldBy=fourth.target
Alias=www.service
[X-Mine]
Anything=goes
"""


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


# --- where files are looked for


def test_the_first_folder_counts_and_subfolders_are_searched(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(home, "web.container", IMAGE, "containers/systemd/app")
    assert set(search.find()) == {"web.container"}
    mine = put(home, "web.container", IMAGE)
    assert search.find() == {"web.container": str(mine)}
    (home / "run" / "containers" / "systemd").mkdir(parents=True)
    first = home / "run" / "containers" / "systemd" / "web.container"
    first.write_text(IMAGE)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home / "run"))
    assert search.find() == {"web.container": str(first)}
    monkeypatch.setenv("QUADLET_UNIT_DIRS", str(home / ".config/containers/systemd"))
    assert search.find() == {"web.container": str(home / ".config/containers/systemd/app/web.container")}


@pytest.mark.parametrize("how", ["link", "empty"])
def test_a_mask_hides_the_file_behind_it(home: Path, how: str) -> None:
    put(home, "web.container", IMAGE, "containers/systemd")
    mask = put(home, "web.container", "")
    if how == "link":
        mask.unlink()
        mask.symlink_to("/dev/null")
    assert search.find() == {}


def test_folders_in_a_circle_are_searched_once(home: Path) -> None:
    path = put(home, "web.container", IMAGE)
    (path.parent / "again").symlink_to(path.parent)
    assert search.find() == {"web.container": str(path)}


def test_drop_ins_with_truncated_names_in_the_order_of_their_names(home: Path) -> None:
    put(home, "a-b@i.container", "[Container]\nImage=localhost/0\nDNS=0\n")
    for number, folder in enumerate(
        ("container.d", "a-.container.d", "a-@.container.d", "a-b@.container.d", "a-b@i.container.d"), 1
    ):
        put(home, f"{folder}/{number}.conf", f"[Container]\nDNS={number}\n")
        put(home, f"{folder}/9.conf", f"[Container]\nMemory={number}\n")
    put(home, "a-c.container.d/8.conf", "[Container]\nDNS=no\n")
    put(home, "container.d/7.txt", "nonsense")
    made = service("a-b@i.container")
    found = argv(made)
    assert [found[i + 1] for i, word in enumerate(found) if word == "--dns"] == list("012345")
    assert found[found.index("--memory") + 1] == "5"
    masked = put(home, "a-b@i.container.d/2.conf", "")
    assert masked.exists()
    assert "2" not in [w for w in argv(service("a-b@i.container")) if len(w) == 1]


def test_templates(home: Path) -> None:
    path = put(home, "web@.container", f"{IMAGE}[Install]\nWantedBy=default.target\n")
    made = service("web@.container")
    assert argv(made)[1:3] == ["--name", "systemd-%p_%i"]
    assert made.links == []
    path.write_text(path.read_text() + "DefaultInstance=main\n")
    made = service("web@.container")
    assert made.links == ["default.target.wants/web@main.service"]
    assert made.link_target(made.links[0]) == "../web@.service"
    (path.parent / "web@two.container").symlink_to("web@.container")
    assert service("web@two.container").name == "web@two.service"


def test_two_files_with_one_service(home: Path) -> None:
    put(home, "a.container", IMAGE)
    assert "a.container becomes a.service, too" in refused(home, f"{IMAGE}ServiceName=a\n", "b.container")


def test_another_data_directory_is_handed_to_the_service(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", "/var/tmp/a b")
    made = converted(home, IMAGE)
    assert '"XDG_DATA_HOME=/var/tmp/a b"' in values(made, "Service", "Environment")


# --- the folder of services


def test_the_folder_follows_the_files(home: Path) -> None:
    folder = home / ".config/systemd/user"
    put(home, "web.container", f"{IMAGE}[Install]\nWantedBy=default.target\nAlias=www.service\n")
    mine = put(home, "mine.service", "[Service]\nExecStart=true\n", "systemd/user")
    changes = sync.synchronise(generate.services(generate.generate()))
    assert changes.written == [NETWORK_UNIT, "web.service"]
    assert (folder / "default.target.wants/web.service").resolve() == folder / "web.service"
    assert (folder / "www.service").resolve() == folder / "web.service"
    changes = sync.synchronise(generate.services(generate.generate()))
    assert (changes.written, changes.removed) == ([], [])
    put(home, "web.container", f"{IMAGE}[Install]\nWantedBy=other.target\n")
    assert sync.synchronise(generate.services(generate.generate())).written == ["web.service"]
    assert not (folder / "default.target.wants").exists()
    assert not (folder / "www.service").is_symlink()
    search_path = Path(search.find()["web.container"])
    search_path.unlink()
    assert sync.synchronise(generate.services(generate.generate())).removed == [NETWORK_UNIT, "web.service"]
    assert [path.name for path in folder.iterdir()] == [mine.name]


def test_somebody_elses_service_is_not_touched(home: Path) -> None:
    mine = put(home, "web.service", "[Service]\nExecStart=true\n", "systemd/user")
    put(home, "web.container", IMAGE)
    with pytest.raises(ConflictError, match="rpod did not write it"):
        sync.synchronise(generate.services(generate.generate()))
    assert mine.read_text() == "[Service]\nExecStart=true\n"


def test_a_mark_cannot_lead_out_of_the_folder(home: Path) -> None:
    outside = home / ".config/outside"
    folder = home / ".config/systemd/user"
    folder.mkdir(parents=True)
    outside.symlink_to(folder / "old.service")
    (folder / "old.service").write_text("# Generated by rpod from /x; changes are lost\n# rpod-link: ../../outside\n")
    assert sync.synchronise([]).removed == ["old.service"]
    assert outside.is_symlink()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_any_service(home: Path, tmp_path: Path) -> None:
    put(home, "db.container", "[Container]\nImage=localhost/db\nContainerName=db\n")
    put(home, "data.volume", "[Volume]\n")
    put(home, "base.image", "[Image]\nImage=quay.io/base:1\n")
    put(home, "web.container", EVERY_KIND)
    put(home, "broken.container", "[Container]\nNope=1\n")
    put(home, "job.container", f"{IMAGE}[Service]\nType=oneshot\n")
    put(home, "many@.container", f"{IMAGE}[Install]\nWantedBy=default.target\nDefaultInstance=one\n")
    folder = tmp_path / "units"
    made = generate.services(generate.generate())
    generate.write(str(folder), made)
    paths = [str(folder / item.name) for item in made]
    env = {
        "PATH": "/usr/bin:/bin",
        "SYSTEMD_UNIT_PATH": f"{folder}:",
        "HOME": str(home),
        "XDG_RUNTIME_DIR": str(tmp_path),
    }
    done = subprocess.run(
        ["systemd-analyze", "--user", "--man=no", "verify", *paths],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    said = (done.stdout + done.stderr).splitlines()
    assert [line for line in said if str(folder) in line or any(item.name in line for item in made)] == []

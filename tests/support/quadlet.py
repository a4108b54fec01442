"""Quadlet files in a home of the test's own, and the services that they become."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rootless.units import generate, words
from rootless.units.convert import program
from rootless.units.unitfile import UnitError

if TYPE_CHECKING:
    from pathlib import Path

    from rootless.units.service import Service

IMAGE = "[Container]\nImage=localhost/web\n"
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


def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
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

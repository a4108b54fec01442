"""Which Quadlet files count: folders, masks, drop-ins, templates; and the folder of services that follows them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from support import quadlet
from support.quadlet import EVERY_KIND, IMAGE, argv, converted, put, refused, service, values

from rootless.errors import ConflictError
from rootless.units import generate, search, sync
from rootless.units.convert import NETWORK_UNIT


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return quadlet.own_home(tmp_path, monkeypatch)


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

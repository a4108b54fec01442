"""User namespaces: whose ids a container shows, and whose its files are outside."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import rootless

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod

UID, GID = os.getuid(), os.getgid()


def test_the_default_map(rpod: Rpod, image: str) -> None:
    first, second, *_ = rpod.ok("run", "--rm", image, "cat", "/proc/self/uid_map").splitlines()
    assert first.split() == ["0", str(UID), "1"]
    assert second.split()[0] == "1"


def test_files_are_owned_right_inside_and_removable_outside(rpod: Rpod, image: str) -> None:
    script = "mkdir -m 700 /d; touch /d/f; chown -R 1000:2000 /d; stat -c %u:%g /d /home/user /root"
    assert rpod.ok("run", "--name", "owns", image, "sh", "-c", script).split() == ["1000:2000", "1000:1000", "0:0"]
    (folder,) = (rpod.data / "containers").glob("*")
    assert rpod.ok("rm", "owns")
    assert not folder.exists()


def test_keep_id(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    script = "id -u; id -g; stat -c %u:%g /data/mine /bin/busybox /home/user; touch /data/made; touch /tmp/made"
    out = rpod.ok("run", "--rm", "--userns", "keep-id", "-v", f"{tmp_path}:/data", image, "sh", "-c", script)
    assert out.split() == [str(UID), str(GID), f"{UID}:{GID}", "0:0", "1000:1000"]
    info = (tmp_path / "made").stat()
    assert (info.st_uid, info.st_gid) == (UID, GID)


def test_keep_id_as_another_number(rpod: Rpod, image: str, tmp_path: Path) -> None:
    script = "id -u; id -g; touch /data/made; stat -c %u:%g /data/made"
    words = ("--userns", "keep-id:uid=1000,gid=2000", "--network", "none", "-v", f"{tmp_path}:/data")
    assert rpod.ok("run", "--rm", *words, image, "sh", "-c", script).split() == ["1000", "2000", "1000:2000"]
    assert (tmp_path / "made").stat().st_uid == UID


def test_keep_id_as_root(rpod: Rpod, image: str, tmp_path: Path) -> None:
    script = "id -u; touch /data/made; chown 5:5 /data/made; touch /etc/new"
    words = ("--userns", "keep-id", "-u", "root", "-v", f"{tmp_path}:/data")
    assert rpod.ok("run", "--rm", *words, image, "sh", "-c", script) == "0"
    assert (tmp_path / "made").stat().st_uid != UID, "root of keep-id is a subordinate id"
    rpod.ok("unshare", "chown", "0:0", f"{tmp_path}/made")


def test_keep_id_survives_a_restart(rpod: Rpod, image: str) -> None:
    script = "echo x >>f; wc -l <f; stat -c %u f"
    rpod.ok("create", "--name", "again", "--userns", "keep-id", "-w", "/tmp", image, "sh", "-c", script)
    assert rpod.ok("start", "-a", "again").split() == ["1", str(UID)]
    assert rpod.ok("start", "-a", "again").split() == ["2", str(UID)]


def test_maps_of_the_users_own(rpod: Rpod, image: str) -> None:
    words = ("--uidmap", "0:1:1000", "--uidmap", "1000:0:1", "--gidmap", "0:0:1", "--gidmap", "1:1:2000")
    out = rpod.ok("run", "--rm", *words, image, "sh", "-c", "cat /proc/self/uid_map; stat -c %u /bin/busybox")
    *lines, owner = out.splitlines()
    assert ["1000", str(UID), "1"] in [line.split() for line in lines]
    assert owner == "0"


def test_one_user_and_many_groups(rpod: Rpod, image: str) -> None:
    """One id in a map that was asked for is no lack of subordinate ids."""
    words = ("--uidmap", "0:0:1", "--gidmap", "0:0:1", "--gidmap", "1:1:100")
    done = rpod("run", "--rm", "--network", "none", *words, image, "cat", "/proc/self/uid_map", "/proc/self/gid_map")
    assert [line.split()[::2] for line in done.out.splitlines()] == [["0", "1"], ["0", "1"], ["1", "100"]]
    assert done.err == ""


def test_ranges_by_name(rpod: Rpod, image: str) -> None:
    name = pwd.getpwuid(UID).pw_name
    assert rpod.ok(
        "run", "--rm", "--network", "none", "--subuidname", name, image, "cat", "/proc/self/uid_map"
    ).split()[:2] == ["0", "1"]
    assert "nobody-here" in rpod.fails("run", "--rm", "--subgidname", "nobody-here", image, "true")
    assert "--userns" in rpod.fails("run", "--rm", "--subuidname", name, "--userns", "auto", image, "true")


def test_the_namespace_of_another_container(rpod: Rpod, image: str) -> None:
    rpod.ok("run", "-d", "--name", "base", image, "sleep", "60")
    script = "readlink /proc/self/ns/user"
    assert rpod.ok("run", "--rm", "--userns", "container:base", image, "sh", "-c", script) == rpod.ok(
        "exec", "base", "sh", "-c", script
    )


@pytest.mark.parametrize("mode", ["host", "keep-id", "auto"])
def test_the_namespace_at_a_path(rpod: Rpod, image: str, mode: str) -> None:
    rpod.ok("run", "-d", "--name", f"base-{mode}", "--network", "none", "--userns", mode, image, "sleep", "60")
    path = f"ns:/proc/{rpod.ok('inspect', f'base-{mode}', '--format', '{{.State.Pid}}')}/ns/user"
    script = "readlink /proc/self/ns/user; stat -c %u:%g /bin/busybox /home/user; touch /new; stat -c %u /new"
    theirs = rpod.ok("exec", f"base-{mode}", "readlink", "/proc/self/ns/user")
    rpod.ok("create", "--name", f"join-{mode}", "--network", "none", "--userns", path, image, "sh", "-c", script)
    assert rpod.ok("start", "-a", f"join-{mode}").split() == [theirs, "0:0", "1000:1000", "0"]
    rpod.ok("rm", "-f", "-t", "0", f"base-{mode}")
    assert "No such file".lower() in rpod.fails("start", f"join-{mode}").lower()


@pytest.mark.skipif(UID == 1000, reason="the image knows a user with this id")
def test_the_users_of_a_container_have_accounts(rpod: Rpod, image: str) -> None:
    """keep-id, a number that the image does not know, users of the host; what is there stays."""
    name = pwd.getpwuid(UID).pw_name
    last = "tail -n 1 /etc/passwd; tail -n 1 /etc/group; id -un; echo $HOME"

    def look(*words: str) -> list[str]:
        return rpod.ok("run", "--rm", "--network", "none", *words, image, "sh", "-c", last).splitlines()

    assert look("--userns", "keep-id", "-w", "/tmp") == [
        f"{name}:*:{UID}:{GID}:{pwd.getpwuid(UID).pw_gecos.split(',')[0]}:/tmp:/bin/sh",
        f"{grp.getgrgid(GID).gr_name}:x:{GID}:{name}",
        name,
        "/tmp",
    ]
    home = pwd.getpwuid(UID).pw_dir
    assert look("--userns", "keep-id", "--tmpfs", home)[3] == home
    assert look("--userns", "keep-id:uid=1000,gid=1000")[2:] == ["user", "/home/user"]
    assert look("-u", "4321", "--read-only")[::2] == ["4321:*:4321:0:container user:/:/bin/sh", "4321"]
    entries = ("--passwd-entry", "$USERNAME:x:$UID:5:Me:/me:/bin/ash", "--group-entry", "g$GROUPNAME:x:$GID:")
    made = look("--hostuser", name, *entries)
    assert made == [f"{name}:x:{UID}:5:Me:/me:/bin/ash", f"g{grp.getgrgid(GID).gr_name}:x:{GID}:", "root", "/root"]
    assert look("-u", "0", "--userns", "keep-id", "--passwd=false")[0].startswith("user:")
    for absent in ("nobody-here", "1" * 5000):
        message = rpod.fails("run", "--rm", "--hostuser", absent, image, "true")
        assert absent[:100] in message and "no such user" in message
    assert "one line" in rpod.fails("run", "--rm", "--passwd-entry", "a\nroot::0:0::/:/bin/sh", image, "true")


def test_the_callers_groups_are_kept(rpod: Rpod, image: str, tmp_path: Path) -> None:
    """What only the caller's group may read; under nomap the group has no name inside, and serves all the same."""
    (tmp_path / "file").write_text("shared")
    for path, mode in ((tmp_path, 0o750), (tmp_path / "file", 0o640)):
        path.chmod(mode)
    words = ("run", "--rm", "--network", "none", "--userns", "nomap", "-v", f"{tmp_path}:/data")
    rpod.fails(*words, image, "cat", "/data/file", code=1)
    assert rpod.ok(*words, "--group-add", "keep-groups", image, "cat", "/data/file") == "shared"
    assert "keep-groups" in rpod.fails(*words, "--group-add", "keep-groups", "--group-add", "5", image, "true")
    rpod.ok("run", "-d", "--name", "kept", *words[2:], "--group-add", "keep-groups", image, "sleep", "60")
    assert rpod.ok("exec", "-u", "user", "kept", "cat", "/data/file") == "shared"
    rpod.ok("rm", "-f", "-t", "0", "kept")


def test_my_files_stay_mine(rpod: Rpod, image: str, tmp_path: Path) -> None:
    """A program that is not root, in a directory of the user's own: no option is needed, and one line says so, once."""
    (tmp_path / "mine").write_text("text")
    (tmp_path / "mine").chmod(0o600)
    words = ["--rm", "--network", "none", "-v", f"{tmp_path}:/data"]
    script = "id -u; id -g; cat /data/mine; echo; touch /data/made; stat -c %u:%g /data/made /home/user /bin/busybox"
    first = rpod("run", *words, "-u", "user", image, "sh", "-c", script)
    assert first.out.split() == ["1000", "1000", "text", "1000:1000", "1000:1000", "0:0"], first
    assert "--userns keep-id:uid=1000,gid=1000" in first.err
    assert "--map-user=false" in first.err
    again = rpod("run", *words, "-u", "1234:5", image, "sh", "-c", "touch /data/again; id -u; id -g")
    assert (again.out.split(), again.err) == (["1234", "5"], "")
    for name in ("made", "again"):
        info = (tmp_path / name).stat()
        assert (info.st_uid, info.st_gid) == (UID, GID)
    assert "denied" in rpod.fails("run", *words, "--map-user=false", "-u", "user", image, "cat", "/data/mine", code=1)
    rpod.ok("create", "--name", "seen", *words[1:], "-u", "user", image)
    assert rpod.ok("inspect", "seen", "--format", "{{.HostConfig.UsernsMode}}") == "keep-id:uid=1000,gid=1000"


def test_ids_are_shifted_only_for_files_of_the_users_own(rpod: Rpod, image: str, tmp_path: Path) -> None:
    show = ("sh", "-c", "head -n 1 /proc/self/uid_map")
    default = ["0", str(UID), "1"]
    mount = ("-v", f"{tmp_path}:/data")
    for words in (
        ("-u", "user"),
        ("-u", "user", "-v", "/usr/share:/data"),
        ("-u", "user", "-v", "named:/data"),
        ("-u", "user", "--userns", "host", *mount),
        ("-u", "0:5", *mount),
        mount,
    ):
        assert rpod.ok("run", "--rm", "--network", "none", *words, image, *show).split() == default, words
    assert "--map-user" in rpod.fails(
        "run", "--rm", "--map-user", "--userns", "nomap", "-u", "5", *mount, image, "true"
    )
    before = rpod.home / "config" / "rpod" / "containers.toml"
    text = before.read_text() if before.exists() else ""
    rpod.configure(f"{text}\n[containers]\nmap_user = false\n")
    try:
        assert rpod.ok("run", "--rm", "--network", "none", "-u", "user", *mount, image, *show).split() == default
    finally:
        rpod.configure(text)


LOOK = "stat -c %u:%g /bin/busybox /home/user /etc/hosts; echo seen >/dev/stderr; tail -n 1 /proc/self/uid_map"


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (("--userns", "nomap"), 0),
        (("--userns", "auto:size=3000"), 0),
        (("--uidmap", "0:1:1000", "--uidmap", "1000:2000:9"), 1000),
    ],
)
@pytest.mark.parametrize("network", ["none", "slirp4netns"])
def test_a_container_without_the_users_own_id(
    rpod: Rpod, image: str, words: tuple[str, ...], first: int, network: str
) -> None:
    done = rpod("run", "--rm", "--network", network, *words, image, "sh", "-c", LOOK)
    root, user, hosts, line = done.out.splitlines()
    assert (done.code, root, user, hosts) == (0, "0:0", "1000:1000", "0:0"), done
    assert "seen" in done.err
    assert line.split()[0] == str(first)


def test_an_installation_in_a_closed_home(rpod: Rpod, image: str, tmp_path: Path) -> None:
    """Root of the container cannot read rpod's own modules there."""
    (tmp_path / "source").mkdir()
    home = tmp_path / "closed"
    shutil.copytree(os.path.dirname(rootless.__file__), home / "rootless", ignore=shutil.ignore_patterns("*.pyc"))
    home.chmod(0o700)
    words = ("-u", "4321", "-v", "new:/home:U", "-v", "filled:/etc", "-v", f"{tmp_path}/source:/over:O")
    for script in ("id -u", "stat -c %u /home", "test -s /etc/passwd && id -u"):
        argv = ("run", "--rm", "--userns", "nomap", *words, image, "sh", "-c", script)
        # The installed command would take its own modules.
        done = subprocess.run(
            [sys.executable, "-m", "rootless", *argv],
            env={**rpod.env, "PYTHONPATH": str(home), "XDG_CACHE_HOME": str(tmp_path / "cache")},
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.stdout == b"4321\n", done


def test_overlays_and_images_among_the_mounts(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o666)
    tmp_path.chmod(0o755)
    words = ("-v", f"{tmp_path}:/over:O", "--mount", f"type=image,source={image},destination=/image,rw=true")
    script = "echo changed >/over/open && cat /over/open; touch /over/new /image/x; stat -c %u:%g /over /image /image/x"
    out = rpod.ok("run", "--rm", "--network", "none", "--userns", "auto", *words, image, "sh", "-c", script)
    assert out.split() == ["changed", "0:0", "0:0", "0:0"]
    assert (tmp_path / "open").read_text() == "x"
    assert os.listdir(tmp_path) == ["open"]


@pytest.mark.parametrize("mode", ["host", "keep-id", "nomap"])
def test_settings_that_only_the_user_may_make(rpod: Rpod, image: str, mode: str) -> None:
    words = ("--network", "none", "--userns", mode, "--oom-score-adj", "300", "--ulimit", "nofile=77")
    script = "cat /proc/self/oom_score_adj; ulimit -n; stat -c %a /dev/shm; df -k /dev/shm | tail -n 1"
    out = rpod.ok("run", "--rm", *words, "--shm-size", "1m", image, "sh", "-c", script).split()
    assert out[:2] == ["300", "77"]
    assert "1024" in out


def test_the_user_does_not_exist_under_nomap(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    tmp_path.chmod(0o777)
    script = "stat -c %u:%g /data/mine; rm /data/mine && echo removed; touch /data/made"
    out = rpod.ok("run", "--rm", "--userns", "nomap", "-v", f"{tmp_path}:/data", image, "sh", "-c", script)
    assert out.split() == ["65534:65534", "removed"]
    assert (tmp_path / "made").stat().st_uid not in (0, UID)
    rpod.ok("unshare", "rm", f"{tmp_path}/made")


def test_the_whole_life_without_the_users_own_id(rpod: Rpod, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    rpod.ok("run", "-d", "--name", "life", "--userns", "auto", "-v", "stuff:/home/user", image, "sleep", "60")
    inner = "id -u; chown 5:6 /home/user/f; stat -c %u:%g /home/user /home/user/f; echo said >/dev/stdout"
    rpod.ok("cp", f"{tmp_path}/file", "life:/home/user/f")
    assert rpod.ok("exec", "life", "sh", "-c", inner).split() == ["0", "1000:1000", "5:6", "said"]
    assert rpod.ok("exec", "-u", "user", "life", "id", "-u") == "1000"
    assert rpod.ok("top", "life", "user", "huser").split()[2:] == [
        "root",
        rpod.ok("inspect", "life", "--format", FIRST),
    ]
    rpod.ok("stop", "-t", "0", "life")
    rpod.ok("cp", f"{tmp_path}/file", "life:/root/later")
    rpod.ok("cp", "life:/home/user/f", f"{tmp_path}/back")
    assert (tmp_path / "back").read_text() == "hello"
    rpod.ok("start", "life")
    rpod.ok("restart", "-t", "0", "life")
    assert rpod.ok("exec", "life", "stat", "-c", "%u:%g", "/root/later", "/home/user/f").split() == ["0:0", "5:6"]
    joined = rpod.ok(
        "run", "--rm", "--network", "container:life", image, "sh", "-c", "stat -c %u /bin; cat /proc/self/uid_map"
    )
    assert joined.split() == ["0", *rpod.ok("exec", "life", "cat", "/proc/self/uid_map").split()]
    stored = rpod.data / "containers" / rpod.ok("inspect", "life", "--format", "{{.Id}}") / "diff/root/later"
    assert rpod.ok("unshare", "stat", "-c", "%u:%g", str(stored)) == "0:0", "stored under the default map"
    rpod.ok("rm", "-f", "-t", "0", "life")


FIRST = '{{index (split (index .HostConfig.IDMappings.UidMap 0) ":") 1}}'


def test_automatic_ids_are_nobody_elses(rpod: Rpod, image: str) -> None:
    runs = [rpod.start("create", "--name", f"auto{n}", "--userns", "auto:size=1500", image) for n in range(4)]
    assert [run.wait() for run in runs] == [0] * 4
    rpod.ok("create", "--name", "auto4", "--userns", "auto", "-u", "5000", image)
    rpod.ok("create", "--name", "auto5", "--userns", "auto:uidmapping=7:0:1", image, "cat", "/proc/self/uid_map")
    taken: set[int] = set()
    for number in range(6):
        for line in rpod.ok(
            "inspect", f"auto{number}", "--format", "{{range .HostConfig.IDMappings.UidMap}}{{.}} {{end}}"
        ).split():
            _, outside, size = map(int, line.split(":"))
            assert taken.isdisjoint(range(outside, outside + size))
            taken |= set(range(outside, outside + size))
    assert UID in taken
    assert rpod.ok("start", "-a", "auto5").splitlines()[1].split() == ["7", "0", "1"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--userns", "magic"), "magic"),
        (("--userns", "keep-id:uid=x"), "'x'"),
        (("--userns", "keep-id:colour=1"), "colour"),
        (("--uidmap", "0:0:99999999"), "0:0:99999999"),
        (("--userns", "auto:colour=1"), "colour"),
        (("--userns", "auto:size=99999999"), "no 99999999 subordinate ids"),
        (("--userns", "nomap:size=5"), "size=5"),
        (("--userns", "container:nobody"), "nobody"),
        (("--userns", "ns:/etc/passwd"), "invalid argument"),
        (("--userns", "ns:/proc/1/ns/user"), "permission denied"),
    ],
)
def test_maps_that_make_no_sense(rpod: Rpod, image: str, words: tuple[str, ...], named: str) -> None:
    assert named in rpod.fails("run", "--rm", *words, image, "true")

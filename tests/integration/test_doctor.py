"""The doctor on machines that lack something: each lack is made for real."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from support.shell import program

from rootless.engine import doctor
from rootless.engine.doctor import ids
from rootless.kernel import spawn, userns

ASK = """
import json, sys
from rootless.engine import doctor
print(json.dumps([finding.as_dict() for finding in doctor.examine(sys.argv[1:] or None)]))
"""


def examine(
    *names: str, prefix: tuple[str, ...] = (), env: dict[str, str] | None = None
) -> dict[str, dict[str, object]]:
    """The findings of a doctor in a process of its own, started by ``prefix``."""
    done = subprocess.run(
        [*prefix, sys.executable, "-c", ASK, *names],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **(env or {})},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def in_namespace(*setup: str) -> tuple[str, ...]:
    """A prefix that runs a command as root of a user and mount namespace after the lines of ``setup``."""
    return ("unshare", "--user", "--map-root-user", "--mount", "sh", "-ec", "\n".join([*setup, 'exec "$@"']), "sh")


def test_everything_required_is_fine_here_and_nothing_is_left_behind(tmp_path: Path) -> None:
    findings = examine(env={"XDG_DATA_HOME": str(tmp_path / "data")})
    assert [f for f in findings.values() if f["required"] and not f["ok"]] == []
    assert list(tmp_path.iterdir()) == []
    assert not [line for line in Path("/proc/self/mounts").read_text().splitlines() if "probe-" in line]


def test_every_finding_that_is_not_fine_says_what_to_do() -> None:
    for finding in examine().values():
        assert finding["found"]
        assert finding["ok"] or finding["fix"], finding


def test_newuidmap_without_its_set_user_id_bit(tmp_path: Path) -> None:
    for name in ("newuidmap", "newgidmap"):
        source = spawn.which(name)
        assert source is not None
        shutil.copy(source, tmp_path / name)
        (tmp_path / name).chmod(0o755)
    findings = examine("id-maps", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    tools = findings["id-map-tools"]
    assert tools["cause"] == "tools-mode"
    assert tools["fix"] == f"sudo sh -c 'chown root:root {tmp_path}/newuidmap && chmod u+s {tmp_path}/newuidmap'"
    assert findings["id-maps"]["found"] == "not tried, because of: newuidmap, newgidmap"
    assert findings["id-maps"]["fix"] == tools["fix"]


def test_a_command_that_fails_says_what_the_doctor_would(tmp_path: Path) -> None:
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    env = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "XDG_DATA_HOME": str(tmp_path / "data")}

    def rpod(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*program(), *words], capture_output=True, text=True, env=env, timeout=60, check=False)

    done = rpod("run", "--rm", "hello")
    fix = f"sudo sh -c 'chown root:root {tmp_path}/newuidmap && chmod u+s {tmp_path}/newuidmap'"
    assert (done.returncode, done.stderr.splitlines()[-1]) == (125, f"rpod: hint: {fix}")
    done = rpod("doctor", "id-maps")
    assert done.returncode == 1
    assert f"administrator: {fix}" in done.stdout and "slirp4netns" not in done.stdout
    done = rpod("doctor", "frob")
    assert done.returncode == 125 and "there is no check 'frob'" in done.stderr


def test_newuidmap_not_installed(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden"
    hidden.write_text("")
    hidden.chmod(0o644)
    finding = examine("id-map-tools", prefix=in_namespace(f"mount --bind {hidden} /usr/bin/newuidmap"))["id-map-tools"]
    assert finding["cause"] == "tools-missing"
    assert str(finding["fix"]).startswith("sudo ")


def test_newuidmap_is_disarmed_by_no_new_privs() -> None:
    finding = examine("id-map-tools", prefix=("setpriv", "--no-new-privs"))["id-map-tools"]
    assert finding["cause"] == "no-new-privs"


def test_user_namespaces_limited_to_none() -> None:
    limit = "echo 0 > /proc/sys/user/max_user_namespaces"
    findings = examine("overlay", prefix=in_namespace(limit))
    assert findings["user-namespace"]["cause"] == "userns-limit"
    assert "user.max_user_namespaces=15000" in str(findings["user-namespace"]["fix"])
    assert findings["overlay"]["fix"] == findings["user-namespace"]["fix"]


def test_in_a_chroot(tmp_path: Path) -> None:
    enter = (
        f"top={tmp_path} && mount -t tmpfs none $top && mkdir $top/root && cd /",
        "for name in *; do",
        "if [ -L $name ]; then cp -P $name $top/root/; elif [ -d $name ]; then mkdir $top/root/$name",
        "mount --rbind $name $top/root/$name; fi; done",
        'exec chroot $top/root "$@"',
    )
    finding = examine("user-namespace", prefix=in_namespace(*enter))["user-namespace"]
    assert finding["cause"] == "userns-chroot"
    assert "pivot_root" in str(finding["fix"])


def test_no_subordinate_ids(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    hide = [f"mount --bind {tmp_path}/empty {path}" for path in ("/etc/subuid", "/etc/subgid")]
    finding = examine("subordinate-ids", prefix=in_namespace(*hide))["subordinate-ids"]
    assert finding["cause"] == "ranges-missing"
    assert finding["fix"] == "sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 root"


def test_subordinate_ids_that_another_user_has_too(tmp_path: Path) -> None:
    (tmp_path / "ids").write_text("root:200000:65536\nmallory:265000:65536\n")
    hide = [f"mount --bind {tmp_path}/ids {path}" for path in ("/etc/subuid", "/etc/subgid")]
    finding = examine("subordinate-ids", prefix=in_namespace(*hide))["subordinate-ids"]
    assert finding["cause"] == "ranges-shared"
    assert "mallory" in str(finding["found"])


@pytest.mark.parametrize(
    ("check", "node", "cause"),
    [("fuse-overlayfs", "/dev/fuse", "fuse-device-closed"), ("slirp4netns", "/dev/net/tun", "tun-device-closed")],
)
def test_a_device_that_is_closed_to_users(tmp_path: Path, check: str, node: str, cause: str) -> None:
    # A node under a nodev mount cannot be opened by anybody: as far as a file mode is from root here.
    cover = [f"mount --bind {node} {node}", f"mount -o remount,bind,nodev {node}"]
    finding = examine(check, prefix=in_namespace(*cover))[check]
    assert finding["cause"] == cause
    assert f"chmod 0666 {node}" in str(finding["fix"])


def test_a_home_on_a_file_system_without_what_images_need() -> None:
    """A ramfs has no extended attributes; overlay wants them of its upper directory."""
    mount = ["mount -t ramfs ramfs /mnt"]
    findings = examine("data-directory", "overlay", prefix=in_namespace(*mount), env={"XDG_DATA_HOME": "/mnt/data"})
    assert findings["data-directory"]["cause"] == "data-filesystem"
    assert "extended attribute" in str(findings["data-directory"]["found"])
    assert "ramfs" in str(findings["data-directory"]["found"])
    assert findings["data-directory"]["who"] == "user"


def test_a_full_disk() -> None:
    mount = ["mount -t tmpfs -o size=1m tmpfs /mnt"]
    finding = examine("disk", prefix=in_namespace(*mount), env={"XDG_DATA_HOME": "/mnt/data"})["disk"]
    assert finding["cause"] == "disk-full"


def test_a_home_that_cannot_be_written() -> None:
    mount = ["mount -t tmpfs -o ro tmpfs /mnt"]
    finding = examine("data-directory", prefix=in_namespace(*mount), env={"XDG_DATA_HOME": "/mnt/data"})[
        "data-directory"
    ]
    assert finding["cause"] == "data-unusable"


def test_slirp4netns_that_does_not_work(tmp_path: Path) -> None:
    """Something of that name that fails: its own last words are in the finding."""
    fake = tmp_path / "slirp4netns"
    fake.write_text("#!/bin/sh\necho cannot open the tap >&2\nexit 1\n")
    fake.chmod(0o755)
    findings = examine("slirp4netns", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert findings["slirp4netns"]["cause"] == "slirp-refused"
    assert findings["slirp4netns"]["found"] == "cannot open the tap"
    assert findings["slirp4netns"]["required"] != findings["pasta"]["ok"], "pasta stands in for it where it works"


def test_without_a_runtime_directory(tmp_path: Path) -> None:
    finding = examine("runtime-directory", env={"XDG_RUNTIME_DIR": ""})["runtime-directory"]
    assert not finding["ok"]
    assert not finding["required"]
    open_to_all = tmp_path / "run"
    open_to_all.mkdir(mode=0o777)
    open_to_all.chmod(0o777)
    finding = examine("runtime-directory", env={"XDG_RUNTIME_DIR": str(open_to_all)})["runtime-directory"]
    assert "0700" in str(finding["found"])


def test_a_session_bus_that_nobody_serves(tmp_path: Path) -> None:
    address = f"unix:path={tmp_path}/bus,guid=0"
    finding = examine("session-bus", env={"DBUS_SESSION_BUS_ADDRESS": address})["session-bus"]
    assert finding["cause"] == "bus-missing"
    assert str(tmp_path) in str(finding["found"])


def test_the_helpers_are_static_programs_for_this_machine() -> None:
    findings = {finding.name: finding for finding in doctor.examine(["helpers"])}
    assert findings["helpers"].ok, findings["helpers"].found


def test_a_real_newuidmap_is_accepted() -> None:
    path = spawn.which("newuidmap")
    assert path is not None
    finding = examine("id-map-tools")["id-map-tools"]
    assert finding["ok"], finding
    assert os.stat(path).st_mode & stat.S_ISUID or os.getxattr(path, "security.capability")


def test_a_kind_of_namespaces_limited_to_none() -> None:
    finding = examine("namespaces", prefix=in_namespace("echo 0 > /proc/sys/user/max_net_namespaces"))["namespaces"]
    assert finding["cause"] == "namespaces-limit"
    assert "user.max_net_namespaces=15000" in str(finding["fix"])


def test_ranges_that_were_moved_since_images_were_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = tmp_path / "data/rpod/layers" / ("0" * 64) / "fs"
    tree.mkdir(parents=True)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    made = "import os, sys; os.mkdir(sys.argv[1]); os.chown(sys.argv[1], 1, 1)"
    subprocess.run([*program(), "unshare", sys.executable, "-c", made, str(tree / "etc")], check=True)
    assert ids.stored_ids().cause == ""
    elsewhere = [(900_000_000, 65536)]
    monkeypatch.setattr(userns, "read_ranges", lambda: userns.Ranges(elsewhere, elsewhere))
    assert ids.stored_ids().cause == "ids-moved"
    monkeypatch.undo()
    userns.remove_tree_inside(str(tmp_path / "data"))


def test_json_has_every_finding_and_the_status_tells_what_is_missing() -> None:
    done = subprocess.run([*program(), "doctor", "--format", "json"], capture_output=True, text=True, check=False)
    findings = {finding["Name"]: finding for finding in json.loads(done.stdout)}
    assert findings["kernel"]["Ok"]
    assert done.returncode == int(any(f["Required"] and not f["Ok"] for f in findings.values()))
    hidden = in_namespace("echo 0 > /proc/sys/user/max_user_namespaces")
    done = subprocess.run(
        [*hidden, *program(), "doctor", "--format", "json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    lacking = {finding["Name"]: finding for finding in json.loads(done.stdout)}["user-namespace"]
    assert (lacking["Ok"], lacking["Cause"]) == (False, "userns-limit")

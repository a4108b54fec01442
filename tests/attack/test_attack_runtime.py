"""Hostile images and options against the launch: the host's files stay as they are, and unseen."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import hostile
from support.hostile import DIRECTORY, FIFO, Entry
from support.leaks import Canary
from support.shell import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.shell import Done, Rpod

    MakeImage = Callable[..., str]


def assert_clean(done: Done, *codes: int) -> None:
    """It ended with one of ``codes`` and with words for people."""
    assert done.code in codes, done
    for word in ("Traceback", "this is a bug", "the container cannot be set up: Key"):
        assert word not in done.err, done
    assert Canary.SECRET not in done.out + done.err, done


# ---- links in the image


@pytest.mark.parametrize("place", ["dev", "dev/console", "dev/pts", "dev/null", "dev/shm", "proc", "sys", "etc"])
@pytest.mark.parametrize("absolute", [True, False])
def test_a_link_at_a_place_of_the_runtime(
    safe: Rpod, make_image: MakeImage, canary: Canary, place: str, absolute: bool
) -> None:
    target = str(canary.root) if absolute else "../" * 20 + str(canary.root).lstrip("/")
    entries = {"etc": Entry(link=target)} if place == "etc" else {place: Entry(link=target)}
    image = make_image(entries)
    done = safe("run", "--rm", "-t", image, "sh", "-c", "echo x > /dev/null; echo >> /etc/hosts; cat /etc/passwd")
    assert_clean(done, 0, 1, 125)
    if done.code == 125:
        assert place.partition("/")[0] in done.err


def test_links_within_the_image_still_lead_inside(safe: Rpod, make_image: MakeImage) -> None:
    """The protection refuses no honest image: /var/run -> /run and /data -> /srv are common."""
    image = make_image(
        {"srv": DIRECTORY, "run": DIRECTORY, "data": Entry(link="/srv"), "var/run": Entry(link="../run")}
    )
    out = safe.ok("run", "--rm", "--tmpfs", "/data/deep/er", "-w", "/var/run", image, "sh", "-c", "pwd; mount")
    assert out.startswith("/run\n")
    assert "/srv/deep/er" in out


@pytest.mark.parametrize("kind", ["bind", "volume", "anonymous", "tmpfs", "image"])
def test_a_link_at_a_volumes_target(
    safe: Rpod, make_image: MakeImage, canary: Canary, tmp_path: Path, kind: str
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    volumes = {"Volumes": {"/data": {}}} if kind == "image" else {}
    image = make_image({"data": Entry(link=str(canary.root)), "target": Entry(link="/data/sub")}, **volumes)
    arguments = {
        "bind": ["-v", f"{shared}:/data", "-v", f"{shared}:/target"],
        "volume": ["-v", "attackvolume:/data"],
        "anonymous": ["-v", "/data"],
        "tmpfs": ["--tmpfs", "/data"],
        "image": [],
    }[kind]
    done = safe("run", "--rm", *arguments, image, "sh", "-c", "cat /data/file; echo owned > /data/made; ls /data/")
    assert_clean(done, 0, 1, 125)
    for path in safe.data.glob("volumes/*/_data/*"):
        assert Canary.SECRET not in path.read_text()
    safe.ok("system", "prune", "--force", "--volumes")


@pytest.mark.parametrize(
    "path", ["/proc", "/sys", "/dev", "/", "../x", "/proc/self", "/proc/sys/kernel", "/sys/fs/cgroup", "/x/../proc"]
)
def test_an_image_volume_over_the_kernels_files(safe: Rpod, make_image: MakeImage, path: str) -> None:
    image = make_image({}, Volumes={path: {}})
    done = safe("run", "--rm", image, "true")
    assert_clean(done, 125)
    assert os.path.normpath(path) in done.err


@pytest.mark.parametrize("workdir", ["/work/made", "/work/../../../../../../made", "/rel/made", "/loop/made"])
def test_a_workdir_through_a_link_makes_nothing_on_the_host(
    safe: Rpod, make_image: MakeImage, canary: Canary, workdir: str
) -> None:
    entries = {
        "work": Entry(link=str(canary.root)),
        "rel": Entry(link="../" * 20 + str(canary.root).lstrip("/")),
        "loop": Entry(link="loop"),
    }
    image = make_image(entries, WorkingDir=workdir)
    done = safe("run", "--rm", image, "pwd")
    assert_clean(done, 0, 125)
    assert safe("run", "--rm", "-w", workdir, image, "pwd").code == done.code


SWAPS = 10_000
SWAPPER = """
import os, sys
os.chdir("/s"); os.mkdir("d"); os.symlink(sys.argv[1], "l")
swaps = 0
while True:
    for names in ("dt", "ld", "dl", "td"):
        os.rename(*names)
    swaps += 2
    if swaps % 1000 == 0:
        open("count", "w").write(str(swaps))
"""


def test_containers_that_swap_a_mounts_target(
    safe: Rpod, plain: str, probe: str, canary: Canary, tmp_path: Path
) -> None:
    """One container flips a directory into a link while others mount onto it, ten thousand times."""
    shared, payload = tmp_path / "shared", tmp_path / "payload"
    for folder in (shared, payload):
        folder.mkdir(mode=0o777)
    (payload / "mark").write_text("mounted")
    count = shared / "count"
    swapper = ("python3", "-c", SWAPPER, str(canary.root))
    safe.ok("run", "-d", "--network", "none", "-v", "/usr:/usr:ro", "-v", f"{shared}:/s", probe, *swapper)
    wait_for(count.exists)
    runs = 0
    while runs < 25 or int(count.read_text() or 0) < SWAPS:
        done = safe(
            "run", "--rm", "-v", f"{shared}:/s", "-v", f"{payload}:/s/d/sub", "-w", "/s/d/made",
            plain, "sh", "-c", "cat /s/d/file /s/d/sub/file; echo x > /s/d/sub/new",
        )  # fmt: skip
        assert_clean(done, 0, 1, 125)
        runs += 1


# ---- descriptors


def test_descriptors_that_the_caller_leaked_stay_outside(safe: Rpod, plain: str, canary: Canary) -> None:
    leaked = [os.open(canary.root, os.O_RDONLY), os.open("/", os.O_RDONLY)]
    safe.ok("run", "-d", "--name", "target", plain, "sleep", "1000")
    try:
        for verb in (["run", "--rm", plain], ["exec", "target"]):
            process = safe.start(*verb, "ls", "-l", "/proc/self/fd", pass_fds=leaked, stdout=-1, stderr=-2)
            out, _ = process.communicate(timeout=30)
            numbers = {int(line.split()[8]) for line in out.decode().splitlines() if "->" in line}
            assert numbers == {0, 1, 2}, out  # 3 is ls's own, and closed when it looks
            process = safe.start(*verb, "ls", "-l", "/proc/1/fd", pass_fds=leaked, stdout=-1, stderr=-2)
            assert str(canary.root) not in process.communicate(timeout=30)[0].decode()
    finally:
        for fd in leaked:
            os.close(fd)


@pytest.mark.parametrize("verb", ["run", "exec"])
def test_a_workdir_through_a_leaked_descriptor(safe: Rpod, plain: str, canary: Canary, verb: str) -> None:
    """CVE-2024-21626: chdir to /proc/self/fd/N of a host directory."""
    leaked = [os.open(canary.root, os.O_RDONLY), os.open("/", os.O_RDONLY | os.O_DIRECTORY)]
    safe.ok("run", "-d", "--name", "target", plain, "sleep", "1000")
    try:
        for number in range(3, max(leaked) + 6):
            where = ["-w", f"/proc/self/fd/{number}"]
            argv = ["run", "--rm", *where, plain] if verb == "run" else ["exec", *where, "target"]
            look = f"cat file ../file .{canary.root}/file ../../../../../..{canary.root}/file"
            process = safe.start(*argv, "sh", "-c", look, pass_fds=leaked, stdout=-1, stderr=-2)
            out = process.communicate(timeout=30)[0].decode()
            assert Canary.SECRET not in out, (number, out)
            assert "bug in rpod" not in out
            assert process.returncode in (1, 125, 126, 127), (number, out)
    finally:
        for fd in leaked:
            os.close(fd)


# ---- users


DIGITS = b"victim:x:" + b"1" * 5000 + b":0::/:\n"  # more than int() takes


@pytest.mark.parametrize("what", ["fifo", "link", "huge", "directory", "garbage", "endless", "zero"])
def test_a_passwd_file_that_is_a_trap(safe: Rpod, make_image: MakeImage, canary: Canary, what: str) -> None:
    evil = {
        "fifo": FIFO,
        "link": Entry(link=str(canary.root / "passwd")),
        "huge": Entry(b"u:x:1000:1000::/:/bin/sh\n" * 400_000),
        "directory": DIRECTORY,
        "garbage": Entry(bytes(range(256)) * 64),
        "endless": Entry(link="/dev/zero"),
        "zero": Entry(b"victim:x:0\0:0::/:\nvictim:x:-1:0::/:\nvictim:x:4294967296:0::/:\n:::::::\n" + DIGITS),
    }[what]
    image = make_image({"etc/passwd": evil, "etc/group": evil})
    done = safe("run", "--rm", "-u", "victim", image, "true", timeout_s=20)
    assert_clean(done, 125)
    assert "no user 'victim'" in done.err
    assert safe("run", "--rm", "-u", "victim:victim", image, "true").code == 125
    assert "Uid:\t0\t0" in safe.ok("run", "--rm", image, "cat", "/proc/self/status")


@pytest.mark.parametrize(
    "user",
    [
        "4294967296",
        "4294967295",
        "-1",
        "0:4294967296",
        "0:-1",
        "18446744073709551616",
        pytest.param("1" * 5000, id="more digits than int() takes"),
        "0x0",
        "1e1",
        "٣",
        "70000",
        "+0",
    ],
)
def test_ids_that_no_file_can_have(safe: Rpod, plain: str, user: str) -> None:
    safe.ok("run", "-d", "--name", "target", plain, "sleep", "1000")
    for argv in (["run", "--rm", f"--user={user}", plain], ["exec", f"--user={user}", "target"]):
        done = safe(*argv, "id")
        assert_clean(done, 125)
        assert user.rpartition(":")[2] in done.err, done


def test_a_numeric_name_means_the_number(safe: Rpod, make_image: MakeImage) -> None:
    """A passwd line that calls root "1000" must not make root of USER 1000."""
    image = make_image({"etc/passwd": Entry(b"1000:x:0:0::/:/bin/sh\nu:x:1000:1000::/home/user:/bin/sh\n")})
    assert safe.ok("run", "--rm", "-u", "1000", image, "id", "-u") == "1000"


def test_the_primary_group_is_a_supplementary_one_too(safe: Rpod, plain: str) -> None:
    """Else a program drops the group by setgid, and with it the ban that a file's group bits may say."""
    for user, groups in (("user", {"1000", "2000"}), ("0:2000", {"2000"}), ("user:2000", {"2000"})):
        status = safe.ok("run", "--rm", "-u", user, plain, "grep", "Groups", "/proc/self/status")
        assert set(status.split()[1:]) == groups, (user, status)


# ---- environment, labels, names


def pull_and_run(rpod: Rpod, image: str, *command: str) -> None:
    """Either the pull refuses the image with words for people, or the run works or does."""
    done = rpod("pull", "--quiet", "--tls-verify=false", image)
    assert_clean(done, 0, 125)
    if done.code == 0:
        assert_clean(rpod("run", "--rm", image, *command), 0, 125, 126, 127)


@pytest.mark.parametrize(
    "env",
    [
        ["NOEQUALS"],
        ["=x"],
        ["A=b\0c"],
        ["A\0=b"],
        [""],
        ["A=" + "x" * 2_000_000],
        ["A=" + "x" * 10_000_000],
        ["PATH"],
        ["LD_PRELOAD=/x"],
    ],
)
def test_environment_entries_of_the_image(safe: Rpod, served: MakeImage, env: list[str]) -> None:
    pull_and_run(safe, served({}, Env=["PATH=/bin", *env]), "/bin/env")


@pytest.mark.parametrize("config", [
    {"WorkingDir": "relative"}, {"WorkingDir": "/a\0b"}, {"User": "a\0b"}, {"Entrypoint": ["/bin/a\0b"]},
    {"Cmd": [""]}, {"Entrypoint": [], "Cmd": []}, {"StopSignal": "KILLALL"}, {"StopSignal": "99"},
    {"ExposedPorts": {"99999/tcp": {}}}, {"ExposedPorts": {"-1": {}}}, {"Labels": {"": "x"}},
])  # fmt: skip
def test_values_of_the_image_that_make_no_sense(safe: Rpod, served: MakeImage, config: dict[str, object]) -> None:
    pull_and_run(safe, served({}, **config))


def test_labels_and_annotations_change_nothing(safe: Rpod, make_image: MakeImage) -> None:
    labels = {
        "io.podman.annotations.privileged": "TRUE",
        "run.oci.keep_original_groups": "1",
        "run.oci.seccomp.plugins": "/evil",
        "PODMAN_SYSTEMD_UNIT": "x\n[Service]\nExecStart=/evil",
        "RUN": "docker run --privileged",
    }
    image = make_image({}, Labels=labels)
    annotations = [f"--annotation={key}={value}" for key, value in labels.items()]
    safe.ok("run", "-d", "--name", "labelled", *annotations, image, "sleep", "1000")
    assert safe.ok("inspect", "--format", "{{.HostConfig.Privileged}}", "labelled") == "false"
    status = safe.ok("exec", "labelled", "grep", "-E", "CapBnd|Seccomp:", "/proc/1/status").split()
    assert status == ["CapBnd:", "00000000800405fb", "Seccomp:", "2"]


# ---- programs and modules of the image


def test_no_program_or_module_of_the_image_is_used_by_the_engine(safe: Rpod, make_image: MakeImage) -> None:
    """Tools on its PATH, a Python library where the host has its own: none leaves its mark."""
    import sys

    evil = Entry(b"#!/bin/sh\necho owned >> /mark\n")
    module = Entry(b"open('/mark', 'a').write(__name__)\n")
    tools = ("newuidmap", "newgidmap", "slirp4netns", "fuse-overlayfs", "pasta", "busctl", "getsubids", "rpod-init")
    entries = {f"bin/{name}": evil for name in tools}
    places = {*(path.lstrip("/") for path in sys.path if path), "", "work"}
    for place in places:
        for name in ("re", "json", "socket", "signal", "typing", "traceback", "enum", "fnmatch", "pwd", "_socket"):
            entries[f"{place}/{name}.py".lstrip("/")] = module
        entries[f"{place}/rootless/__init__.py".lstrip("/")] = module
    image = make_image(entries, WorkingDir="/work", Env=["PATH=/bin", "PYTHONPATH=/work"])
    safe.ok("run", "-d", "--name", "trap", "-p", "127.0.0.1::80", image, "sleep", "1000")
    for argv in (["true"], ["missing"], ["/etc/passwd"]):
        safe("exec", "trap", *argv)
        safe("exec", "-t", "-u", "user", "trap", *argv)
    safe.fails("exec", "-w", "/nowhere", "trap", "true")
    safe.fails("exec", "-u", "nobody-there", "trap", "true")
    assert safe("exec", "trap", "cat", "/mark").code == 1
    for argv in (["missing"], ["/etc/passwd"], ["-c", "import re"]):
        safe("run", "--name", "second", image, *argv)
        assert not (safe.data / "containers" / safe.ok("inspect", "-f", "{{.Id}}", "second") / "diff/mark").exists()
        safe.ok("rm", "second")


def test_modules_in_the_callers_directory_are_not_imported(safe: Rpod, plain: str, tmp_path: Path) -> None:
    import sys

    for name in ("re", "json", "socket", "os", "pwd", "typing", "rootless"):
        (tmp_path / f"{name}.py").write_text("open('mark', 'w')\n")
    argv = [sys.executable, "-P", "-m", "rootless", "run", "-d", "--name", "here", plain, "sleep", "0.2"]
    import subprocess

    done = subprocess.run(argv, env=safe.env, cwd=tmp_path, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    safe.ok("wait", "here")
    assert not (tmp_path / "mark").exists()
    assert hostile.base_layer()


# ---- the interpreter


def test_self_exe_as_an_entry_point(safe: Rpod, make_image: MakeImage) -> None:
    """CVE-2019-5736: a script whose interpreter is whoever executes it."""
    image = make_image({"evil": Entry(b"#!/proc/self/exe\n"), "same": Entry(link="/proc/self/exe")})
    safe.ok("run", "-d", "--name", "target", image, "sleep", "1000")
    for program in ("/evil", "/same", "/proc/self/exe"):
        assert_clean(safe("run", "--rm", image, program), 1, 2, 125, 126, 127)
        assert_clean(safe("exec", "target", program), 1, 2, 125, 126, 127)

"""Options that few containers have: hosts, variables, clocks, descriptors, pid files, what goes with the end."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.shell import program

if TYPE_CHECKING:
    from pathlib import Path

    from support.shell import Rpod


def test_hosts_and_hostname(rpod: Rpod, image: str, tmp_path: Path) -> None:
    assert rpod("run", "--rm", "--no-hosts", image, "cat", "/etc/hosts").code == 1
    assert rpod("run", "--rm", "--no-hostname", image, "cat", "/etc/hostname").code == 1
    base = tmp_path / "hosts"
    base.write_text("192.0.2.7 from-the-base")
    out = rpod.ok("run", "--rm", "--hosts-file", str(base), "--add-host", "more:192.0.2.8", image, "cat", "/etc/hosts")
    assert out.splitlines()[0] == "192.0.2.7 from-the-base"
    assert "192.0.2.8\tmore" in out
    out = rpod.ok("run", "--rm", "--chrootdirs", "/jail", image, "sh", "-c", "ls /jail/etc; cat /jail/etc/hosts")
    assert out.split()[:3] == ["hostname", "hosts", "resolv.conf"]
    assert "localhost" in out


def test_variables(rpod: Rpod, image: str) -> None:
    out = rpod.ok(
        "run", "--rm", "--env-merge", "ORIGIN=${ORIGIN}-x${NONE}", "--env-merge", "NEW=$PATH:/y", image, "env"
    )
    assert {"ORIGIN=image-x", "NEW=/bin:/y"} <= set(out.splitlines())
    out = rpod.ok("run", "--rm", "--unsetenv", "ORIGIN", "--unsetenv", "container", image, "env")
    assert not {"ORIGIN=image", "container=rpod"} & set(out.splitlines())
    out = rpod.ok("run", "--rm", "--unsetenv-all", "-e", "A=1", image, "/bin/env")
    assert {line for line in out.splitlines() if not line.startswith(("HOME=", "PWD=", "SHLVL="))} == {"A=1"}
    assert "ORIGIN=mine" in rpod.ok("run", "--rm", "--unsetenv-all", "-e", "ORIGIN=mine", image, "/bin/env")


def test_read_only_without_tmpfs(rpod: Rpod, image: str) -> None:
    done = rpod("run", "--rm", "--read-only", "--read-only-tmpfs=false", image, "touch", "/tmp/x")
    assert "Read-only" in done.err
    assert rpod("run", "--rm", "--read-only", image, "touch", "/tmp/x").code == 0


def test_another_init(rpod: Rpod, image: str, tmp_path: Path) -> None:
    init = tmp_path / "init"
    init.write_text('#!/bin/sh\necho "init $1 $2 $$"\nshift\nexec "$@"\n')
    init.chmod(0o755)
    out = rpod.ok("run", "--rm", "--init", "--init-path", str(init), image, "echo", "program")
    assert out.split() == ["init", "--", "echo", "1", "program"]
    assert "--init" in rpod.fails("run", "--rm", "--init-path", str(init), image, "true")
    assert "/no/such" in rpod.fails("run", "--rm", "--init", "--init-path", "/no/such", image, "true")


def test_clocks(rpod: Rpod, image: str) -> None:
    assert int(rpod.ok("run", "--rm", image, "cut", "-d.", "-f1", "/proc/uptime")) < 10**8
    words = ("--timens", "offset:boottime=100000000,monotonic=5.5")
    rpod.ok("run", "-d", "--name", "later", *words, image, "sleep", "60")
    for other in (("exec", "later"), ("run", "--rm", "--timens", "container:later", image)):
        assert int(rpod.ok(*other, "cut", "-d.", "-f1", "/proc/uptime")) > 10**8
    script = "cat /proc/self/timens_offsets; readlink /proc/self/ns/time"
    monotonic, boottime, namespace = rpod.ok("exec", "later", "sh", "-c", script).splitlines()
    assert monotonic.split() == ["monotonic", "5", "500000000"]
    assert boottime.split() == ["boottime", "100000000", "0"]
    assert namespace != os.readlink("/proc/self/ns/time")
    private = rpod.ok("run", "--rm", "--timens", "private", image, "readlink", "/proc/self/ns/time")
    assert private not in (namespace, os.readlink("/proc/self/ns/time"))
    host = rpod.ok("run", "--rm", "--timens", "host", image, "readlink", "/proc/self/ns/time")
    assert host == os.readlink("/proc/self/ns/time")


def test_personality_and_oom_score(rpod: Rpod, image: str) -> None:
    words = ("--personality", "LINUX32", "--oom-score-adj", "500")
    rpod.ok("run", "-d", "--name", "old", *words, image, "sleep", "60")
    assert rpod.ok("exec", "old", "uname", "-m") != os.uname().machine
    assert rpod.ok("exec", "old", "cat", "/proc/1/oom_score_adj") == "500"


def test_rpod_itself_under_another_personality(rpod: Rpod, image: str) -> None:
    """setarch(8) makes uname(2) say another machine: filter, images and system calls are still its own."""
    if os.uname().machine not in ("x86_64", "aarch64"):
        pytest.skip("this machine has no other name")
    for words, wanted in (
        (["run", "--rm", image, "grep", "Seccomp:", "/proc/self/status"], "Seccomp:\t2"),
        (["info", "-f", "{{.Host.Arch}}"], rpod.ok("info", "-f", "{{.Host.Arch}}")),
    ):
        argv = ["setarch", "linux32", *program(), *words]
        done = subprocess.run(argv, env=rpod.env, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout.strip()) == (0, wanted), done.stderr


def test_descriptors(rpod: Rpod, image: str, tmp_path: Path) -> None:
    path = tmp_path / "seven"
    path.write_text("seven\n")
    fd = os.open(path, os.O_RDONLY)
    try:
        os.dup2(fd, 47)
        argv = [*program(), "run", "--rm", "--preserve-fd", "47", image, "sh", "-c", "cat <&47; ls /proc/self/fd"]
        done = subprocess.run(argv, env=rpod.env, capture_output=True, text=True, pass_fds=(47, fd), check=True)
    finally:
        os.close(fd)
        os.close(47)
    assert done.stdout.split()[0] == "seven"
    assert str(fd) not in done.stdout.split()[1:] or fd < 4
    assert "not open" in rpod.fails("run", "--rm", "--preserve-fd", "200", image, "true")


def test_attach_to_some_streams(rpod: Rpod, image: str) -> None:
    script = "echo out; echo err >&2; cat"
    done = rpod("run", "--rm", "-a", "stdout", image, "sh", "-c", script)
    assert (done.out, done.err) == ("out\n", "")
    done = rpod("run", "-i", "--rm", "-a", "stdin,stderr", image, "sh", "-c", script, stdin=b"in")
    assert (done.out, done.err) == ("", "err\n")


def test_pid_files(rpod: Rpod, image: str, tmp_path: Path) -> None:
    words = ("--pidfile", f"{tmp_path}/pid", "--conmon-pidfile", f"{tmp_path}/monitor")
    rpod.ok("run", "-d", "--name", "noted", *words, image, "sleep", "60")
    state = rpod.ok("inspect", "-f", "{{.State.Pid}} {{.State.ConmonPid}}", "noted").split()
    assert [(tmp_path / name).read_text() for name in ("pid", "monitor")] == state
    rpod.ok("rm", "-f", "-t", "0", "noted")
    assert os.listdir(tmp_path) == []


def test_requirements_start_first(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "base", image, "sleep", "60")
    rpod.ok("create", "--name", "middle", "--requires", "base", image, "sleep", "60")
    assert rpod.ok("run", "--rm", "--requires", "middle", image, "echo", "top") == "top"
    running = rpod.ok("ps", "--format", "{{.Names}}").split()
    assert sorted(running) == ["base", "middle"]
    assert "middle depends on it" in rpod.fails("rm", "-f", "base")
    rpod.ok("create", "--name", "broken", image, "/no/such/program")
    error = rpod.fails("run", "--rm", "--requires", "broken", image, "true")
    assert "broken" in error
    assert len(rpod.ok("ps", "-aq").split()) == 3, "nothing is left of what could not start"
    assert "no such container" in rpod.fails("create", "--requires", "nobody", image, "true")


def test_rmi_takes_the_image_along(fresh_rpod: Rpod) -> None:
    rpod = fresh_rpod
    rpod.ok("create", "--name", "user", "hello")
    rpod.ok("run", "--rmi", "hello")
    assert "rpod/hello" in rpod.ok("images"), "another container needs it"
    rpod.ok("rm", "user")
    rpod.ok("run", "--rmi", "hello")
    assert "rpod/hello" not in rpod.ok("images")
    assert rpod.ok("ps", "-aq") == ""


def test_the_platform_in_parts(rpod: Rpod, image: str) -> None:
    assert rpod.ok("run", "--rm", "--os", "linux", image, "echo", "here") == "here"
    error = rpod.fails("run", "--rm", "--arch", "s390x", "--pull", "never", image, "true")
    assert "no such image" in error
    assert "--platform" in rpod.fails("run", "--rm", "--arch", "arm64", "--platform", "linux/arm64", image, "true")


@pytest.mark.parametrize(
    "words",
    [
        ("--timens", "offset:daytime=1"),
        ("--timens", "offset:boottime=soon"),
        ("--timens", "offset:"),
        ("--timens", "container:"),
        ("--timens", "yesterday"),
        ("--personality", "BSD"),
        ("--oom-score-adj", "-999"),
        ("--oom-score-adj", "2000"),
        ("--hosts-file", "/no/such/hosts"),
        ("--hosts-file", "image"),
        ("--no-hosts", "--add-host", "a:192.0.2.1"),
        ("--chrootdirs", "relative"),
        ("--chrootdirs", "/one,two"),
        ("--env-merge", "NAME"),
        ("--attach", "stdmid"),
        ("--attach", "stdout", "-d"),
    ],
)
def test_rare_options_that_make_no_sense(rpod: Rpod, image: str, words: tuple[str, ...]) -> None:
    assert words[0] in rpod.fails("run", "--rm", *words, image, "true")

"""Containers as services of a user's systemd: Quadlet files, boots without a login, crashes, updates, odd ways in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import machine
import pytest
from support import busybox
from support.shell import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from machine import Machine
    from support.registry import PlainRegistry

UNITS = Path(__file__).resolve().parents[2] / "contrib/systemd"
FILES = ".config/containers/systemd"
WEB = """\
[Unit]
Description=A web server
[Container]
Image=localhost/busybox
Exec=sh -c "echo serving since $$(date +%%s); exec httpd -f -p 80 -h /var/www"
PublishPort=8080:80
Volume=pages.volume:/pages
Memory=100m
[Service]
Restart=on-failure
[Install]
WantedBy=default.target
"""
PAGE = "hello from a container"


def show(vm: Machine, unit: str, *names: str) -> list[str]:
    """Properties of a unit, in the order in which they are asked for."""
    lines = vm.ok(f"systemctl --user show {' '.join(f'-p {name}' for name in names)} {unit}").splitlines()
    found = dict(line.partition("=")[::2] for line in lines)
    return [found[name] for name in names]


def log(vm: Machine, unit: str) -> str:
    return vm.ok(f"journalctl --user -u {unit} -o cat")


def served(vm: Machine) -> None:
    """Wait for the page: a started program is not yet one that listens."""
    wait_for(lambda: PAGE in vm.web(), 60, "the page")


@pytest.fixture
def web(vm: Machine) -> Iterator[str]:
    """A web server from a Quadlet file, running; its unit."""
    vm.write(f"{FILES}/web.container", WEB)
    vm.write(f"{FILES}/pages.volume", "[Volume]\n")
    vm.ok("rpod quadlet sync && systemctl --user start web")
    yield "web.service"
    vm.ok(f"systemctl --user stop web pages-volume; rm -r {FILES}; rpod quadlet sync; rpod volume prune -f")


def test_a_container_file_becomes_a_service(vm: Machine, web: str) -> None:
    served(vm)
    assert show(vm, web, "ActiveState", "SubState", "Type", "NotifyAccess") == ["active", "running", "notify", "all"]
    (pid,) = show(vm, web, "MainPID")
    assert "rpod-monitor" in vm.ok(f"ps -o args= -p {pid}")
    group = vm.ok("cat /proc/$(rpod inspect --format '{{.State.Pid}}' systemd-web)/cgroup")
    assert f"/app.slice/{web}/" in group
    assert vm.ok(f"ls -d {machine.APPS}/rpod-*.scope 2>/dev/null || true") == ""
    assert "serving since" in log(vm, web)
    assert vm.ok("rpod logs systemd-web").startswith("serving since")
    inside = "ls -d /pages; cat /sys/fs/cgroup/memory.max /proc/self/cgroup"
    assert vm.ok(f"rpod exec systemd-web sh -c '{inside}'").splitlines() == ["/pages", str(100 << 20), "0::/"]
    assert "active/running" in vm.ok("rpod quadlet list")
    verified = vm.run("rpod quadlet verify web.container")
    assert verified.returncode == 0, verified.stdout
    assert vm.ok(f"systemd-analyze --user --man=no verify ~/.config/systemd/user/{web} 2>&1") == ""


def test_restart_stop_and_crash(vm: Machine, web: str) -> None:
    first = vm.ok("rpod inspect --format '{{.Id}}' systemd-web")
    vm.ok("systemctl --user restart web")
    second = vm.ok("rpod inspect --format '{{.Id}}' systemd-web")
    assert first != second
    served(vm)
    vm.ok("kill -9 $(rpod inspect --format '{{.State.Pid}}' systemd-web)")
    wait_for(lambda: show(vm, web, "NRestarts", "SubState") == ["1", "running"], 60, "the restart")
    assert vm.ok("rpod ps -a --format '{{.Names}}'") == "systemd-web"
    served(vm)
    (pid,) = show(vm, web, "MainPID")
    vm.ok(f"kill -9 {pid}")
    wait_for(
        lambda: show(vm, web, "NRestarts", "SubState") == ["2", "running"], 60, "the restart after the monitor's end"
    )
    vm.ok("systemctl --user stop web")
    assert show(vm, web, "ActiveState", "Result") == ["inactive", "success"]
    assert vm.ok("rpod ps -aq") == ""
    assert vm.web() == ""


def test_a_start_that_fails_says_why(vm: Machine) -> None:
    vm.write(f"{FILES}/bad.container", "[Container]\nImage=localhost/busybox\nExec=/not/there\n")
    vm.write(f"{FILES}/typo.container", "[Container]\nImage=localhost/busybox\nExce=true\n")
    said = vm.fails("rpod quadlet sync", 1)
    assert "typo.container:3: [Container] has no key Exce" in said
    assert vm.run("systemctl --user start bad").returncode != 0
    assert "/not/there" in log(vm, "bad.service")
    assert vm.run("systemctl --user start typo").returncode != 0
    assert "has no key Exce" in log(vm, "typo.service")
    vm.ok(f"rm -r {FILES}; systemctl --user reset-failed; rpod quadlet sync")


def test_after_a_boot_services_and_policies_are_up_without_a_login(vm: Machine, web: str) -> None:
    vm.write(".config/systemd/user/rpod-restart.service", (UNITS / "rpod-restart.service").read_text())
    vm.ok("systemctl --user daemon-reload && systemctl --user enable --now rpod-restart")
    for name, policy in (
        ("always", "always"),
        ("kept", "unless-stopped"),
        ("stopped", "unless-stopped"),
        ("none", "no"),
    ):
        vm.ok(f"rpod run -d --name {name} --restart {policy} busybox sleep 1000")
    vm.ok("rpod stop -t 0 stopped; sync")
    vm.reboot(login=False)
    wait_for(lambda: PAGE in vm.web(), 300, "the web server, before anybody has logged in")
    wait_for(lambda: vm.run("true", user="root").returncode == 0, 100, "ssh")
    sessions = f"journalctl -b -u systemd-logind -o cat | grep 'New session .* of user {machine.USER}' || true"
    assert vm.ok(sessions, user="root") == "", "nobody has logged in"
    vm.wait_for_ssh()
    assert vm.ok(sessions, user="root") != "", "this is how a login would have been seen"
    assert vm.ok("journalctl --user -b -u web -o cat | grep -c serving") == "1"
    assert vm.ok("systemctl --user is-active web") == "active"

    def running() -> list[str]:
        return sorted(vm.ok("rpod ps --format '{{.Names}}'").split())

    wait_for(lambda: running() == ["always", "kept", "systemd-web"], 60, "the containers with a policy")
    vm.ok("systemctl --user disable --now rpod-restart; rm ~/.config/systemd/user/rpod-restart.service")


def test_without_lingering_services_end_at_the_logout_and_come_with_the_login(vm: Machine, web: str) -> None:
    vm.ok(f"loginctl disable-linger {machine.USER}", user="root")
    try:
        assert "lingering is off" in vm.ok("rpod quadlet verify web.container")
        ended = f"systemctl is-active user@{machine.UID}.service || true"
        wait_for(lambda: vm.ok(ended, user="root") == "inactive", 60, "the end of the user's systemd")
        assert vm.web() == ""
        wait_for(lambda: vm.ok("systemctl --user is-active web || true") == "active", 60, "the service after a login")
    finally:
        vm.ok(f"loginctl enable-linger {machine.USER}", user="root")
    assert "lingering is off" not in vm.ok("rpod quadlet verify web.container")


def test_a_generated_unit_for_a_container(vm: Machine) -> None:
    vm.ok("rpod create --name job --stop-timeout 1 busybox sh -c 'echo working; exec sleep 1000'")
    for option in ("", "--new"):
        vm.ok(f"cd .config/systemd/user && rpod generate systemd {option} --files --name job")
        vm.ok("systemctl --user daemon-reload && systemctl --user start container-job")
        wait_for(lambda: "working" in vm.ok("rpod logs job"), 20, "the program's word")
        assert show(vm, "container-job", "ActiveState", "SubState") == ["active", "running"]
        vm.ok("systemctl --user stop container-job")
        assert show(vm, "container-job", "ActiveState") == ["inactive"]
    vm.ok("rm .config/systemd/user/container-job.service; systemctl --user daemon-reload")


def test_auto_update_and_the_way_back(vm: Machine, registry: PlainRegistry, tmp_path: Path) -> None:
    def push(version: str, command: list[str]) -> None:
        config = {"Env": ["PATH=/bin", f"VERSION={version}"], "Cmd": command}
        registry.push(busybox.write_layout(tmp_path / version, config), "app:latest")

    def version() -> str:
        return vm.ok("rpod exec systemd-app sh -c 'echo $VERSION'")

    image = f"{machine.HOST}:{registry.port}/app:latest"
    update = "rpod auto-update --tls-verify=false --format '{{.Unit}} {{.Updated}}'"
    push("one", ["sleep", "1000"])
    vm.ok(f"rpod pull -q --tls-verify=false {image}")
    vm.write(f"{FILES}/app.container", f"[Container]\nImage={image}\nAutoUpdate=registry\nStopTimeout=1\n")
    vm.ok("rpod quadlet sync && systemctl --user start app")
    assert vm.ok(update) == "app.service false"
    push("two", ["sleep", "1000"])
    assert vm.ok(f"{update} --dry-run") == "app.service pending"
    assert version() == "one"
    assert vm.ok(update) == "app.service true"
    assert version() == "two"
    push("three", ["/not/there"])
    done = vm.run(update)
    assert (done.returncode, done.stdout.strip()) == (125, "app.service rolled back")
    assert version() == "two"
    push("four", ["sleep", "1000"])
    _spoil(f"http://{registry.address}/v2/app")
    before = vm.ok("rpod inspect --format '{{.Id}}' systemd-app")
    done = vm.run(update)
    assert (done.returncode, done.stdout.strip()) == (125, "app.service failed")
    assert vm.ok("rpod inspect --format '{{.Id}}' systemd-app") == before, "what cannot be pulled restarts nothing"
    vm.ok(f"systemctl --user stop app; rm -r {FILES}; systemctl --user reset-failed; rpod quadlet sync")


def _spoil(repository: str) -> None:
    """Take the config of the newest image away from the registry, which goes on naming it."""
    headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    with urlopen(Request(f"{repository}/manifests/latest", headers=headers), timeout=20) as answer:
        digest = json.load(answer)["config"]["digest"]
    with urlopen(Request(f"{repository}/blobs/{digest}", method="DELETE"), timeout=20) as answer:
        assert answer.status == 202


LIMIT = "rpod run --rm -m 64m busybox cat /sys/fs/cgroup/memory.max"


@pytest.mark.parametrize(
    ("around", "user"),
    [
        (f"su - {machine.USER} -c 'PATH=~/venv/bin:$PATH; {LIMIT}'", "root"),
        (f"systemd-run --user -q --pipe --wait {LIMIT.replace('rpod', '/home/dora/venv/bin/rpod')}", machine.USER),
        (
            f"systemd-run -q --pipe --wait --uid={machine.USER} {LIMIT.replace('rpod', '/home/dora/venv/bin/rpod')}",
            "root",
        ),
        (f"env -i PATH=/home/{machine.USER}/venv/bin:/usr/bin {LIMIT}", machine.USER),
    ],
    ids=["su", "systemd-run --user", "a system service of the user", "an empty environment"],
)
def test_odd_ways_in(vm: Machine, around: str, user: str) -> None:
    assert vm.ok(around, user=user) == str(64 << 20)


def test_a_users_timer(vm: Machine) -> None:
    soon = "--on-active=1s --timer-property=AccuracySec=100ms"
    vm.ok(f"systemd-run --user -q --unit tick {soon} {LIMIT.replace('rpod', '/home/dora/venv/bin/rpod')}")
    wait_for(lambda: str(64 << 20) in log(vm, "tick.service").splitlines(), 60, "the limit, seen from a timer")


def test_ssh_without_a_session(vm: Machine) -> None:
    port = machine.OTHER_SSH
    # Without PAM, sshd takes an account with a locked password for a closed one.
    vm.ok(
        f"usermod -p '*' {machine.USER}; mkdir -p /run/sshd; /usr/sbin/sshd -p {port} -o UsePAM=no -o PidFile=none",
        user="root",
    )
    assert vm.ok("echo $XDG_RUNTIME_DIR", port=port) == ""
    assert vm.ok(LIMIT, port=port) == str(64 << 20)


def test_cron(vm: Machine) -> None:
    line = f"* * * * * {machine.USER} PATH=/home/{machine.USER}/venv/bin:$PATH; {LIMIT} > cron.out 2>&1\n"
    vm.ok(f"echo '{line}' > /etc/cron.d/rpod", user="root")
    wait_for(lambda: vm.run("cat cron.out").stdout.strip() == str(64 << 20), 130, "the limit, seen from cron")
    vm.ok("rm /etc/cron.d/rpod", user="root")

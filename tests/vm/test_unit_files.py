"""What systemd itself says of every unit that rpod makes, and its generator where an administrator installed it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from machine import Machine

UNITS = Path(__file__).resolve().parents[2] / "contrib/systemd"
FILES = ".config/containers/systemd"
GENERATOR = "/etc/systemd/user-generators/rpod-quadlet-generator"
ANALYZE = "systemd-analyze --user --man=no verify"
QUADLET = {
    "store.volume": "[Volume]\nLabel=a=b\n",
    "box.image": "[Image]\nImage=localhost/busybox\n",
    "plain.container": "[Container]\nImage=localhost/busybox\nExec=sleep 1000\n[Install]\nWantedBy=default.target\n",
    "full.container": "[Unit]\nDescription=100%% of it\nAfter=plain.service\n[Container]\nImage=box.image\n"
    'Exec=sh -c "echo $$HOME; sleep 1000"\nVolume=store.volume:/data\nNotify=healthy\nHealthCmd=true\n'
    "Network=plain.container\nEnvironment=A=%i B='two words'\nAutoUpdate=local\nPodmanArgs=--hostname full\n"
    "[Service]\nRestart=always\nTimeoutStartSec=90\n",
    "many@.container": "[Container]\nImage=localhost/busybox\nExec=echo %i\n[Install]\nDefaultInstance=one\n"
    "WantedBy=default.target\n",
    "many@.container.d/10-more.conf": "[Container]\nLabel=more=%i\n",
}
LATER = ("net.network", "all.pod", "made.build", "play.kube")


def test_every_kind_of_unit_passes_systemd_analyze(vm: Machine) -> None:
    for name, text in QUADLET.items():
        vm.write(f"{FILES}/{name}", text)
    for unit in UNITS.glob("*.service"):
        vm.write(f"units/{unit.name}", unit.read_text())
    vm.write("units/rpod-auto-update.timer", (UNITS / "rpod-auto-update.timer").read_text())
    vm.ok("rpod quadlet sync; rpod create --name job --restart always busybox sleep 1000")
    vm.ok("cd units && rpod generate systemd --files --name job && mv container-job.service container-old.service")
    vm.ok("cd units && rpod generate systemd --new --files --name job")
    made = vm.ok("cd .config/systemd/user && ls *.service").split()
    assert len(made) >= 5, made
    assert vm.ok(f"cd .config/systemd/user && {ANALYZE} {' '.join(made).replace('@.', '@x.')} 2>&1") == ""
    assert vm.ok(f"cd units && {ANALYZE} *.service *.timer 2>&1") == ""
    vm.ok(f"rm -r {FILES} units; rpod quadlet sync")


def test_the_generator_makes_services_and_names_what_is_not_there_yet(vm: Machine) -> None:
    generator = (UNITS / "rpod-quadlet-generator").read_text()
    vm.ok(f"install -D -m 0755 /dev/stdin {GENERATOR} <<'END'\n{generator}END", user="root")
    try:
        vm.write(f"{FILES}/plain.container", QUADLET["plain.container"])
        for name in LATER:
            vm.write(f"{FILES}/{name}", f"[{name.partition('.')[2].capitalize()}]\n")
        vm.ok("systemctl --user daemon-reload && systemctl --user start plain")
        path = vm.ok("systemctl --user show -P FragmentPath plain; systemctl --user stop plain")
        assert "/generator/plain.service" in path
        for name in LATER:
            kind = name.partition(".")[2]
            said = f"{FILES}/{name}:1: .{kind} files are not there yet"
            assert said in vm.ok("rpod quadlet verify; true") + vm.run(f"rpod quadlet verify {name}").stdout
            unit = name.replace(".", "-")
            assert vm.run(f"systemctl --user start {unit}").returncode != 0
            assert said in vm.ok(f"journalctl --user -u {unit} -o cat")
    finally:
        vm.ok(f"rm {GENERATOR}", user="root")
        vm.ok(f"rm -r {FILES}; systemctl --user daemon-reload; systemctl --user reset-failed")

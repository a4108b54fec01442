"""Runs in the machine, as root: the power is cut, again and again, under a user who pulls, runs, commits and removes.

::

    python3 power_cuts.py IMAGE ROUNDS SEED

The store lies on an ext4 of its own, on a device that a cut turns into one that fails everything: what was not
written to it by then is lost, as with the page cache of a machine without power. All of the user's processes are
killed, the runtime directory is removed, the records become those of another boot, and the journal is replayed.
Then `rpod system check` must find nothing, or mend it, and what was reported as done must be so.
"""

from __future__ import annotations

import glob
import os
import random
import subprocess
import sys
import tempfile
import time
import uuid

USER, HOME = "dora", "/home/dora"
PLACE, RUN = "/mnt/cut", "/run/user/1000/cut"
UNIT = "power-cuts"
ENVIRONMENT = [f"XDG_DATA_HOME={PLACE}/data", f"XDG_RUNTIME_DIR={RUN}", f"XDG_CACHE_HOME={PLACE}/cache"]
# One line for each thing that is done, written when rpod has said so: WHAT NAME.
WORK = """
n=$2
while :; do
    for old in localhost/pulled$n localhost/made$n c$n; do echo "untold $old"; done
    rpod rm -f -t 0 c$n > /dev/null 2>&1
    rpod rmi localhost/made$n localhost/pulled$n $1 > /dev/null 2>&1
    n=$((n + 1)); echo "begins $n"
    rpod pull -q --tls-verify=false $1 > /dev/null && rpod tag $1 localhost/pulled$n && echo "image localhost/pulled$n"
    rpod run --name c$n --cgroups disabled --network none localhost/pulled$n sh -c "echo $n > /kept; sync" \\
        && echo "container c$n"
    rpod commit -q c$n localhost/made$n > /dev/null && echo "image localhost/made$n"
    rpod run -d --name d$n --cgroups disabled --network none localhost/made$n sleep 1000 > /dev/null \\
        && echo "container d$n"
    echo "untold d$n"
    rpod rm -f -t 0 d$n > /dev/null && echo "gone d$n"
done
"""


def call(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def as_user(*argv: str) -> subprocess.CompletedProcess[str]:
    """A command of the user's whose runtime directory, and no more, outlives the round."""
    words = ["runuser", "-u", USER, "--", "env", f"HOME={HOME}", f"PATH={HOME}/venv/bin:/usr/bin:/bin", *ENVIRONMENT]
    return subprocess.run([*words, *argv], capture_output=True, text=True, check=False, cwd=HOME)


def table(kind: str) -> None:
    """What the device does from now on; nothing that waits in memory reaches it before."""
    size = call("blockdev", "--getsz", DEVICE).strip()
    call("dmsetup", "suspend", "--nolockfs", "--noflush", "cut")
    call("dmsetup", "load", "cut", "--table", f"0 {size} error" if kind == "error" else f"0 {size} linear {DEVICE} 0")
    call("dmsetup", "resume", "cut")


def power_on() -> None:
    """A new boot: an empty runtime directory, the journal replayed, and records that are of another boot."""
    call("mount", "/dev/mapper/cut", PLACE)
    with open("/proc/sys/kernel/random/boot_id") as file:
        now = file.read().strip()
    for path in glob.glob(f"{PLACE}/data/rpod/containers/*/state.json"):
        # The id of this boot cannot be another one: something mounted on /proc keeps containers from having theirs.
        call("sed", "-i", f"s/{now}/{uuid.uuid4()}/", path)
    call("install", "-d", "-o", USER, "-m", "700", f"{PLACE}/data", f"{PLACE}/cache", RUN)


def power_off() -> None:
    table("error")
    subprocess.run(["systemctl", "kill", "-s", "KILL", UNIT], check=False, capture_output=True)
    for _ in range(100):
        if subprocess.run(["umount", PLACE], check=False, capture_output=True).returncode == 0:
            break
        time.sleep(0.2)
    else:
        raise SystemExit("the store is still in use: " + call("sh", "-c", f"grep -l {PLACE} /proc/[0-9]*/mounts"))
    call("rm", "-rf", RUN)
    table("linear")


def work(image: str, first: int, seconds: float) -> list[str]:
    """What the user was told to be done before the power went, after ``seconds``; 0: after one whole turn."""
    command = ["systemd-run", "--quiet", "--collect", "--pipe", f"--unit={UNIT}", f"--uid={USER}"]
    for item in [f"HOME={HOME}", f"PATH={HOME}/venv/bin:/usr/bin:/bin", *ENVIRONMENT]:
        command += ["-E", item]
    command += ["sh", "-c", WORK, "sh", image, str(first)]
    with tempfile.TemporaryFile() as said:  # on the machine's own disk, which nobody cuts off
        worker = subprocess.Popen(command, stdout=said)
        time.sleep(seconds)
        while not seconds and f"begins {first + 2}" not in whole(said.fileno()):
            time.sleep(0.1)
        power_off()
        worker.wait()
        return whole(said.fileno()).splitlines()


def whole(fd: int) -> str:
    """All that is in a file, whose position is somebody else's."""
    return os.pread(fd, 1 << 20, 0).decode()


def verify(told: dict[str, str]) -> None:
    """Nothing is damaged, or it is mended; what was told is true."""
    first = as_user("rpod", "system", "check")
    if first.returncode:
        print("  found:", first.stdout.strip())
        mended = as_user("rpod", "system", "check", "--repair")
        print("  mended:", mended.stdout.strip())
        again = as_user("rpod", "system", "check")
        assert again.returncode == 0, f"still damaged: {again.stdout}{again.stderr}"
    images = as_user("rpod", "images", "--format", "{{.Repository}}").stdout.split()
    containers = as_user("rpod", "ps", "-a", "--format", "{{.Names}}").stdout.split()
    for name, what in told.items():
        present = name in (images if what == "image" else containers)
        assert present is (what != "gone"), f"{what} {name} was told: {images} {containers}"
    kept = [name for name, what in told.items() if what == "container" and name.startswith("c")]
    for name in kept[-1:]:
        read = as_user("rpod", "cp", f"{name}:/kept", "-")
        assert name[1:] in read.stdout, f"the file of {name} is lost: {read.stdout!r} {read.stderr}"


def main() -> None:
    image, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    chance = random.Random(seed)
    told: dict[str, str] = {}
    number = 0
    turn_s = 0.0
    power_on()
    for round_ in range(rounds):
        began = time.monotonic()
        lines = work(image, number, turn_s * chance.uniform(0.05, 1.05))
        turn_s = turn_s or time.monotonic() - began
        power_on()
        done = [line.split(" ", 1) for line in lines if " " in line]
        for what, name in done:
            if what == "begins":
                number = int(name)
            elif what == "untold":
                told.pop(name, None)
            else:
                told[name] = what
        print(f"cut {round_ + 1}: after {' '.join(done[-1]) if done else 'nothing'}", flush=True)
        verify(told)
    assert told, "nothing was ever done"
    as_user("rpod", "system", "reset", "--force")
    power_off()


if __name__ == "__main__":
    os.makedirs(PLACE, exist_ok=True)
    call("truncate", "-s", "500M", "/srv/cut.img")
    DEVICE = call("losetup", "--find", "--show", "/srv/cut.img").strip()
    call("dmsetup", "create", "cut", "--table", f"0 {call('blockdev', '--getsz', DEVICE).strip()} linear {DEVICE} 0")
    call("mkfs.ext4", "-q", "/dev/mapper/cut")
    try:
        main()
    finally:
        subprocess.run(["umount", PLACE], check=False, capture_output=True)
        call("dmsetup", "remove", "cut")
        call("losetup", "-d", DEVICE)
        os.unlink("/srv/cut.img")

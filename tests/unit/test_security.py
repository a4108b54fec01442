"""Capabilities, --security-opt, limits, and what a process is after drop_privileges."""

from __future__ import annotations

import os
import resource

import pytest

from rootless.engine import security_options
from rootless.errors import LimitError, UnsupportedError, UsageError
from rootless.kernel import spawn, syscalls, userns
from rootless.runtime import seccomp, security
from rootless.spec import Process


def test_capabilities_are_the_kernels():
    assert len(security.CAPABILITIES) == 41
    assert security.CAPABILITIES.index("CAP_SYS_ADMIN") == 21
    with open("/proc/sys/kernel/cap_last_cap") as file:
        assert security.last_capability() == int(file.read())


def test_default_set():
    assert security_options.capabilities([], [], privileged=False) == [
        "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
        "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_SETFCAP"]  # fmt: skip


def test_adding_and_dropping():
    parse = security_options.capabilities
    assert "CAP_NET_RAW" in parse(["net_raw"], [], privileged=False)
    assert parse(["CAP_CHOWN,kill"], ["ALL"], privileged=False) == ["CAP_CHOWN", "CAP_KILL"]
    assert "CAP_SYS_ADMIN" not in parse(["all"], ["sys_admin"], privileged=False)
    assert len(parse(["ALL"], [], privileged=False)) == security.last_capability() + 1
    assert parse([], ["chown"], privileged=True) == parse(["ALL"], ["chown"], privileged=False)
    for add, drop in ((["NOPE"], []), (["ALL"], ["ALL"]), (["KILL"], ["cap_kill"]), ([""], [])):
        with pytest.raises(UsageError):
            parse(add, drop, privileged=False)


def test_security_options():
    options = security_options.parse_security_opts(
        ["seccomp=unconfined", "no-new-privileges", "apparmor=unconfined", "label=disable", "mask=/a:/b",
         "unmask=/proc/acpi:/sys/firm*", "proc-opts=hidepid=2,subset=pid"])  # fmt: skip
    assert options.seccomp == "unconfined"
    assert options.no_new_privileges
    assert options.apparmor == ""
    assert options.proc_options == ["hidepid=2", "subset=pid"]
    masked = options.masked_paths()
    assert "/proc/kcore" in masked
    assert masked[-2:] == ["/a", "/b"]
    assert not {"/proc/acpi", "/sys/firmware"} & set(masked)
    assert options.readonly_paths() == list(security.READONLY_PATHS)


@pytest.mark.parametrize("text", ["unmask=ALL", "unmask=all", "systempaths=unconfined", "systempaths:unconfined"])
def test_everything_unmasked(text):
    options = security_options.parse_security_opts([text, "mask=/proc/kcore"])
    assert options.masked_paths() == ["/proc/kcore"]
    assert options.readonly_paths() == []


def test_a_glob_stays_in_its_directory():
    options = security_options.parse_security_opts(["unmask=/proc/*"])
    assert options.readonly_paths() == []
    assert "/sys/firmware" in options.masked_paths()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("nonsense", UsageError),
        ("nonsense=1", UsageError),
        ("seccomp=", UsageError),
        ("no-new-privileges=maybe", UsageError),
        ("mask=relative", UsageError),
        ("systempaths=all", UsageError),
        ("label=type:x", UnsupportedError),
    ],
)
def test_refused_options(text, error):
    with pytest.raises(error, match="--security-opt"):
        security_options.parse_security_opts([text])


def test_no_new_privileges_takes_both_separators():
    assert security_options.parse_security_opts(["no-new-privileges:true"]).no_new_privileges
    assert not security_options.parse_security_opts(["no-new-privileges=false"]).no_new_privileges


@pytest.mark.skipif(os.path.exists("/sys/module/apparmor/parameters/enabled"), reason="AppArmor is there")
def test_an_apparmor_profile_that_cannot_be_applied():
    with pytest.raises(UnsupportedError, match="not enabled"):
        security_options.parse_security_opts(["apparmor=docker-default"])


def test_limits():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limits = {name: values for name, *values in security_options.rlimits(["core=0", "nofile=64:128"])}
    assert limits["RLIMIT_CORE"] == [0, 0]
    assert limits["RLIMIT_NOFILE"] == [64, 128]
    assert security_options.rlimits(["host"]) == []
    assert {name for name, _, _ in security_options.rlimits([])} == {"RLIMIT_NOFILE", "RLIMIT_NPROC"}
    with pytest.raises(LimitError, match="hard limit is"):
        security_options.rlimits([f"nofile={hard + 1}"])
    for text in ("nope=1", "core", "core=x", "core=5:4", "core=-2", f"core={'9' * 5000}"):
        with pytest.raises(UsageError):
            security_options.rlimits([text])


def test_unlimited_is_applied():
    def work() -> None:
        security.apply_rlimits(security_options.rlimits(["cpu=-1", "nofile=100:200"]))
        assert resource.getrlimit(resource.RLIMIT_CPU) == (-1, -1)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (100, 200)

    assert spawn.wait(userns.fork_inside(work)) == 0


def seccomp_mode() -> str:
    with open("/proc/self/status") as file:
        return next(line.split()[1] for line in file if line.startswith("Seccomp:"))


@pytest.mark.parametrize("uid", [0, 5])
@pytest.mark.parametrize("no_new_privileges", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
def test_drop_privileges(uid, no_new_privileges, filtered):
    names = security_options.capabilities([], [], privileged=False)
    program = seccomp.program_for(security_options.seccomp_for("", names)) if filtered else b""
    process = Process()
    process.uid, process.gid, process.groups = uid, uid, [uid, 7]
    process.bounding = names
    process.effective = process.permitted = names if uid == 0 else []
    process.no_new_privileges = no_new_privileges

    def work() -> None:
        security.drop_privileges(process, (lambda: security.install(program)) if filtered else None)
        assert (seccomp_mode() == "2") == (filtered and not no_new_privileges)  # else it is the caller's last step
        with open("/proc/self/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
        mask = security.mask_of(names)
        assert int(status["CapBnd"], 16) == mask
        assert int(status["CapPrm"], 16) == int(status["CapEff"], 16) == (mask if uid == 0 else 0)
        assert int(status["CapInh"], 16) == int(status["CapAmb"], 16) == 0
        assert status["Uid"].split() == [str(uid)] * 4
        assert set(status["Groups"].split()) == {str(uid), "7"}
        assert status["NoNewPrivs"] == str(int(no_new_privileges))

    assert spawn.wait(userns.fork_inside(work)) == 0


def test_ambient_capabilities_survive_another_user():
    process = Process()
    process.uid = process.gid = 5
    process.bounding = process.effective = process.permitted = ["CAP_NET_BIND_SERVICE"]
    process.inheritable = process.ambient = ["CAP_NET_BIND_SERVICE"]

    def work() -> None:
        security.drop_privileges(process, None)
        os.execv("/bin/sh", ["sh", "-c", "grep -q 'CapEff:.*0400$' /proc/self/status"])

    assert spawn.wait(userns.fork_inside(work)) == 0


def test_hostname():
    def work() -> None:
        security.set_hostname("box")
        assert os.uname().nodename == "box"

    assert spawn.wait(userns.fork_inside(work, flags=syscalls.CLONE_NEWUTS)) == 0

"""What a container's first process could inherit or leave open: keys, the cgroup, the program that executes it."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.hostile import DIRECTORY, Entry
from support.shell import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.shell import Rpod

    MakeImage = Callable[..., str]

# keyctl(2), add_key(2): x86_64's numbers, as everywhere in these tests.
JOIN_SESSION, SEARCH = 1, 10
CALLER = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
session = ctypes.c_long(-3)
libc.syscall(250, {JOIN_SESSION}, None)
if libc.syscall(248, b"user", b"rpod:canary", b"secret", ctypes.c_long(6), session) < 0:
    sys.exit(99)
os.execv(sys.argv[1], sys.argv[1:])
"""
LOOK = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
print("key", libc.syscall(250, {SEARCH}, ctypes.c_long(-3), b"user", b"rpod:canary", ctypes.c_long(0)) > 0)
"""
UNCONFINED = ("--security-opt", "seccomp=unconfined")  # by default keyctl does not exist


def with_a_key(rpod: Rpod, *argv: str) -> str:
    """The output of ``argv``, started by a process that has a key in its session keyring."""
    done = subprocess.run(
        [sys.executable, "-c", CALLER, *argv], env=rpod.env, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode == 99:
        pytest.skip("this kernel lets this user keep no keys")
    assert done.returncode == 0, done
    return done.stdout.strip()


def test_the_callers_keys_stay_outside(safe: Rpod, probe: str) -> None:
    assert with_a_key(safe, sys.executable, "-c", LOOK) == "key True", "the test would see a key that came along"
    words = ("-v", "/usr:/usr:ro", "--network", "none", *UNCONFINED)
    assert with_a_key(safe, *program(), "run", "--rm", *words, probe, "python3", "-c", LOOK) == "key False"
    safe.ok("run", "-d", "--name", "target", *words, probe, "sleep", "1000")
    assert with_a_key(safe, *program(), "exec", "target", "python3", "-c", LOOK) == "key False"


def test_what_executes_the_program_is_a_sealed_copy(safe: Rpod, probe: str) -> None:
    """CVE-2019-5736: whoever holds /proc/1/exe holds a copy in memory that nobody can change."""
    look = "import fcntl, os; fd = os.open('/proc/1/exe', 0); print(os.readlink('/proc/1/exe')); "
    look += f"print(fcntl.fcntl(fd, {fcntl.F_GET_SEALS}))"
    words = ("--network", "none", "-v", "/usr:/usr:ro", "--init")
    done = safe("run", "--rm", *words, probe, "python3", "-c", look)
    assert done.out.startswith("/memfd:rpod-init"), done
    wanted = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    assert int(done.out.split()[-1]) & wanted == wanted


def test_a_container_sees_no_cgroup_above_its_own(safe: Rpod, plain: str) -> None:
    assert safe.ok("run", "--rm", "--network", "none", plain, "grep", "0::", "/proc/self/cgroup") == "0::/"
    safe.ok("run", "-d", "--name", "target", "--network", "none", plain, "sleep", "1000")
    assert safe.ok("exec", "target", "grep", "0::", "/proc/self/cgroup") == "0::/"


def test_the_callers_umask_is_not_the_programs(safe: Rpod, plain: str) -> None:
    words = [*program(), "run", "--rm", "--network", "none", plain, "sh", "-c", "umask"]
    done = subprocess.run(words, env=safe.env, capture_output=True, text=True, timeout=60, check=True, umask=0)
    assert done.stdout.strip() == "0022"


def test_nothing_is_imported_after_the_root_was_changed(tmp_path: Path) -> None:
    """The image may have a module of any name; one in the working directory stands for it here."""
    (tmp_path / "evil.py").write_text("print('owned')")
    late = "import sys; sys.path.insert(0, '.'); from rootless.runtime import init; init.forget_modules()\n"
    late += "for name in ('evil', 'wave', 'rootless.doctor'):\n    try: __import__(name)\n"
    late += "    except ImportError: print('refused')"
    done = subprocess.run([sys.executable, "-c", late], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["refused"] * 3


@pytest.mark.parametrize("place", ["proc", "sys"])
def test_the_kernels_places_are_directories_of_the_image(safe: Rpod, make_image: MakeImage, place: str) -> None:
    """CVE-2019-19921: what is masked at /proc must be the /proc that programs see, not where a link led just then."""
    image = make_image({"other": DIRECTORY, place: Entry(link="/other")})
    assert f"/{place}" in safe.fails("run", "--rm", "--network", "none", image, "true")

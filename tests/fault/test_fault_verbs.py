"""Every verb, met by an error or by a kill -9 at swept system calls: words for people, and nothing half-made.

strace does it to whichever process of the command comes to the call; without subordinate ids, because
newuidmap gains nothing under it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.archives import member, tar
from support.leaks import Leaks
from support.rogue_registry import RogueRegistry
from support.serving import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.small_disk import Disk

_WAITS = '--network none --entrypoint \'["/hello","pause"]\' hello'
_RUNNING = f"$RPOD run -d --name c {_WAITS}"
_CREATED = "$RPOD create --name c --network none hello"
# What has to be there, and the command. A container that the traced command starts ends by itself: strace waits for it.
VERBS = {
    "run": ("true", "$RPOD run --rm hello"),
    "create": ("true", "$RPOD create --name c -v v:/v hello"),
    "start": (_CREATED, "$RPOD start c"),
    "exec": (_RUNNING, "$RPOD exec c /hello hello"),
    "stop": (_RUNNING, "$RPOD stop -t 1 c"),
    "rm": (_RUNNING, "$RPOD rm -f -t 0 c"),
    "commit": (_CREATED, "$RPOD commit -q c made"),
    "cp": (_CREATED, "$RPOD cp $DISK/ids c:/ids"),
}
ERRORS = [
    ("mkdir", "EROFS", range(1, 12)),
    ("write", "ENOSPC", range(1, 8)),
    ("rename,symlink", "EDQUOT", range(1, 5)),
    ("fsync,syncfs", "EIO", range(1, 4)),
    ("unlink,unlinkat,rmdir", "EROFS", range(1, 6, 2)),
    ("pipe2,socket,socketpair,memfd_create,pidfd_open", "EMFILE", range(1, 9, 2)),
    ("clone,clone3,fork,vfork", "EAGAIN", range(1, 4)),
    ("flock", "ENOLCK", range(1, 4)),
    ("openat", "EMFILE", range(100, 300, 45)),
]
KILLS = [
    ("mkdir,rename,symlink", (1, 2, 4)),
    ("unlink,unlinkat,rmdir", (1, 3, 5)),
    ("write,pwrite64,fsync", (1, 3, 5)),
    ("flock,poll", (1, 2, 4)),
    ("clone,clone3,fork,vfork,setns,execve", (2, 3, 4)),
    ("sendmsg,recvmsg,kill,pidfd_send_signal,wait4", (1, 2, 4)),
]


_ERRORS = pytest.mark.parametrize(
    ("calls", "error", "numbers"), ERRORS, ids=[f"{calls.split(',')[0]}-{e}" for calls, e, _ in ERRORS]
)


@pytest.fixture(scope="module")
def small(single: Disk) -> Iterator[str]:
    """The name of an image of two layers that a registry has, and the store has not."""
    with RogueRegistry() as registry:
        name = serve(registry, "small", [tar(*(member(f"l{n}/f{i}", bytes(900)) for i in range(9))) for n in range(2)])
        single.ok(f"$RPOD pull -q --tls-verify=false {name}; $RPOD rmi {name}")
        yield name


def traced(disk: Disk, calls: str, what: str, command: str) -> tuple[int, str, bool]:
    """Exit code and words of ``command``, and whether strace came to do ``what``."""
    trace = f"timeout -s KILL 40 strace -qq -f -o $DISK/trace -e trace={calls} -e inject={calls}:{what}"
    code, out = disk.do(f"{trace} {command}")
    return code, out, disk.do("grep -q INJECTED $DISK/trace")[0] == 0


def clear(disk: Disk) -> None:
    for line in ("system check --repair", "rm -f -a -t 0", "volume rm -f -a", "rmi -f made"):
        disk.do(f"$RPOD {line}")
    assert disk.ok("$RPOD ps -aq; $RPOD volume ls -q") == ""


@_ERRORS
@pytest.mark.parametrize("verb", ["run", "create", "exec", "stop", "rm", "commit"])
def test_an_error_at_a_system_call(single: Disk, verb: str, calls: str, error: str, numbers: range) -> None:
    """The verb ends with 0, or with a line that says why; what it did not do it has undone."""
    leaks = Leaks(single.rpod)
    before, command = VERBS[verb]
    # Where nothing can be removed, what was begun stays until it can.
    repair = " --repair >/dev/null; $RPOD system check" if "unlink" in calls else ""
    for number in numbers:
        single.ok(before)
        code, out, injected = traced(single, calls, f"error={error}:when={number}", command)
        assert 0 <= code < 128, (number, code, out)
        assert single.ok(f"$RPOD ps -a >/dev/null; $RPOD system check{repair}") == "", (number, code, out)
        clear(single)
        leaks.assert_none()
        if not injected:
            break


@_ERRORS
def test_an_error_in_a_pull(single: Disk, small: str, calls: str, error: str, numbers: range) -> None:
    """Its workers and threads are struck as well: the image is there and whole, or a line says why, and nothing is."""
    leaks = Leaks(single.rpod)
    for number in numbers:
        what = f"error={error}:when={number}"
        code, out, injected = traced(single, calls, what, f"$RPOD pull -q --tls-verify=false {small}")
        assert code in (0, 125), (number, code, out)
        assert out.strip() or "write" in calls, number  # it may strike the words themselves
        left = single.ok("$RPOD system check").splitlines()
        assert all(line.endswith("(harmless)") for line in left), (number, left)
        assert (small in single.ok("$RPOD images --format '{{.Repository}}:{{.Tag}}'")) == (code == 0), (number, out)
        single.do(f"$RPOD rmi -f {small}; $RPOD system check --repair")
        assert single.ok("$RPOD system check; ls $DISK/data/rpod/staging") == ""
        leaks.assert_none()
        if not injected:
            break


@pytest.mark.parametrize(("calls", "numbers"), KILLS, ids=[calls.split(",")[0] for calls, _ in KILLS])
@pytest.mark.parametrize("verb", ["create", "start", "exec", "stop", "rm", "cp"])
def test_a_kill_at_a_system_call(single: Disk, verb: str, calls: str, numbers: tuple[int, ...]) -> None:
    """The next command answers, finishes or sweeps what was left, and finds nothing damaged."""
    leaks = Leaks(single.rpod)
    before, command = VERBS[verb]
    for number in numbers:
        single.ok(before)
        code, out, _ = traced(single, calls, f"signal=KILL:when={number}", command)
        single.ok("$RPOD ps -a >/dev/null; $RPOD system check --repair >/dev/null")
        assert single.ok("$RPOD system check") == "", (number, code, out)
        clear(single)
        leaks.assert_none()
        if code == 0:
            break

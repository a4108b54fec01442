"""Every state of a container against every verb: what comes of it, or who else refuses it.

A cell of the table is the state after the verb (``=``: the same as before, ``gone``: removed), or ``!`` where
rpod refuses and nothing changes. Behind it stands who refuses that: P is Podman, D is Docker, and in lower case
who does not although rpod does, or does although rpod does not. Docker has no initialized and no stopping: there
it is taken for created and running. Where the two differ, rpod does what gets its user further without
surprising him: it lets a paused program go on to stop it (Docker), a program that is being stopped may be
looked at (Docker), and what is being stopped is neither started nor paused again (Podman).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.shell import program, wait_for

from rootless.cli import commands, declare

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.shell import Rpod

assert commands.__all__  # importing them declares them
STATES = ("created", "initialized", "running", "paused", "stopping", "exited")
TABLE = """
verb                       created      initialized  running      paused       stopping     exited
start NAME                 running      running      =            !PD          !Pd          running
start -a NAME              .            .            .            !PD          !Pd          .
stop -t 0 NAME             =            exited       exited       exited,p     exited       =
restart -t 0 NAME          running      running      running      running,p    running      running
kill NAME                  !PD          !P           exited       exited       exited       !PD
pause NAME                 !PD          !PD          paused       !PD          !Pd          !PD
unpause NAME               !PD          !PD          !PD          running      !PD          !PD
exec NAME true             !PD          !PD          =            !PD          =,p          !PD
attach NAME                !PD          !PD          .            !PD          .            !PD
top NAME                   !PD          !PD          =            =,p          =,p          !PD
rm NAME                    gone         gone         !2PD         !2PD         !2PD         gone
rm -f -t 0 NAME            gone         gone         gone         gone         gone         gone
init NAME                  initialized  !P           !P           !P           !P           initialized
container cleanup NAME     =            created      !P           !P           !P           =
container prune -f         gone         =            =            =            =            gone
rename NAME other          =            =            =            =            =            =
wait --condition STATE NAME  =          =            =            =            =            =
container exists NAME      =            =            =            =            =            =
inspect NAME               =            =            =            =            =            =
ps -a                      =            =            =            =            =            =
logs NAME                  =            =            =            =            =            =
port NAME                  =            =            =            =            =            =
stats --no-stream NAME     =            =            =            =            =            =
update --restart no NAME   =            =            =            =            =            =
diff NAME                  =            =            =            =            =            =
commit -q NAME             =            =            =            =            =            =
export -o /dev/null NAME   =            =            =            =            =            =
cp NAME:/etc/passwd -      =            =            =            =            =            =
cp /etc/passwd NAME:/copy  =            =            =            =            =            =
healthcheck run NAME       !P           !P           =            !P           =,p          !P
mount NAME                 =            !p           !p           !p           !p           =
generate systemd NAME      =            =            =            =            =            =
create --volumes-from NAME --name by-NAME IMAGE  =  =  =         =            =            =
"""
# Verbs that say nothing about one container, or need another one; what is mounted decides about unmount, no state.
ELSEWHERE = {"container run", "container unmount"}
HEALTH = ("--health-cmd", "true", "--health-interval", "disable")
ONCE = "mkdir /once 2>/dev/null || exec sleep 1000; exit 3"  # ends the first time
DEAF = ("sh", "-c", "trap '' TERM; echo up; while :; do sleep 0.1; done")


def cells(state: str) -> Iterator[tuple[list[str], str]]:
    """The verbs with what ``state`` has in the table; those that change nothing first, on one container."""
    header, *rows = (line.split("  ") for line in TABLE.strip().splitlines())
    column = [word.strip() for word in header if word.strip()].index(state)
    found = []
    for row in rows:
        words = [word.strip() for word in row if word.strip()]
        if words[column] != ".":
            found.append((words[0].split(), words[column]))
    return iter(sorted(found, key=lambda cell: cell[1][0] not in "=!"))


def state_of(rpod: Rpod, name: str) -> str:
    done = rpod("container", "inspect", "-f", "{{.State.Status}}", name)
    return done.out.strip() if done.code == 0 else "gone"


class Subject:
    """A container in a state; made anew when a verb has changed it."""

    def __init__(self, rpod: Rpod, image: str, state: str) -> None:
        self.rpod = rpod
        self.image = image
        self.state = state
        self.name = ""
        self.count = 0
        self.stopping: subprocess.Popen[bytes] | None = None

    def ready(self) -> str:
        """The name of one that is in the state."""
        if not self.name or state_of(self.rpod, self.name) != self.state:
            self.drop()
            self.count += 1
            self.name = f"{self.state}{self.count}"
            self._make()
            wait_for(lambda: state_of(self.rpod, self.name) == self.state, what=f"{self.name} {self.state}")
        return self.name

    def _make(self) -> None:
        ok, name = self.rpod.ok, self.name
        if self.state == "exited":
            assert self.rpod("run", "--name", name, *HEALTH, self.image, "sh", "-c", ONCE).code == 3
        elif self.state == "stopping":
            ok("run", "-d", "--name", name, *HEALTH, self.image, *DEAF)
            wait_for(lambda: "up" in ok("logs", name))
            self.stopping = self.rpod.start("stop", "-t", "100", name, stdout=subprocess.DEVNULL)
        else:
            ok("create", "--name", name, *HEALTH, self.image, "sleep", "1000")
            for verb in {"initialized": ["init"], "running": ["start"], "paused": ["start", "pause"]}.get(
                self.state, []
            ):
                ok(verb, name)

    def drop(self) -> None:
        """End whoever stops it."""
        if self.stopping:
            self.stopping.kill()
            self.stopping.wait()
            self.stopping = None


def filled(words: list[str], name: str, state: str, image: str) -> list[str]:
    """A verb of the table as it is typed for the container ``name``."""
    known = {"NAME": name, "STATE": state, "IMAGE": image, "by-NAME": f"by-{name}"}
    argv = [known.get(word, word.replace("NAME:", f"{name}:")) for word in words]
    return ["unshare", *program(), *argv] if argv[0] == "mount" else argv


def test_the_table_has_every_verb() -> None:
    typed = {" ".join(words) for words, _ in cells("created")}
    verbs = {
        path
        for command in declare.COMMANDS
        for path in command.paths
        if path.startswith(("container ", "healthcheck ", "generate "))
    }
    missing = {
        path
        for path in verbs - ELSEWHERE
        if not any(f"{line} ".startswith((f"{path} ", f"{path.removeprefix('container ')} ")) for line in typed)
    }
    assert missing <= {"container ls", "container list", "container ps"}, missing


@pytest.mark.parametrize("state", STATES)
def test_verbs(rpod: Rpod, image: str, state: str) -> None:
    subject = Subject(rpod, image, state)
    with contextlib.ExitStack() as stack:
        stack.callback(subject.drop)
        for words, cell in cells(state):
            name = subject.ready()
            argv = filled(words, name, state, image)
            done = rpod(*argv, timeout_s=30)
            if argv[0] == "create":
                rpod.ok("rm", f"by-{name}")
            if "other" in argv and done.code == 0:
                rpod.ok("rename", "other", name)
            expected = "!" if cell.startswith("!") else cell.partition(",")[0]
            assert "Traceback" not in done.err, done
            if expected == "!":
                assert done.code == (2 if "2" in cell else 125), done
                assert name in done.err, done
                assert state in done.err or subject_hint(done.err), done
                assert "rpod: hint: " in done.err, done
                after = state_of(rpod, name)
                assert after == state, (done, after)
            else:
                assert done.code == 0, done
                reached = state if expected == "=" else expected
                # A signal is sent, and its effect follows.
                wait_for(lambda n=name, r=reached: state_of(rpod, n) == r, what=f"{done}: {reached}")  # type: ignore[misc]
            assert len(done.err.splitlines()) <= 2, done


def subject_hint(text: str) -> bool:
    """A container that is being stopped is said to be just that."""
    return "is being stopped" in text


NAMING = [words for words, _ in cells("running") if any("NAME" in word for word in words)]


def verbs_by_name(name: str, image: str) -> Iterator[list[str]]:
    for words in NAMING:
        yield filled(words, name, "exited", image)


def test_removing(rpod: Rpod, image: str) -> None:
    """A container is being removed from the moment its record is gone: to every verb there is none."""
    ident = rpod.ok("create", "--name", "half", image, "true")
    record = rpod.data / "containers" / ident / "container.json"
    kept = record.read_bytes()
    record.unlink()
    for argv in verbs_by_name("half", image):
        done = rpod(*argv)
        if argv[:2] == ["rm", "-f"]:
            assert done.code == 0, done
        elif argv[:2] == ["container", "exists"]:
            assert done.code == 1, done
        else:
            assert done.code == (1 if argv[0] == "rm" else 125), done
            assert "no such container" in done.err, done
    assert rpod.ok("ps", "-aq") == ""
    # The name is free for another one.
    rpod.ok("create", "--name", "half", image, "true")
    if record.parent.exists():
        record.write_bytes(kept)
        rpod.ok("rm", ident)


def test_dead(rpod: Rpod, image: str) -> None:
    """What Docker calls dead is a container that cannot be had any more: here, one whose record is damaged."""
    ident = rpod.ok("create", "--name", "broken", image, "true")
    (rpod.data / "containers" / ident / "container.json").write_text("{")
    other = rpod.ok("create", "--name", "whole", image, "true")
    for argv in verbs_by_name(ident[:12], image):
        if argv[0] in ("rm", "wait") or argv[:2] in (["container", "exists"], ["stop", "-t"]):
            continue
        done = rpod(*argv)
        assert done.code == 125, done
        assert "is damaged" in done.err, done
        assert f"rpod rm -f {ident[:12]}" in done.err, done
        assert "Traceback" not in done.err, done
    listed = rpod("ps", "-aq", "--no-trunc")
    assert listed.out.split() == [other]
    assert "damaged" in listed.err
    rpod.ok("rm", "-f", ident)
    assert not (rpod.data / "containers" / ident).exists()


def test_a_program_that_was_set_up_begins_without_delay(rpod: Rpod, image: str, tmp_path: Path) -> None:
    """What init has set up is there: mounts, network, limits, and the exec is all that is left."""
    folder = tmp_path / "src"
    folder.mkdir()
    (folder / "file").write_text("from the mount")
    rpod.ok("create", "-i", "--name", "set", "-v", f"{folder}:/src", image, "sh", "-c", "cat /src/file -; exit 7")
    assert rpod.ok("init", "set") == "set"
    folder.rename(tmp_path / "moved")  # it is mounted already
    assert rpod.ok("logs", "set") == ""
    done = rpod("start", "-ai", "set", stdin=b" and from stdin")
    assert (done.code, done.out) == (7, "from the mount and from stdin"), done
    (tmp_path / "moved").rename(folder)
    rpod.ok("create", "--name", "absent", image, "no-such-program")
    assert "no-such-program" in rpod.fails("init", "absent", code=127)
    assert state_of(rpod, "absent") == "created"
    rpod.ok("rm", "absent")
    assert len(rpod.ok("init", "--all").split()) == 1


def test_a_killed_monitor_takes_what_waits_along(rpod: Rpod, image: str) -> None:
    rpod.ok("create", "--name", "set", image, "sleep", "1000")
    rpod.ok("init", "set")
    os.kill(int(rpod.ok("inspect", "-f", "{{.State.ConmonPid}}", "set")), signal.SIGKILL)
    wait_for(lambda: rpod.processes() == [], what="the end of what waited")
    assert rpod.ok("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", "set") == "exited 137"

"""rpod-monitor's life with a container: clients, input, signals, the end."""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import IO

import pytest
from monitor_harness import HELPERS, SANITIZED, Monitored, alive, wait_until

TEN_MEGABYTES = 10_000_000


def lockable(file: IO[str]) -> bool:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_foreground_client_gets_everything_and_hands_nothing_over(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("echo out; echo err >&2; exit 7")) as container:
        assert container.client.until_exit() == b"7 0"
        assert (container.client.out, container.client.err) == (b"out\n", b"err\n")
        container.client.close()
        assert container.wait() == 0
        assert container.record()["code"] == 7
        assert container.record()["signal"] == 0
        assert abs(container.record()["finished_ns"] - time.time_ns()) < 60e9
        assert container.cleaned.exists()


def test_k_takes_the_cleanup_over(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("exit 0")) as container:
        container.client.until_exit()
        container.client.send(b"k")
        assert container.wait() == 0
        assert not container.cleaned.exists()
        assert not container.client.receive()


def test_k_of_another_client_or_before_the_end_counts_nothing(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("read word")) as container:
        other = container.connect()
        container.client.send(b"k")
        container.client.send(b"iword\n")
        other.until_exit()
        other.send(b"k")
        container.client.until_exit()
        container.client.close()
        container.wait()
        assert container.cleaned.exists()


def test_a_silent_foreground_client_delays_the_cleanup_by_a_second(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("exit 0")) as container:
        container.client.until_exit()
        started = time.monotonic()
        container.wait()
        assert 0.5 < time.monotonic() - started < 5
        assert container.cleaned.exists()


def test_without_a_client_the_cleanup_comes_at_once(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("exit 3"), client=False) as container:
        container.wait()
        assert container.record()["code"] == 3
        assert container.cleaned.exists()


def test_the_cleanup_inherits_no_descriptor_and_no_signal_state(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("exit 0"), client=False) as container:
        container.wait()
        text = container.cleaned.read_text()
        descriptors = [line.split()[8] for line in text.splitlines() if "->" in line]
        # dash itself opens 10 for its script or standard input in some versions; none is one of the monitor's.
        assert set(descriptors) <= {"0", "1", "2", "10", "255"}, text
        assert "SigBlk:\t0000000000000000" in text
        assert "SigIgn:\t0000000000000000" in text


def test_the_lock_is_held_until_the_end(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("read word")) as container, container.lock.open("r+") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        container.client.send(b"igo\n")
        container.client.until_exit()
        container.client.send(b"k")
        container.wait()
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_two_clients_see_the_same(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("read word; echo $word; echo low >&2")) as container:
        other = container.connect()
        other.send(b"ihello\n")
        assert other.until_exit() == b"0 0"
        container.client.until_exit()
        assert container.client.out == other.out == b"hello\n"
        assert container.client.err == other.err == b"low\n"


def test_a_slow_client_loses_nothing_and_a_fast_one_waits_for_it(tmp_path: Path) -> None:
    script = f"head -c {TEN_MEGABYTES} /dev/zero | tr '\\0' 'x'; echo; echo end >&2"
    with Monitored(tmp_path, shell("read go; " + script), log_format="none") as container:
        slow = container.connect()
        slow.send(b"igo\n")
        slow.until(b"x")
        time.sleep(0.3)
        assert alive(container.init), "the program must be held back by the client that does not read"
        clients = [container.client, slow]
        while waiting := [client for client in clients if client.exit is None]:
            ready = select.select([client.socket for client in waiting], [], [], 20)[0]
            assert ready
            for client in waiting:
                if client.socket in ready:
                    client.receive()
        for client in clients:
            assert len(client.out) == TEN_MEGABYTES + 1
            assert client.err == b"end\n"


def test_what_was_written_before_the_end_outlives_the_monitor(tmp_path: Path) -> None:
    """`rpod run … | less`: nobody reads until long after the container has ended."""
    with Monitored(tmp_path, shell("head -c 60000 /dev/zero; head -c 60000 /dev/zero >&2")) as container:
        container.wait()
        assert container.cleaned.exists()
        assert container.client.until_exit() == b"0 0"
        assert (len(container.client.out), len(container.client.err)) == (60000, 60000)


def test_a_client_that_was_killed_is_forgotten(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("read go; head -c 500000 /dev/zero; echo done >&2; read stop")) as container:
        gone = container.connect()
        gone.send(b"igo\n")
        gone.until(b"\0")
        gone.close()
        while len(container.client.out) < 500_000 or b"done" not in container.client.err:
            container.client.receive()
        container.client.send(b"istop\n")
        assert container.client.until_exit() == b"0 0"


def test_a_client_that_breaks_the_protocol_is_forgotten(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("read stop")) as container:
        for message in (b"?", b"i" + b"x" * 40000):
            bad = container.connect()
            bad.send(message)
            assert not bad.receive()
        container.client.send(b"istop\n")
        assert container.client.until_exit() == b"0 0"


def test_input_that_is_not_read_holds_back_neither_output_nor_other_clients(tmp_path: Path) -> None:
    script = "echo ready; sleep 0.5; echo tick; wc -c"
    with Monitored(tmp_path, shell(script), options=("--stdin-once", "1")) as container:
        container.client.until(b"ready")
        typist = container.connect()
        typist.socket.setblocking(False)
        sent = 0
        try:
            while True:
                sent += typist.socket.send(b"i" + b"y" * 20000) - 1
        except BlockingIOError:
            pass  # neither the container nor the monitor takes more
        typist.socket.setblocking(True)
        container.client.until(b"tick")
        typist.send(b"c")
        container.client.until_exit()
        assert container.client.out.split()[-1] == str(sent).encode()


def test_input_of_a_client_that_left_is_still_delivered(tmp_path: Path) -> None:
    """`echo … | rpod run -i` whose front was killed: what it sent counts, then comes the end of input."""
    with Monitored(tmp_path, shell("sleep 0.3; wc -c"), options=("--stdin-once", "1")) as container:
        typist = container.connect()
        for _ in range(5):
            typist.send(b"i" + b"z" * 30000)
        typist.close()
        container.client.until_exit()
        assert container.client.out.split() == [b"150000"]


def test_c_ends_the_input_also_of_one_that_was_started_detached(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("cat; echo over"), client=False) as container:
        typist = container.connect()
        typist.send(b"iword ")
        typist.send(b"c")
        typist.until_exit()
        assert typist.out == b"word over\n"


def test_stdin_stays_open_without_stdin_once(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("read a; echo $a; read b; echo $b")) as container:
        first = container.connect()
        first.send(b"ione\n")
        first.until(b"one\n")
        first.close()
        container.client.send(b"itwo\n")
        container.client.until(b"two\n")


@pytest.mark.parametrize("how", ["c", "hang-up"])
def test_stdin_once_ends_with_its_client(tmp_path: Path, how: str) -> None:
    with Monitored(tmp_path, ["cat"], options=("--stdin-once", "1"), client=False) as container:
        typist = container.connect()
        watcher = container.connect()
        typist.send(b"ihello")
        watcher.until(b"hello")
        watcher.close()
        time.sleep(0.05)
        assert alive(container.init), "who only watched does not end the input"
        typist.send(b"c") if how == "c" else typist.close()
        container.wait()
        assert container.record()["code"] == 0


def test_terminal_echo_size_and_end(tmp_path: Path) -> None:
    script = "read go; stty size; read go; stty size; exit 4"
    with Monitored(tmp_path, shell(script), tty=True) as container:
        container.client.send(b"w33 101")
        container.client.send(b"igo\n")
        container.client.until(b"33 101\r\n")
        container.client.send(b"w12")
        container.client.send(b"w99999 1")
        other = container.connect()
        other.send(b"w44 55")
        other.send(b"igo\n")
        assert b"go\r\n" in container.client.until(b"44 55\r\n")
        assert container.client.until_exit() == b"4 0"
        container.client.send(b"k")
        container.wait()
        assert ("stdout", "F", "33 101\r") in container.lines()


def test_terminal_interrupt_character_reaches_the_program(tmp_path: Path) -> None:
    script = "trap 'echo caught; exit 9' INT; echo ready; while :; do sleep 0.05; done"
    with Monitored(tmp_path, shell(script), tty=True) as container:
        container.client.until(b"ready")
        container.client.send(b"i\x03")
        assert container.client.until_exit() == b"9 0"
        assert b"caught" in container.client.out


def test_terminal_input_ends_with_its_end_of_file_character(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("cat; echo over"), tty=True, options=("--stdin-once", "1")) as container:
        container.client.send(b"iline\n")
        container.client.send(b"c")
        assert container.client.until_exit() == b"0 0"
        assert b"over" in container.client.out


def test_terminal_that_is_closed_and_opened_again(tmp_path: Path) -> None:
    script = "t=$(tty); trap '' HUP; echo one; exec <&- >&- 2>&-; sleep 0.3; exec >$t; echo two; sleep 0.1"
    with Monitored(tmp_path, shell(script), tty=True) as container:
        container.client.until_exit()
        assert container.client.out == b"one\r\ntwo\r\n"


def test_terminal_takes_more_than_its_queue(tmp_path: Path) -> None:
    script = "stty raw -echo; echo ready; sleep 0.3; head -c 200000 | wc -c"
    with Monitored(tmp_path, shell(script), tty=True) as container:
        container.client.until(b"ready")
        for _ in range(10):
            container.client.send(b"i" + b"a" * 20000)
        assert b"200000" in container.client.until(b"200000")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_death_by_signal(tmp_path: Path, number: signal.Signals) -> None:
    with Monitored(tmp_path, shell(f"ulimit -c 0; kill -{number.value} $$")) as container:
        assert container.client.until_exit() == f"{128 + number} 0".encode()
        container.client.send(b"k")
        container.wait()
        assert (container.record()["code"], container.record()["signal"]) == (128 + number, number)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2"])
def test_signals_are_forwarded(tmp_path: Path, name: str) -> None:
    script = f"trap 'exit 21' {name}; echo ready; while :; do sleep 0.02; done"
    with Monitored(tmp_path, shell(script)) as container:
        container.client.until(b"ready")
        os.kill(container.pid, getattr(signal, f"SIG{name}"))
        assert container.client.until_exit() == b"21 0"


def test_timeout_terminates(tmp_path: Path) -> None:
    script = "trap 'exit 5' TERM; while :; do sleep 0.02; done"
    with Monitored(tmp_path, shell(script), options=("--timeout", "1")) as container:
        started = time.monotonic()
        assert container.client.until_exit() == b"5 0"
        assert 0.5 < time.monotonic() - started < 8


@pytest.mark.slow
def test_timeout_kills_who_does_not_listen(tmp_path: Path) -> None:
    script = "trap '' TERM; while :; do sleep 0.1; done"
    with Monitored(tmp_path, shell(script), options=("--timeout", "1")) as container:
        started = time.monotonic()
        assert container.client.until_exit() == b"137 0"
        assert 9 < time.monotonic() - started < 19


def test_init_that_ended_before_the_monitor_began(tmp_path: Path) -> None:
    def wait_for_the_end(init: int) -> None:
        os.waitid(os.P_PID, init, os.WEXITED | os.WNOWAIT)

    with Monitored(tmp_path, shell("echo early; exit 6"), before_exec=wait_for_the_end) as container:
        assert container.client.until_exit() == b"6 0"
        assert container.client.out == b"early\n"


def test_a_stray_process_that_holds_the_pipes_does_not_hold_the_monitor(tmp_path: Path) -> None:
    script = "echo first; (while echo noise; do sleep 0.01; done) & sleep 0.1; exit 2"
    with Monitored(tmp_path, shell(script)) as container:
        assert container.client.until_exit() == b"2 0"
        container.client.send(b"k")
        assert container.wait() == 0
        assert ("stdout", "F", "first") in container.lines()


def test_helpers_end_with_the_container_and_orphans_are_reaped(tmp_path: Path) -> None:
    helpers = ("while :; do sleep 0.02; done", "trap '' TERM; while :; do sleep 0.02; done")
    with Monitored(tmp_path, shell("(sh -c 'exit 1' &) ; read stop"), helpers=helpers) as container:
        polite, stubborn = container.helpers
        children = Path(f"/proc/{container.pid}/task/{container.pid}/children")
        wait_until(lambda: len(children.read_text().split()) == 3, "the orphan's end")
        assert alive(polite)
        assert alive(stubborn)
        container.client.send(b"istop\n")
        started = time.monotonic()
        container.client.until_exit()
        with container.lock.open("r+") as lock, pytest.raises(BlockingIOError):
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        container.client.send(b"k")
        wait_until(lambda: not alive(polite), "the helper's end", 1)
        with container.lock.open("r+") as lock:
            wait_until(lambda: lockable(lock), "the lock, which a helper does not hold up", 1)
        assert alive(stubborn)
        container.wait()
        assert not alive(stubborn)
        assert 1 < time.monotonic() - started < 6


def test_oom_is_recorded_although_the_cgroup_is_gone(tmp_path: Path) -> None:
    """The format is memory.events'; a regular file serves, since this kernel may delegate no memory controller."""
    (tmp_path / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\noom_group_kill 0\n")
    with Monitored(tmp_path, shell("echo ready; read x; kill -9 $$"), options=("--cgroup", str(tmp_path))) as container:
        container.client.until(b"ready")
        (tmp_path / "memory.events").unlink()
        container.client.send(b"igo\n")
        assert container.client.until_exit() == b"137 1"
        container.client.send(b"k")
        container.wait()
        assert container.record()["oom"] is True


def test_an_exit_that_cannot_be_recorded_is_said_and_cleaned_up(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("exit 0"), client=False, options=("--exit-file", "/proc/nowhere/exit")) as container:
        container.wait()
        assert container.cleaned.exists()
        assert "cannot be recorded" in container.errors()


def test_many_clients_find_a_place_in_turn(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("echo ready; read stop; echo last")) as container:
        container.client.until(b"ready\n")
        before = len(os.listdir(f"/proc/{container.pid}/fd"))
        crowd = [container.connect() for _ in range(63)]
        wait_until(lambda: len(os.listdir(f"/proc/{container.pid}/fd")) >= before + 63, "63 clients")
        container.client.send(b"istop\n")
        for client in crowd:
            assert client.until_exit() == b"0 0"
            assert client.out == b"last\n"


def test_options_that_make_no_sense_are_named() -> None:
    monitor = str(HELPERS / "rpod-monitor")
    for words in (["--pid", "x"], ["--nonsense", "1"], ["--pid", "99", "--log-format", "k8s-file"], ["--pid"], []):
        read_end, write_end = os.pipe()
        actions = [(os.POSIX_SPAWN_DUP2, write_end, 2)]
        pid = os.posix_spawn(monitor, [monitor, *words], {}, file_actions=actions)
        os.close(write_end)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 125
        said = os.read(read_end, 4096).decode()
        os.close(read_end)
        assert said.startswith("rpod-monitor: ")
        assert (words or ["--pid"])[-2 if len(words) > 1 else 0] in said or "--log" in said


@pytest.mark.skipif(SANITIZED, reason="the sanitizers' shadow is not the monitor's memory")
def test_memory_of_a_busy_monitor(tmp_path: Path) -> None:
    script = "head -c 3000000 /dev/urandom | od; echo done >&2; read stop"
    with Monitored(tmp_path, shell(script)) as container:
        while b"done" not in container.client.err:
            container.client.receive()
        rollup = Path(f"/proc/{container.pid}/smaps_rollup").read_text()
        pss_kib = next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        assert pss_kib <= 300
        container.client.send(b"istop\n")
        container.client.until_exit()


def test_a_client_that_connects_to_nobody_is_told_so(tmp_path: Path) -> None:
    with Monitored(tmp_path, shell("exit 0"), client=False) as container:
        container.wait()
        late = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with late, pytest.raises(ConnectionRefusedError):
            late.connect(str(tmp_path / "attach"))


def test_a_check_is_run_when_it_wants_to_be(tmp_path: Path) -> None:
    """Every 50 ms as it said itself, never two at once, and not any more when it says 0."""
    log = tmp_path / "checks"
    check = (
        f"test -e {tmp_path}/fds || {{ ls -l /proc/$$/fd; grep Sig /proc/self/status; }} >{tmp_path}/fds; "
        f"echo begin >>{log}; sleep 0.1; echo end >>{log}; test -e {tmp_path}/enough && echo 0 || echo 50"
    )
    with Monitored(tmp_path, shell("read word"), options=("--check-ms", "1"), check=check) as container:
        wait_until(lambda: log.exists() and log.read_text().count("end") >= 3, "three checks")
        (tmp_path / "enough").touch()
        wait_until(lambda: not _children(container.pid) - {container.init}, "the last check's end")
        time.sleep(0.3)
        lines = log.read_text().split()
        assert lines == ["begin", "end"] * (len(lines) // 2)
        seen = log.read_text()
        time.sleep(0.2)
        assert log.read_text() == seen
        container.client.send(b"iend\n")
        container.client.until_exit()
    text = (tmp_path / "fds").read_text()
    descriptors = {line.split()[8] for line in text.splitlines() if "->" in line}
    assert descriptors <= {"0", "1", "2", "10", "255"}, text
    assert "SigBlk:\t0000000000000000" in text


def test_the_end_does_not_wait_for_a_check(tmp_path: Path) -> None:
    check = f"echo $$ >{tmp_path}/tmp; mv {tmp_path}/tmp {tmp_path}/check; exec sleep 1000"
    with Monitored(tmp_path, shell("read word"), options=("--check-ms", "1"), check=check) as container:
        wait_until((tmp_path / "check").exists, "the check")
        pid = int((tmp_path / "check").read_text())
        container.client.send(b"iend\n")
        container.client.until_exit()
        container.client.send(b"k")
        assert container.wait() == 0
        wait_until(lambda: not alive(pid), "the check's end")


def test_a_monitor_that_only_waits_keeps_the_lock(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.set_inheritable(lock, True)
    words = ["--wait-ms", "300", "--lock", str(lock), "--keep-lock", "1", "--", "/bin/sh", "-c"]
    script = f"readlink /proc/$$/fd/3 >{tmp_path}/kept; ls /proc/$$/fd | wc -l >>{tmp_path}/kept"
    monitor = str(HELPERS / "rpod-monitor")
    pid = os.posix_spawn(monitor, [monitor, *words, script], dict(os.environ))
    os.close(lock)
    with (tmp_path / "lock").open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    path, count = (tmp_path / "kept").read_text().split()
    assert (path, int(count) <= 5) == (str(tmp_path / "lock"), True)


def _children(pid: int) -> set[int]:
    return {int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}

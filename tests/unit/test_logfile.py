"""Reading logs back: tails found from the end, rotations between two readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rootless.engine.logfile import Entry, LogFile, parse_k8s

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FOREVER_NS = 1 << 63


def record(text: str, tag: str = "F", second: int = 0) -> str:
    return f"2026-11-23T10:00:{second:02}.000000000+00:00 stdout {tag} {text}\n"


def texts(entries: Iterable[Entry]) -> list[str]:
    return [entry.text.decode() for entry in entries]


def tail(path: Path, count: int, until_ns: int = FOREVER_NS) -> list[str]:
    return texts(LogFile(str(path), parse_k8s).history(0, until_ns, count))


def test_a_tail_reaches_back_over_rotated_files(tmp_path: Path) -> None:
    log = tmp_path / "ctr.log"
    (tmp_path / "ctr.log.2").write_text("".join(record(str(n)) for n in range(3)))
    (tmp_path / "ctr.log.1").write_text("damaged\n" + record("3"))
    log.write_text(record("4") + record("to", "P") + record("gether") + "torn")
    assert tail(log, -1) == ["0", "1", "2", "3", "4", "to", "gether"]
    assert tail(log, 0) == []
    assert tail(log, 1) == ["to", "gether"]
    assert tail(log, 4) == ["2", "3", "4", "to", "gether"]
    assert tail(log, 99) == tail(log, -1)


def test_a_tail_of_many_blocks_and_of_an_open_line(tmp_path: Path) -> None:
    log = tmp_path / "ctr.log"
    log.write_text("".join(record(f"{n} {'x' * 5000}") for n in range(100)) + record("prompt> ", "P"))
    assert [text.split()[0] for text in tail(log, 51)] == [*map(str, range(50, 100)), "prompt>"]


def test_a_tail_counts_only_what_is_early_enough(tmp_path: Path) -> None:
    log = tmp_path / "ctr.log"
    log.write_text("".join(record(str(n), second=n) for n in range(10)))
    fifth = parse_k8s(record("", second=5).rstrip("\n").encode())
    assert fifth is not None
    assert tail(log, 2, fifth.time_ns) == ["4", "5"]


def rotate(log: Path, files: int) -> None:
    for number in range(files, 0, -1):
        source = log if number == 1 else log.with_name(f"{log.name}.{number - 1}")
        if source.exists():
            source.rename(log.with_name(f"{log.name}.{number}"))


def test_what_is_appended_over_several_rotations(tmp_path: Path) -> None:
    log = tmp_path / "ctr.log"
    log.write_text(record("old"))
    reader = LogFile(str(log), parse_k8s)
    assert texts(reader.history(0, FOREVER_NS, -1)) == ["old"]
    assert texts(reader.appended()) == []
    expected = []
    for turn in range(3):
        with log.open("a") as file:
            file.write(record(f"{turn} last"))
        rotate(log, 4)
        log.write_text(record(f"{turn} first"))
        expected += [f"{turn} last", f"{turn} first"]
    assert texts(reader.appended()) == expected
    for turn in range(9):  # what was read last has been rotated away, and so has some that never was read
        rotate(log, 4)
        log.write_text(record(f"lost {turn}"))
    assert texts(reader.appended()) == [f"lost {turn}" for turn in range(4, 9)]


def test_a_log_that_is_not_there_yet(tmp_path: Path) -> None:
    log = tmp_path / "ctr.log"
    reader = LogFile(str(log), parse_k8s)
    assert texts(reader.history(0, FOREVER_NS, 5)) == texts(reader.appended()) == []
    log.write_text(record("born") + "2026-11-23T10:00:00.0+00:00 stdout F ha")
    assert texts(reader.appended()) == ["born"]
    with log.open("a") as file:
        file.write("lf\n")
    assert texts(reader.appended()) == ["half"]
    assert not log.with_name("ctr.log.1").exists()

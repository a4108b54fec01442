"""The tar reader, on archives that GNU tar and Python wrote, and on damaged ones."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from support.archives import directory, hardlink, member, symlink, tar

from rootless.errors import StorageError
from rootless.storage import tarheader
from rootless.storage.tarstream import TarStream

if TYPE_CHECKING:
    from pathlib import Path

    from rootless.storage.tarheader import Entry


def stream(data: bytes, chunk: int = 1000, **options: int) -> TarStream:
    """Odd chunks, so that nothing may rely on where they end."""
    file = io.BytesIO(data)
    return TarStream(lambda: file.read(chunk), **options)


def read(data: bytes, chunk: int = 1000) -> dict[bytes, tuple[Entry, bytes]]:
    found = {}
    archive = stream(data, chunk)
    for entry in archive:
        parts = []
        while piece := archive.piece():
            parts.append(bytes(piece))
        found[entry.name] = (entry, b"".join(parts))
    return found


def entries(data: bytes) -> list[Entry]:
    return list(stream(data))


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "oldgnu", "pax"])
def test_what_gnu_tar_writes(tmp_path: Path, form: str) -> None:
    tree = tmp_path / "tree"
    (tree / "dir").mkdir(parents=True)
    (tree / "dir" / "file").write_bytes(b"content" * 1000)
    (tree / "empty").write_bytes(b"")
    (tree / "link").symlink_to("dir/file")
    os.link(tree / "dir" / "file", tree / "twin")
    os.utime(tree / "empty", ns=(0, 1_234_567_890_987_654_321))
    data = subprocess.run(
        ["tar", f"--format={form}", "--sort=name", "-C", tree, "-c", "."], capture_output=True, check=True
    ).stdout
    found = read(data)
    assert found[b"./dir/file"][1] == b"content" * 1000
    assert found[b"./dir/"][0].kind == tarheader.DIRECTORY
    assert found[b"./link"][0].kind == tarheader.SYMLINK
    assert found[b"./link"][0].link == b"dir/file"
    assert found[b"./twin"][0].kind == tarheader.HARDLINK
    assert found[b"./twin"][0].link == b"./dir/file"
    assert found[b"./empty"][0].mtime_ns == 1_234_567_890_987_654_321 if form == "pax" else 1_234_567_890_000_000_000
    assert found[b"./empty"][0].uid == os.geteuid()


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_and_links(form: int) -> None:
    name, target = "d/" * 100 + "n" * 200, "t" * 300
    found = read(tar(member(name, b"x"), symlink("l" * 150, target), form=form))
    assert found[name.encode()][1] == b"x"
    assert found[b"l" * 150][0].link == target.encode()


def test_names_are_bytes() -> None:
    odd = b"\xff\xfe new\nline \x1b"
    assert list(read(tar(member(odd), form=tarfile.GNU_FORMAT))) == [odd]
    assert list(read(tar(member(odd), form=tarfile.PAX_FORMAT))) == [odd]


def test_numbers_that_outgrow_octal() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        entry = entries(tar(member("f", uid=4_000_000_000, gid=3_000_000, mtime=2**35), form=form))[0]
        assert (entry.uid, entry.gid, entry.mtime_ns) == (4_000_000_000, 3_000_000, 2**35 * 10**9)
    early = entries(tar(member("f", mtime=-5), form=tarfile.GNU_FORMAT))[0]
    assert early.mtime_ns == -5 * 10**9


def test_pax_records_global_and_own() -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT, pax_headers={"uid": "77"}) as archive:
        archive.addfile(member("common", pax_headers={"SCHILY.xattr.user.a": "b", "mtime": "1.5"})[0])
        archive.addfile(member("own", pax_headers={"uid": "78"})[0])
    common, own = entries(buffer.getvalue())
    assert (common.uid, common.mtime_ns, common.xattrs) == (77, 1_500_000_000, {"user.a": b"b"})
    assert (own.uid, own.xattrs) == (78, None)


@pytest.mark.parametrize("form", ["gnu", "0.0", "0.1", "1.0"])
def test_sparse_files(tmp_path: Path, form: str) -> None:
    """Many pieces, so that the map outgrows one header block."""
    with open(tmp_path / "holes", "wb") as file:
        for i in range(60):
            file.seek(i * 100_000)
            file.write(b"%04d" % i * 10)
        file.truncate(7_000_000)
    options = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    data = subprocess.run(
        ["tar", "-S", "--hole-detection=raw", *options, "-C", tmp_path, "-c", "holes"], capture_output=True, check=True
    ).stdout
    entry, content = next(iter(read(data, 777).values()))
    assert entry.name == b"holes"
    assert entry.real_size == 7_000_000
    assert entry.sparse is not None
    rebuilt = bytearray(entry.real_size)
    position = 0
    for offset, length in entry.sparse:
        rebuilt[offset : offset + length] = content[position : position + length]
        position += length
    assert bytes(rebuilt) == (tmp_path / "holes").read_bytes()


def test_data_that_is_not_read_is_skipped() -> None:
    data = tar(member("a", b"x" * 5000), directory("d"), hardlink("h", "a"), member("b", b"y"))
    assert [entry.name.rstrip(b"/") for entry in stream(data, 333)] == [b"a", b"d", b"h", b"b"]


def test_types_that_nobody_knows_are_skipped() -> None:
    data = tar(member("odd", b"data" * 200, type=b"Z"), member("after", b"x"))
    assert list(read(data)) == [b"after"]


def test_the_end() -> None:
    data = tar(member("a", b"x"))
    blocks = data[: 2 * 512]
    assert list(read(blocks)) == [b"a"]  # no end mark: the stream's end is one
    assert list(read(data + b"anything" * 1000)) == [b"a"]
    assert read(b"") == {}


def header(**fields: bytes) -> bytes:
    """One raw header with ``fields`` overwritten and a right checksum."""
    raw = bytearray(tar(member("victim"), form=tarfile.USTAR_FORMAT)[:512])
    places = {"name": 0, "mode": 100, "uid": 108, "size": 124, "mtime": 136, "kind": 156, "link": 157, "real": 483}
    for key, value in fields.items():
        raw[places[key] : places[key] + len(value)] = value
    raw[148:156] = b" " * 8
    raw[148:156] = b"%06o\0 " % sum(raw)
    return bytes(raw)


def record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    while length != len(key) + len(value) + 3 + len(str(length)):
        length = len(key) + len(value) + 3 + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def pax(records: bytes, kind: bytes = b"x") -> bytes:
    return header(kind=kind, size=b"%011o\0" % len(records)) + records.ljust(-(-len(records) // 512) * 512, b"\0")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"not a tar" * 100, "not a tar archive"),
        (header() + b"junk" * 200, "wrong checksum"),
        (header(size=b"00000010000\0"), "ends in the middle of 'victim'"),
        (header(size=b"\xff" * 12), "the size is negative"),
        (header(size=b"0000x000000\0"), "the size is not a number"),
        (header(size=b"\x80" + b"\x7f" * 11), "impossible size"),
        (header(uid=b"\xff\xff\xff\xff\xff\xff\xff\xff"), "the owner is negative"),
        (header(name=b"\0" * 100), "without a name"),
        (header(kind=b"L", size=b"00010000000\0"), "extended header of 2097152 bytes"),
        (pax(b"99 path=x\n") + header(), "malformed PAX"),
        (pax(b"x path=x\n") + header(), "malformed PAX"),
        (pax(b"9 path=x\0") + header(), "malformed PAX"),
        (pax(b"0 path=x\n") + header(), "malformed PAX"),
        (pax(b"11 size=-1\n") + header(), "PAX number is malformed"),
        (pax(b"12 path=a\0b\n") + header(), "NUL byte"),
        (pax(b"13 mtime=1,5\n") + header(), "PAX time is malformed"),
        (pax(record(b"SCHILY.xattr.user.a\0b", b"value")) + header(), "NUL byte"),
        (pax(b"4108 path=" + b"n" * 4097 + b"\n") + header(), "4097 bytes is too long"),
        (pax(b"26 GNU.sparse.map=5,1,2,1\n") + header(), "sparse map that makes no sense"),
        (pax(b"22 GNU.sparse.major=1\n") + header(size=b"00000001000\0") + b"9" * 512, "PAX number is malformed"),
        (header(kind=b"S", size=b"00000001000\0", real=b"77777777777\0") + bytes(512), "no sense"),
        (header() + header()[:300] + b"\0" * 100, "in the middle of a header"),
    ],
)
def test_what_cannot_be_right(data: bytes, words: str) -> None:
    with pytest.raises(StorageError, match=words):
        read(data if len(data) % 512 else data + bytes(1024))


def test_entries_are_counted() -> None:
    data = tar(*(member(f"f{i}") for i in range(20)))
    with pytest.raises(StorageError, match="too many entries"):
        list(stream(data, max_entries=19))
    assert len(list(stream(data, max_entries=20))) == 20


def test_global_records_have_a_limit() -> None:
    data = b""
    for turn in range(2):
        records = b"".join(record(b"k%d-%d" % (turn, i), b"v" * 1000) for i in range(800))
        data += pax(records, b"g")
    with pytest.raises(StorageError, match="larger than 1 MiB"):
        read(data)


def test_messages_cannot_drive_a_terminal() -> None:
    assert tarheader.shown(b"a\x1b[31m\n\xff") == "'a\\x1b[31m\\n?'"
    assert len(tarheader.shown(b"n" * 10_000)) < 250

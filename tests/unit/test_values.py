"""What people type, and what it means or why not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rootless.checked import SpecError
from rootless.engine import detach, logfile, mount_options, mounts, values
from rootless.errors import LimitError, UnsupportedError, UsageError
from rootless.resources import Resources
from rootless.runtime import limits
from rootless.spec import Spec

if TYPE_CHECKING:
    from pathlib import Path

MANY = "9" * 5000  # digits: more than int() takes


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("5", 5),
        ("5b", 5),
        ("64m", 64 << 20),
        ("1.5g", 3 << 29),
        ("2K", 2048),
        ("1MiB", 1 << 20),
        ("3kb", 3072),
    ],
)
def test_sizes(text: str, size: int) -> None:
    assert values.size(text, "--memory") == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "nan", "inf", "1e400", "1 2", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--memory"):
        values.size(text, "--memory")


@pytest.mark.parametrize(
    ("text", "number"),
    [("TERM", 15), ("SIGKILL", 9), ("sigint", 2), ("15", 15), ("RTMIN+3", 37), ("RTMAX-1", 63), ("RTMAX", 64)],
)
def test_signals(text: str, number: int) -> None:
    assert values.signal_number(text) == number


@pytest.mark.parametrize(
    "text",
    ["", "0", "65", "FOO", "-9", "SIG_DFL", "_IGN", "RTMIN+x", "RTMIN+-5", "RTMIN3", "TERM ", MANY, f"RTMIN+{MANY}"],
)
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no signal"):
        values.signal_number(text)


def test_the_environment_in_its_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FROM_HOST", "h")
    monkeypatch.delenv("NOT_SET", raising=False)
    file = tmp_path / "env"
    file.write_text("# comment\n\n  A=file\nB=b=c\nFROM_HOST\n")
    found = values.environment(
        ["A=image", "C=image", "broken"],
        values.typed_environment([str(file)], ["C=typed", "NOT_SET"]),
        host=False,
    )
    assert sorted(found[1:]) == ["A=file", "B=b=c", "C=typed", "FROM_HOST=h"]
    assert found[0].startswith("PATH=/usr/local/sbin")


@pytest.mark.parametrize("entry", ["=x", "A=\0"])
def test_an_entry_without_a_name_or_with_nul_is_refused(entry: str) -> None:
    with pytest.raises(UsageError):
        values.environment([], [entry], host=False)


@pytest.mark.parametrize(
    ("text", "policy"),
    [("", ("no", 0)), ("never", ("no", 0)), ("always", ("always", 0)), ("on-failure:3", ("on-failure", 3))],
)
def test_restart_policies(text: str, policy: tuple[str, int]) -> None:
    assert values.restart_policy(text) == policy


@pytest.mark.parametrize("text", ["sometimes", "always:3", "on-failure:0", "on-failure:x"])
def test_wrong_restart_policies(text: str) -> None:
    with pytest.raises(UsageError, match="--restart"):
        values.restart_policy(text)


def test_volumes_in_their_forms(tmp_path: Path) -> None:
    bind = mount_options.parse_volume(f"{tmp_path}:/data:ro,nosuid")
    assert (bind.type, bind.source, bind.destination) == ("bind", str(tmp_path), "/data")
    assert bind.options == ["ro", "nosuid", "rprivate"]
    named = mount_options.parse_volume("name:/data/./x:nocopy")
    assert (named.type, named.name, named.destination, named.copy) == ("volume", "name", "/data/x", False)
    anonymous = mount_options.parse_volume("/data")
    assert (anonymous.type, anonymous.anonymous) == ("volume", True)


@pytest.mark.parametrize(
    "text",
    ["", "a:b:c:d", ":/data", "x:relative", "/missing-source:/data", "v:/", "v:/proc", "v:/sys/../dev", "v:/d:what"],
)
def test_volumes_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        mount_options.parse_volume(text)


def test_flags_that_are_not_the_kernels() -> None:
    wanted = mount_options.parse_volume("v:/data:U,z,ro,nocopy")
    assert (wanted.chown, wanted.copy, wanted.options) == (True, False, ["ro"])
    assert mount_options.parse_volume("v:/data:O").scratch
    assert mount_options.parse_volume("v:/data:idmap").options == ["idmap"]


@pytest.mark.parametrize(
    "options", ["ro,rw", "O,ro", "O,U", "upperdir=/tmp,workdir=/tmp", "O,upperdir=/tmp", "shared,private", "dev,nodev"]
)
def test_flags_that_exclude_each_other(options: str) -> None:
    with pytest.raises(UsageError):
        mount_options.parse_volume(f"v:/data:{options}")


def test_what_is_not_there_is_refused_by_name(tmp_path: Path) -> None:
    for text in ("idmap=uids=0-1-10", "no-dereference"):
        with pytest.raises(UnsupportedError, match=text.partition("=")[0]):
            mount_options.parse_mount(f"type=bind,src={tmp_path},dst=/d,{text}")


def test_a_tmpfs_is_told_twice_to_begin_empty() -> None:
    assert "tmpcopyup" not in mount_options.parse_tmpfs("/t:notmpcopyup,notmpcopyup").options


def test_mounts_in_their_forms(tmp_path: Path) -> None:
    def one(text: str) -> mounts.Wanted:
        (wanted,) = mount_options.parse_mount(text)
        return wanted

    bind = one(f"type=bind,src={tmp_path},dst=/d,readonly,bind-propagation=rslave,consistency=cached")
    assert bind.options == ["ro", "rslave"]
    assert one(f"type=bind,src={tmp_path},dst=/d,bind-nonrecursive,U=true,relabel=shared").chown
    tmpfs = one("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=700,notmpcopyup,uid=5,gid=6")
    assert {"size=1m", "mode=700", "nosuid", "nodev", "uid=5", "gid=6"} <= set(tmpfs.options)
    assert "tmpcopyup" not in tmpfs.options
    assert one("source=v,target=/v").name == "v"
    volume = one("src=v,dst=/v,volume-opt=type=tmpfs,volume-opt=o=size=1m,volume-label=a=b,volume-subpath=x,ro=false")
    assert volume.driver_options == {"type": "tmpfs", "o": "size=1m"}
    assert (volume.labels, volume.subpath, volume.options) == ({"a": "b"}, "x", ["rw"])
    image = one("type=image,source=busybox,dst=/i,subpath=etc")
    assert (image.type, image.name, image.subpath, image.options) == ("image", "busybox", "etc", ["ro"])
    pts = one("type=devpts,dst=/pts,uid=1,gid=2,mode=620,max=9")
    assert {"uid=1", "gid=2", "mode=620", "max=9"} <= set(pts.options)
    comma = tmp_path / "a,b"
    comma.mkdir()
    assert one(f'type=bind,"src={comma}",dst=/d').source == str(comma)


def test_a_glob_is_a_bind_for_each_match(tmp_path: Path) -> None:
    for name in ("one.txt", "two.txt", "three"):
        (tmp_path / name).touch()
    found = mount_options.parse_mount(f"type=glob,src={tmp_path}/*.txt,dst=/d,ro")
    assert [wanted.destination for wanted in found] == ["/d/one.txt", "/d/two.txt"]
    assert [w.destination for w in mount_options.parse_mount(f"type=glob,src={tmp_path}/th*")] == [f"{tmp_path}/three"]
    with pytest.raises(UsageError, match="nothing matches"):
        mount_options.parse_mount(f"type=glob,src={tmp_path}/*.so,dst=/d")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("type=tmpfs,target=/d,O", "O"),
        ("type=tmpfs,target=/d,subpath=x", "subpath"),
        ("type=devpts,target=/d,U", "U"),
        ("type=bind,source=/,target=/d,volume-opt=o=ro", "volume-opt"),
        ("type=bind,source=/,target=/d,volume-label=a=b", "volume-opt"),
    ],
)
def test_a_mount_takes_no_option_of_another_kind(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=f": {named} "):
        mount_options.parse_mount(text)


@pytest.mark.parametrize(
    "text", ["", "type=bind,target=/d", "type=what,target=/d", "type=tmpfs", "type=volume,target=/d,colour=red", "junk"]
)
def test_mounts_that_make_no_sense(text: str) -> None:
    with pytest.raises(UsageError):
        mount_options.parse_mount(text)


def test_later_mounts_win_and_parents_come_first() -> None:
    image = [mount_options.parse_volume("/a/b"), mount_options.parse_volume("/z")]
    typed = [mount_options.parse_volume("mine:/a/b"), mount_options.parse_volume("other:/a")]
    merged = mounts.merge([image, typed])
    assert [(w.name, w.destination) for w in merged] == [("", "/z"), ("other", "/a"), ("mine", "/a/b")]
    with pytest.raises(UsageError, match="two mounts"):
        mounts.merge([[mount_options.parse_volume("a:/x"), mount_options.parse_volume("b:/x")]])


@pytest.mark.parametrize(
    ("keys", "pieces", "passed", "detached"),
    [
        ("ctrl-p,ctrl-q", [b"ab\x10\x11cd"], b"ab", True),
        ("ctrl-p,ctrl-q", [b"a\x10", b"\x11"], b"a", True),
        ("ctrl-p,ctrl-q", [b"\x10", b"x"], b"\x10x", False),
        ("ctrl-p,ctrl-q", [b"\x10\x10\x11"], b"\x10", True),
        ("", [b"\x10\x11"], b"\x10\x11", False),
        ("a,ctrl-@", [b"a", b"\0"], b"", True),
    ],
)
def test_detach_keys(keys: str, pieces: list[bytes], passed: bytes, detached: bool) -> None:
    found = detach.Keys(keys)
    out = b""
    done = False
    for piece in pieces:
        data, done = found.feed(piece)
        out += data
    assert (out, done) == (passed, detached)


@pytest.mark.parametrize("keys", ["ctrl-", "ctrl-1", "ab", "ctrl-é", "ö"])
def test_wrong_detach_keys(keys: str) -> None:
    with pytest.raises(UsageError):
        detach.parse_keys(keys)


def test_moments() -> None:
    now = 1_700_000_000_000_000_000
    assert logfile.moment("1h30m", now) == now - 5400 * 10**9
    assert logfile.moment("5", now) == 5 * 10**9
    assert logfile.moment("2023-11-14T22:13:20Z", now) == now
    for text in ("yesterday", "5y", "2023-13-01", "h", MANY):
        with pytest.raises(UsageError):
            logfile.moment(text, now)


@pytest.mark.parametrize(
    ("tail", "texts"),
    [
        (2, [b"tw", b"o", b"three"]),
        (0, []),
        (-1, [b"one", b"tw", b"o", b"three"]),
        (99, [b"one", b"tw", b"o", b"three"]),
    ],
)
def test_the_last_lines_count_whole_lines(tmp_path: Path, tail: int, texts: list[bytes]) -> None:
    lines = ("F one", "P tw", "F o", "F three")
    log = tmp_path / "ctr.log"
    log.write_text("".join(f"2023-11-14T22:13:20.000000000Z stdout {line}\n" for line in lines))
    found = logfile.LogFile(str(log), logfile.parse_k8s).history(0, 1 << 62, tail)
    assert [entry.text.rstrip(b"\n") for entry in found] == texts


def test_a_limit_is_called_as_whoever_asked_calls_it() -> None:
    resources = Resources()
    resources.memory, resources.io_throttles, resources.unified = 5, [("wbps", 8, 0, 1)], {"memory.high": "7"}
    names = {False: ["--memory", "--device-write-bps", "--cgroup-conf memory.high"]}
    names[True] = ["memory.limit", "blockIO.throttleWriteBpsDevice", "unified.memory.high"]
    for resources.foreign, expected in names.items():
        for limit, name in zip(limits.wanted(resources), expected, strict=True):
            wanted = f"config.json: linux.resources.{name}" if resources.foreign else name
            assert limits.name_of(limit, resources) == wanted
    with pytest.raises(LimitError, match=r"^config.json: linux.resources.memory.limit needs .*'memory'"):
        limits.refuse(resources, frozenset(), ["io"])


def test_a_spec_survives_its_document() -> None:
    spec = Spec()
    spec.process.args = ["a", "b"]
    spec.process.rlimits = [("RLIMIT_NOFILE", 5, 6)]
    spec.namespaces = {"pid": "", "network": "/proc/1/ns/net"}
    spec.resources.memory = 5
    spec.resources.cpuset_cpus = "0-1"
    spec.resources.io_weight = 500
    spec.resources.io_throttles = [("wiops", 8, 0, 100)]
    spec.resources.unified = {"memory.high": "7"}
    spec.uid_map = [[0, 1000, 1]]
    assert Spec.from_json(spec.to_json()).to_json() == spec.to_json()


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"process": {"args": "x"}}, "process.args"),
        ({"process": {"args": ["a\0"]}}, "process.args"),
        ({"mounts": [{"destination": "x"}]}, "mounts[].destination"),
        ({"linux": {"resources": {"memory": {"limit": "1"}}}}, "linux.resources.memory.limit"),
        ({"linux": {"namespaces": [{"type": "pid"}, {"type": "pid"}]}}, "linux.namespaces"),
        ({"hostname": 5}, "hostname"),
    ],
)
def test_a_wrong_property_is_named(document: dict[str, object], named: str) -> None:
    with pytest.raises(SpecError) as caught:
        Spec.from_json(document)
    assert named in caught.value.message
